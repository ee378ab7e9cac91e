"""Test writing: an ordinary attempt of a model that submits tests of the issue instead of a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.evidence.issue_tests import LIST_FILE

if TYPE_CHECKING:
    from agents.evidence.config import EvidenceConfig
    from agents.pool import ModelConfig
    from agents.runner import AgentConfig

MARKER = "Write tests for an issue."
"""How every conversation of a test writer begins; the scripted server recognises them by it."""

_SYSTEM = "You are a helpful assistant that writes tests by working in a computer's shell."

_PROMPT = (
    MARKER
    + """

<issue>
{{task}}
</issue>

The folder [CWD] holds the repository as it was when the issue was written; nobody has solved the issue yet. Write up to
[LIMIT] tests by which others will judge proposed fixes. Do not fix the issue, and do not change any existing file.

A test is one shell command that is run with bash in [CWD]. Its exit status is 0 if the issue is solved, and another one
if it is not. So every test must FAIL now, for the reason that the issue states, and not because of an import error, a
missing package or a mistake of its own. It has to PASS with every correct fix, however that is written: test the
behaviour that the issue describes, through the public interface, and nothing that the issue leaves open, such as the
names of new helpers or the exact words of messages. Several tests that look at different aspects are better than one.

Recommended steps:

1. Read the code that the issue is about, and find out how the repository's own tests are run.
2. Write each test into a new file and run it, until it fails for the stated reason alone.
3. Check in each test that the code around the issue, which works today, is used as it should be.
4. Write the commands into `[LIST]` in [CWD], one command a line, without pipes, `;` and redirections, for instance
   `python -m pytest -q tests/test_issue_1.py` or `python check_issue_2.py`. Run each line once more: it has to fail.
5. Submit, as described below.

Every response must hold your reasoning and AT LEAST ONE bash tool call. Every command runs in a new subshell: changes
of the directory and of variables are lost. There is no network. Use non-interactive options, and no editors or pagers.

Your tests run in a fresh copy of the repository, one at a time, without network and for at most [TIMEOUT] seconds each.
They must not depend on files outside of the repository that you have made.

## Submission

Submit a git patch that only ADDS files: `[LIST]` and the files that its commands need. Use separate commands:

Step 1: `git add -N [LIST] path/to/test1 path/to/test2 && git diff -- [LIST] path/to/test1 path/to/test2 > patch.txt`
Step 2: `cat patch.txt`, to see that it holds your files and nothing else.
Step 3: this EXACT command, after which you cannot continue to work:

```bash
echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt
```
"""
)


def writer_config(agent: AgentConfig, evidence: EvidenceConfig) -> AgentConfig:
    """How a test writer's attempt runs: as the run's agents do, with a prompt and limits of its own."""
    values = {
        "[CWD]": agent.cwd,
        "[LIMIT]": str(evidence.tests_per_writer),
        "[LIST]": LIST_FILE,
        "[TIMEOUT]": f"{evidence.test_timeout:g}",
    }
    prompt = _PROMPT
    for name, value in values.items():
        prompt = prompt.replace(name, value)
    templates = {"system_template": _SYSTEM, "instance_template": prompt}
    overrides = agent.overrides | {"agent": agent.overrides.get("agent", {}) | templates}
    limits = {"step_limit": evidence.step_limit, "cost_limit": evidence.cost_limit}
    return agent.model_copy(update={"overrides": overrides, "neighbour_tests": False, "reviewer": None, **limits})


def writer_model(model: ModelConfig) -> ModelConfig:
    """The pool's entry as a test writer: its limits of calls and USD are those of attempts, and are left out."""
    return model.model_copy(update={"step_limit": None, "cost_limit": None})

"""Playbooks: what each scripted stand-in says and runs on an instance. One YAML file per instance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from agents.container.environment import SUBMIT_MARKER
from agents.errors import PlaybookError
from agents.evidence.issue_tests import LIST_FILE

Text = Annotated[str, StringConstraints(pattern=r"\S")]
StandIn = Annotated[str, StringConstraints(pattern=r"^scripted-[a-z0-9-]+$")]
Intent = Literal["right", "wrong", "limit", "empty", "unappliable", "unsubmitted"]

MODELS = ("scripted-small", "scripted-medium", "scripted-large")
"""The stand-ins that are always served, from cheap and hasty to expensive and careful."""


FLAKY_SHARE = 0.25
"""Of the further attempts, those in which a stand-in plays the script of another one that ends otherwise."""


def address_of_attempt(url: str, attempt: int) -> str:
    """The address at which the stand-ins' server at `url` (…/v1) plays a repeated attempt."""
    return f"{url.removesuffix('/v1')}/attempt-{attempt}/v1"


class Step(BaseModel):
    """One reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    say: Text
    """The reply's text; the server adds the stand-in's label."""
    run: tuple[Text, ...] = ()
    """Bash commands, one tool call each. None at all is a format error, of which the agent tells the model."""


class Script(BaseModel):
    """What one stand-in does on one instance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: Intent
    """How the attempt is meant to end."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """Replies in order."""
    loop: bool = False
    """After the last step, repeat it until a limit strikes."""

    @model_validator(mode="after")
    def _ends(self) -> Script:
        submits = any(SUBMIT_MARKER in command for step in self.steps for command in step.run)
        if self.intent in ("limit", "unsubmitted") and (submits or not self.loop):
            raise ValueError(f"intent {self.intent} needs loop: true and no step that submits")
        if self.intent not in ("limit", "unsubmitted") and not submits:
            raise ValueError(f"intent {self.intent} needs a step that submits (echo {SUBMIT_MARKER} …)")
        return self

    def step(self, number: int) -> Step | None:
        """Reply `number` (from 0); None after the last."""
        if number < len(self.steps):
            return self.steps[number]
        return self.steps[-1] if self.loop else None


class WrittenTests(BaseModel):
    """The tests that one stand-in writes from an instance's issue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: Literal["right", "wrong", "useless", "none"]
    """Right ones fail before and pass with a right fix; wrong ones fail with it, too; useless ones pass before."""
    commands: tuple[Text, ...] = ()
    """The tests, a shell command each."""
    files: dict[Text, str] = {}
    """What they need: path → text."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Replies in order: the files are written, the commands are run, and both are submitted."""
        if not self.commands:
            say = "THOUGHT: I cannot think of a test for this issue, so I submit nothing."
            return (Step(say=say, run=(f"echo {SUBMIT_MARKER}",)),)
        files = self.files | {LIST_FILE: "".join(f"{command}\n" for command in self.commands)}
        writes = tuple(
            f"mkdir -p $(dirname {path}) && cat > {path} <<'END_OF_FILE'\n{text}END_OF_FILE"
            for path, text in files.items()
        )
        names = " ".join(files)
        return (
            Step(say="THOUGHT: First the layout of the repository.", run=("ls -R . | head -50",)),
            Step(say="THOUGHT: I write the tests and their list.", run=writes),
            Step(say="THOUGHT: How do they end before anybody has solved the issue?", run=self.commands),
            Step(
                say="THOUGHT: The patch.",
                run=(f"git add -N {names} && git diff -- {names} > patch.txt && cat patch.txt",),
            ),
            Step(say="THOUGHT: Submitting.", run=(f"echo {SUBMIT_MARKER} && cat patch.txt",)),
        )


class Playbook(BaseModel):
    """All stand-ins on one instance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance_id: Text
    """The instance, also the file's name."""
    title: Text
    """First line of the issue, by which the server recognises the instance in a conversation."""
    attempts: dict[StandIn, Script] = Field(min_length=1)
    """Stand-in → its script."""
    tests: dict[StandIn, WrittenTests] = {}
    """Stand-in → the tests it writes when it is asked for tests of the issue instead."""

    def script(self, model: str, attempt: int = 1) -> Script | None:
        """What a stand-in plays; None without a script for it.

        The luck of repeats is pretended: in some further attempts (`FLAKY_SHARE`), always the same ones, it plays the
        script of another stand-in whose attempt ends otherwise.
        """
        own = self.attempts.get(model)
        if own is None or attempt == 1:
            return own
        others = [other for other in self.attempts.values() if (other.intent == "right") != (own.intent == "right")]
        drawn = int(hashlib.sha256(f"{self.instance_id} {model} {attempt}".encode()).hexdigest()[:8], 16)
        return others[drawn % len(others)] if others and drawn < FLAKY_SHARE * 16**8 else own


def load_playbook(path: Path) -> Playbook:
    """Read one file. Raises PlaybookError with the file, the place in it and what is wrong, in one line."""
    try:
        playbook = Playbook.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise PlaybookError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlaybookError(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_url=False)]
        raise PlaybookError(f"{path}: {'; '.join(problems)}") from None
    if playbook.instance_id != path.stem:
        raise PlaybookError(f"{path}: instance_id {playbook.instance_id} must equal the file's name")
    return playbook


def load_playbooks(folder: Path) -> list[Playbook]:
    """Read every `*.yaml` of a folder, in order of name. Raises PlaybookError, also for titles used twice."""
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise PlaybookError(f"{folder} holds no playbook: expected <instance_id>.yaml files")
    playbooks = [load_playbook(path) for path in paths]
    titles: dict[str, str] = {}
    for playbook in playbooks:
        if (other := titles.setdefault(playbook.title.strip(), playbook.instance_id)) != playbook.instance_id:
            raise PlaybookError(f"{folder}: {other} and {playbook.instance_id} have the same title, make them differ")
    return playbooks


def recognise(text: str, playbooks: Sequence[Playbook]) -> Playbook | None:
    """The playbook whose title occurs in `text`, the longest title winning."""
    found = [playbook for playbook in playbooks if playbook.title.strip() in text]
    return max(found, key=lambda playbook: len(playbook.title.strip()), default=None)

"""Texts of a model or a provider, 5 MB of the worst of each kind: every reader of them takes time by their length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = 5

WORST = {
    "long word": "a",
    "digits": "1",
    "hex letters": "abcdef",
    "spaces": " ",
    "lines": "\n",
    "commits": "abcdef1 ",
    "quotes": "'\"",
    "commands": "git show abcdef1;",
    "copies": "cp a tests/test_hidden.py ",
    "paths": "/proc/[",
    "packages": "site-packages/",
    "substitutions": "$(",
    "backticks": "`",
    "documents": "<<'a",
    "environments": "env A=1 ",
    "options": "pip install -x ",
    "fetches": "requests.get( ",
    "tests": "pytest npm manage.py setup.py ",
    "scores": "SCORE: 1.1",
    "results": "1 failed FAILED ok 1111 passed",
    "diffs": "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n",
    "diff in one line": "diff --git a/ b/",
    "plus": "+++ b/\t",
    "here-documents": "cat > a.py <<'E'\nX\nE\npython a.py\n",
    "unfinished here-documents": "cat > a.py <<E <<'E' > ",
    "runs": "python a.py && python b.py; cd x | ",
    "triple quotes": '+a = """ ',
    "unlike quotes": "+\"\"\" ''' \\ ",
    "comments": "+x = 1 /* # ",
    "unclosed triple quotes": '+\\"""\n',
    "unclosed quotes": '\\"',
    "unclosed comments": "+/*\n",
    "answers": "ANSWER: ",
    "symbols": "+class Abc def Abc ",
    "passed": "PASSED a.py::test ",
    "verbose": "test_a (a.B) ",
    "files": "+++ b/tests/test_/test_.py\n",
    "added": "+x y\n",
    "return codes": "<returncode>",
    "code of digits": "<returncode>1",
    "limits": "max_tokens is too large: 1 maximum context length is ",
    "inputs": "input token count ",
    "limit": "exceeds the model's available context ",
    "secrets": "canary-012345678",
    "base64": "Y2FuYXJ5LTAxMjM0NTY3O",
}
"""Repeated until the text is long enough."""

READ = """\
import json, logging, sys
from pathlib import Path
from agents.agreement import agreement
from agents.attempt import Attempt, paid_in
from agents.leaks import Hints, scan
from agents.provider_errors import Answer, kind_of, provider_error
from agents.redaction import redact, redacted_json
from agents.review import read_score
from agents.evidence.control import control_files
from agents.evidence.existing import changed_symbols, most_mentioning
from agents.evidence.issue_tests import read_tests
from agents.evidence.judge import read_answer
from agents.evidence.outputs import passed_tests
from agents.evidence.own import own_tests
from agents.signals import extract, run_neighbour_tests

logging.disable()  # of what is left out, one line each
piece, folder = sys.argv[1], Path(sys.argv[2])
text = piece * (int(sys.argv[3]) * 2**20 // len(piece))
hints = Hints(repo="o/pkg", packages=("pkg",), hidden_files=tuple(f"tests/test_hidden{i}.py" for i in range(40)))

def message(command, number):
    return {"role": "assistant", "content": text if number == 0 else "", "extra": {"actions": [
        {"command": command, "tool_call_id": str(number)}]}}

cut = [text[begin : begin + 200_000] for begin in range(0, len(text), 200_000)]
messages = [message(text, 0), {"role": "tool", "tool_call_id": "0", "content": text}]
for number, part in enumerate(cut, 1):
    messages += [message("git show abcdef1 && " + part, number), {"role": "tool", "tool_call_id": str(number),
        "content": "<returncode>" + part, "extra": {"returncode": 0, "raw_output": part}}]
scan(messages, hints)
trajectory = folder / "trajectory.json"
trajectory.write_text(json.dumps({"messages": messages}))
attempt = Attempt(instance_id="i", model="m", patch=text, exit_status="Submitted", cost_usd=0, api_calls=1,
    prompt_tokens=1, completion_tokens=1, cached_tokens=0, failed_calls=0, seconds=1, trajectory=trajectory,
    unsubmitted_patch="", scripted=True)
extract(attempt)
agreement([text, text[1:]])
agreement(["+++ b/a.py\\n+" + text, "+++ b/a.c\\n+" + text])
run_neighbour_tests(lambda command: (0, text), text)
read_score(text)
read_tests("w", text, 3)
read_tests("w", "diff --git a/a b/a\\nnew file mode 100644\\n+++ b/a\\n@@ -0,0 +1,9999 @@\\n+" + text, 3)
own_tests("m", trajectory, text)
changed_symbols([text, "+++ b/a.py\\n+" + text])
most_mentioning(text.split("\\n"), "pytest")
read_answer(text)
control_files(text[:1000], {"a.py": text[:100_000]})
for runner in ("pytest", "unittest", "sympy"):
    passed_tests(runner, text)
paid_in(trajectory)
for status in (None, 200, 400, 503):
    kind_of(Answer(provider="", status=status, codes=frozenset(), classes=frozenset(), text=text))
provider_error("server", text, model="m")
redact(text, ["canary-0123456789", "canary+/=&0123456789"])
redacted_json({"messages": messages}, ["canary-0123456789"])
print("read")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORST)
def test_five_megabytes_of_it_are_read_in_time(kind: str, tmp_path: Path) -> None:
    """What takes time by the square of the length would need hours."""
    done = subprocess.run(
        [sys.executable, "-c", READ, WORST[kind], str(tmp_path), str(MEGABYTES)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr[-500:]) == (0, "read\n", "")

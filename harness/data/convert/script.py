"""The script that runs an instance's tests, in the form of the official ones (swebench 5.0.2)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.data.checks import TEST_LISTS, UnreadableTestsError, test_list

CONDA = (
    "for conda in /opt/miniconda3 /opt/conda; do",
    '    if [ -f "$conda/bin/activate" ]; then source "$conda/bin/activate"; conda activate testbed; break; fi',
    "done",
)
"""Activates the environment of images that were built by the harness of SWE-bench or a fork of it."""
_FILE = re.compile(r"^diff --git a/(?P<old>.*) b/(?P<new>.*)$", re.MULTILINE)


class UnfitRowError(Exception):
    """A row lacks what its conversion needs; the message goes on after the row's name, as in `has no image`."""


def eval_script(
    *, test_patch: str, base_commit: str, commands: Sequence[str], activation: Sequence[str] = CONDA
) -> str:
    """Reset the files of the test patch, apply it, run the tests between the official markers, and reset the files.

    Args:
        test_patch: a diff.
        base_commit: the commit that the files are reset to.
        commands: run the tests; the last one's exit status counts as that of the tests.
        activation: lines that prepare the environment.

    Raises:
        UnfitRowError: there is no test patch, no commit or no command.
    """
    from swebench.harness.constants import END_TEST_OUTPUT, START_TEST_OUTPUT

    for what, value in (("test_patch", test_patch), ("base_commit", base_commit), ("test command", "".join(commands))):
        if not value.strip():
            raise UnfitRowError(f"has no {what}")
    reset = list(_reset(test_patch, base_commit))
    end = _delimiter(test_patch)
    lines = [
        "#!/bin/bash",
        "set -uxo pipefail",
        *activation,
        "cd /testbed",
        "git config --global --add safe.directory /testbed",
        "git status",
        *reset,
        f"git apply -v - <<'{end}'",
        test_patch.removesuffix("\n"),
        end,
        f": '{START_TEST_OUTPUT}'",
        *commands,
        f": '{END_TEST_OUTPUT}'",
        *reset,
    ]
    return "\n".join(lines) + "\n"


def files_with_tests(test_patch: str) -> list[str]:
    """The files of a test patch that hold tests, as the official scripts name them to the test command."""
    from swebench.harness.constants import NON_TEST_EXTS

    files = [match["new"] for match in _FILE.finditer(test_patch)]
    return [name for name in dict.fromkeys(files) if not name.endswith(tuple(NON_TEST_EXTS))]


def completed(row: Mapping[str, Any], *, image: str, script: str, log_parser: str) -> dict[str, Any]:
    """A row with the columns that swebench 5 grades by; everything else stays as it came.

    Raises:
        UnfitRowError: a list of tests is none.
    """
    tests = {}
    for name in TEST_LISTS:
        try:
            tests[name] = test_list(row.get(name))
        except UnreadableTestsError as error:
            raise UnfitRowError(f"has a {name} that {error}") from error
    return {
        **row,
        **tests,
        "version": str(row.get("version") or "none"),
        "image": image,
        "eval_script": script,
        "log_parser": log_parser,
        "eval_type": "pass_and_fail",
    }


def text(row: Mapping[str, Any], name: str) -> str:
    """A column's text; empty where there is none."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _reset(test_patch: str, base_commit: str) -> Iterator[str]:
    """Commands that bring the files of a test patch back to the commit; files that the patch adds go."""
    known, added = [], []
    parts = _FILE.split(test_patch)[1:]
    for old, new, body in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        if re.search(r"^new file mode ", body.partition("\n@@")[0], re.MULTILINE):
            added.append(shlex.quote(new))
        else:
            known.append(shlex.quote(old))
    if known:
        yield f"git checkout {shlex.quote(base_commit)} -- {' '.join(known)}"
    if added:
        yield f"rm -f {' '.join(added)}"


def _delimiter(content: str) -> str:
    """A line that ends a here-document and does not occur in it."""
    lines = set(content.splitlines())
    return next(end for k in range(len(lines) + 1) if (end := f"EOF_TEST_PATCH_{k}") not in lines)

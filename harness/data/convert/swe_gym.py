"""SWE-Gym: rows like SWE-bench's; the test commands are those of its authors' harness, by repository.

Source: SWE-Gym/SWE-Bench-Fork, `swebench/harness/constants.py` at 242429c; images as its README names them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from harness.data.convert.script import UnfitRowError, completed, eval_script, files_with_tests, text

TITLE = "SWE-Gym"
COMMANDS = {
    "bokeh/bokeh": "pytest -rA -n0",
    "conan-io/conan": "pytest -n0 -rA",
    "dask/dask": "pytest -n0 -rA --color=no",
    "facebookresearch/hydra": "pytest -rA --tb=long",
    "getmoto/moto": "pytest -n0 -rA",
    "iterative/dvc": "pytest -rA",
    "modin-project/modin": "pytest -n0 -rA",
    "pandas-dev/pandas": "pytest -rA --tb=long",
    "project-monai/monai": "pytest -rA",
    "pydantic/pydantic": "pytest -rA --tb=short -vv -o console_output_style=classic --no-header",
    "python/mypy": "pytest -n0 -rA",
}
"""Test command by repository, lower case."""
_MYPY_CASE = re.compile(r"^[-+ ]?\[case ([^\]]+)\]", re.MULTILINE)


def matches(row: Mapping[str, Any]) -> bool:
    """Whether a row has SWE-bench's columns and is of one of SWE-Gym's repositories."""
    return text(row, "repo").lower() in COMMANDS and "test_patch" in row


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, completed. Raises UnfitRowError."""
    repo, patch = text(row, "repo").lower(), text(row, "test_patch")
    if repo not in COMMANDS:
        raise UnfitRowError("is of a repository whose test command is unknown")
    commands = [" ".join([COMMANDS[repo], *_selection(repo, patch)])]
    if repo == "conan-io/conan":
        commands.insert(0, "export PYTHONPATH=${PYTHONPATH:-}:$(pwd)")
    script = eval_script(test_patch=patch, base_commit=text(row, "base_commit"), commands=commands)
    plain = str(row.get("instance_id")).replace("__", "_s_").lower()
    image = f"xingyaoww/sweb.eval.x86_64.{plain}:latest"
    return completed(row, image=image, script=script, log_parser="parse_log_pytest")


def _selection(repo: str, patch: str) -> list[str]:
    """The tests to run: files of the test patch; mypy's are data, whose cases are chosen by name."""
    if repo == "python/mypy" and (cases := _MYPY_CASE.findall(patch)):
        return ["-k", shlex.quote(" or ".join(dict.fromkeys(cases)))]
    return [shlex.quote(name) for name in files_with_tests(patch)]

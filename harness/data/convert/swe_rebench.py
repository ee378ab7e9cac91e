"""nebius/SWE-rebench and nebius/SWE-rebench-leaderboard: `install_config` holds the test command and the log parser.

Source: the harness that its authors publish (SWE-rebench/SWE-bench-fork, `make_eval_script_list_py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from harness.data.convert.script import UnfitRowError, completed, eval_script, files_with_tests, text

TITLE = "SWE-rebench"


def matches(row: Mapping[str, Any]) -> bool:
    """Whether a row has SWE-rebench's columns."""
    config = row.get("install_config")
    return isinstance(config, Mapping) and "test_cmd" in config


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, completed. Raises UnfitRowError."""
    config = row["install_config"]
    image = text(row, "image_name") or text(row, "docker_image")
    if not image:
        raise UnfitRowError("has no image; those with one are in the split 'filtered'")
    patch, command = text(row, "test_patch"), config["test_cmd"]
    if isinstance(command, str) and command.strip():  # it takes the files; a list of commands is complete
        command = [" ".join([command, *map(shlex.quote, files_with_tests(patch))])]
    commands = [*(config.get("eval_commands") or []), *(command or [])]
    script = eval_script(test_patch=patch, base_commit=text(row, "base_commit"), commands=commands)
    return completed(row, image=image, script=script, log_parser=str(config.get("log_parser") or ""))

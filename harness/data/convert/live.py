"""SWE-bench-Live: `test_cmds` run the tests, and the image follows from the id.

Source: microsoft/SWE-bench-Live, `evaluation/evaluation.py` and its fork of the harness (`make_test_spec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.data.convert.script import UnfitRowError, completed, eval_script, text

TITLE = "SWE-bench-Live"


def matches(row: Mapping[str, Any]) -> bool:
    """Whether a row has SWE-bench-Live's columns."""
    return "test_cmds" in row


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, completed. Raises UnfitRowError."""
    parser = (text(row, "log_parser") or text(row, "parser")).strip().lower()
    if parser != "pytest":
        raise UnfitRowError("has a log parser of its own, a program that swebench 5 does not run")
    image = text(row, "docker_image") or f"starryzhang/sweb.eval.x86_64.{_plain(row)}:latest"
    if "sweb.eval.win." in image:
        raise UnfitRowError("needs Windows containers")
    script = eval_script(
        test_patch=text(row, "test_patch"),
        base_commit=text(row, "base_commit"),
        commands=[line for name in ("rebuild_cmds", "test_cmds", "print_cmds") for line in row.get(name) or []],
        activation=(),
    )
    return completed(row, image=image, script=script, log_parser="parse_log_pytest")


def _plain(row: Mapping[str, Any]) -> str:
    return str(row.get("instance_id")).replace("__", "_1776_").lower()

"""Datasets whose rows cannot be graded by swebench 5, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data.convert.script import text


@dataclass(frozen=True)
class Refused:
    """A source that cannot be converted."""

    title: str
    matches: Callable[[Mapping[str, Any]], bool]
    """Whether a row is of this source, by its columns."""
    because: str
    """Goes on after `cannot be converted, because`."""


REFUSED = (
    Refused(
        "SWE-bench Pro",
        lambda row: "dockerhub_tag" in row or "selected_test_files_to_run" in row,
        "the programs that run and read its tests are not in the rows, and its images keep the repository in /app, "
        "while swebench 5 applies patches in /testbed",
    ),
    Refused(
        "SWE-rebench-V2",
        lambda row: (
            "swerebenchv2/" in text(row, "image_name") or "base_image_name" in (row.get("install_config") or {})
        ),
        "its images keep the repository in a folder of the repository's name, while swebench 5 applies patches in "
        "/testbed",
    ),
    Refused(
        "SWE-smith",
        lambda row: "swesmith" in text(row, "image_name"),
        "its images hold the repository without the bug (a branch to fetch brings it), and the test commands are in "
        "the package swesmith",
    ),
    Refused(
        "SWE-bench Multimodal",
        lambda row: "image_assets" in row and not row.get("eval_script"),
        "rows made before swebench 5 have no eval_script; take SWE-bench/SWE-bench_Multimodal",
    ),
)

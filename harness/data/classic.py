"""Rows made before swebench 5: what can be derived for sure is filled in, the rest is joined from current rows.

swebench 5 derives an instance's image from its id and its log parser from its repository; the script that runs the
tests was a table of swebench 4 that it no longer has, so the script comes from the dataset's current rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import InputError

SIZES = {
    "verified": "SWE-bench_Verified",
    "lite": "SWE-bench_Lite",
    "multilingual": "SWE-bench_Multilingual",
    "multimodal": "SWE-bench_Multimodal",
}
"""Parts of a dataset's name and its current version on the hub."""


def is_classic(row: Mapping[str, Any]) -> bool:
    """Whether a row has SWE-bench's columns and none of those that swebench 5 grades by."""
    return not any(row.get(name) for name in ("image", "eval_script")) and bool(row.get("repo")) and "test_patch" in row


def completed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with image, log parser and kind of evaluation as swebench 5 derives them.

    Source: `swebench.task.checks.expected_image`, the parsers' maps by repository, `FAIL_ONLY_REPOS` (swebench 5.0.2).
    """
    from swebench.harness.constants import FAIL_ONLY_REPOS, EvalType
    from swebench.task.checks import expected_image

    repo = str(row["repo"])
    kind = EvalType.FAIL_ONLY if repo in FAIL_ONLY_REPOS else EvalType.PASS_AND_FAIL
    out = {"image": expected_image(str(row["instance_id"])), "eval_type": kind.value}
    if parser := _parsers().get(repo):
        out["log_parser"] = parser
    return {**row, **{name: value for name, value in out.items() if not row.get(name)}}


def with_scripts(rows: Iterable[Mapping[str, Any]], current: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Classic rows with the eval_script of the current rows of the same id; a row without one stays as it is.

    Raises:
        InputError: a current row is of another base commit, so that its script belongs to other tests.
    """
    known = {str(row.get("instance_id")): row for row in current}
    out = []
    for row in rows:
        match = known.get(str(row.get("instance_id")))
        if match is None or row.get("eval_script"):
            out.append(dict(row))
            continue
        commits = {str(r["base_commit"]) for r in (row, match) if r.get("base_commit")}
        if len(commits) > 1:
            raise InputError(f"dataset.scripts: {row['instance_id']} is of another base commit there; it is no match")
        graded_by = ("eval_script", "image", "log_parser", "eval_type")
        out.append({**row, **{name: match[name] for name in graded_by if match.get(name)}})
    return out


def advice(name: str) -> str:
    """What to do about rows without a script: the current dataset's name."""
    current = next((hub for part, hub in SIZES.items() if part in name.lower()), "SWE-bench")
    return (
        f"rows made before swebench 5 have no eval_script: take dataset.name SWE-bench/{current}, "
        f"or keep these rows and set dataset.scripts to it (or to a file of its rows)"
    )


def _parsers() -> dict[str, str]:
    """Name of the log parser by repository, from the maps that swebench keeps by language."""
    from importlib import import_module

    from swebench.harness.log_parsers import PARSER_REGISTRY

    parsers: dict[str, str] = {}
    for language in ("python", "javascript", "c", "go", "java", "php", "ruby", "rust"):
        module = import_module(f"swebench.harness.log_parsers.{language}")
        for name, table in vars(module).items():
            if name.startswith("MAP_REPO_TO_PARSER"):
                parsers |= {repo: parser.__name__ for repo, parser in table.items()}
    return {repo: parser for repo, parser in parsers.items() if parser in PARSER_REGISTRY}

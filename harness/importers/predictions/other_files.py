"""Files that are no predictions: what they are, and which command takes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.files import UnreadableFileError
from harness.importers.predictions.files import document, first_value, head, packing

MAX_LOOKED_AT = 64 * 2**20
"""Bytes of a document that is parsed to find out what it is."""


def what_it_is(path: Path) -> str:
    """What a file or folder is and what to do with it; empty where it may hold predictions."""
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> str:
    if (path / "outcomes.sqlite").is_file():
        return f"a run of polyswe, which is graded already: polyswe report {path}"
    if (path / "results.json").is_file() and (path / "outcomes.csv").is_file():
        return f"results of polyswe: polyswe report {path}"
    if (path / "tasks").is_dir() and (path / "sweb.yaml").is_file():
        return "a task repo, which is a dataset: --dataset takes it"
    return ""


def _file(path: Path) -> str:
    if kind := packing(path):
        return f"packed with {kind}: unpack it first"
    begin = head(path)
    if begin.startswith(b"PAR1"):
        return "a Parquet file: a dataset goes to --dataset; predictions are JSON"
    if begin.startswith(b"SQLite format 3"):
        return "the store of a run of polyswe: polyswe report takes the run's folder"
    if path.suffix in (".yaml", ".yml"):
        return _yaml(path)
    if path.suffix == ".csv":
        return f"a table of outcomes, not of patches: polyswe replay {path} --tasks DATASET"
    if path.suffix in (".diff", ".patch"):
        return "one bare patch: predictions are JSON with instance_id, model_name_or_path and model_patch"
    if not begin.strip():
        return "the file is empty"
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return "neither JSON nor JSON Lines; predictions are JSON with instance_id, model_name_or_path and model_patch"
    return _json(path)


def _yaml(path: Path) -> str:
    begin = head(path)
    if b"\nversions:" in begin or begin.startswith(b"config:"):
        return f"the record of a run of polyswe: polyswe report {path.parent}"
    return f"a configuration: polyswe evaluate {path}"


def _json(path: Path) -> str:
    content = _content(path)
    if isinstance(content, list):
        content = content[0] if content else {}
    if not isinstance(content, dict):
        return ""
    return _object(content, path)


def _content(path: Path) -> Any:
    """The first line's value of JSON Lines, the whole of a document that is not too long."""
    if path.suffix == ".jsonl":
        return first_value(path)
    try:
        return document(path, MAX_LOOKED_AT)
    except UnreadableFileError:
        return None  # its reader says what is wrong with it


def _object(content: Mapping[str, Any], path: Path) -> str:
    replay = f"polyswe replay {path} --tasks DATASET"
    if "model_patch" in content or "test_result" in content:
        return ""
    if {"rows", "verdict", "pool"} <= content.keys():
        return f"results of polyswe: polyswe report {path.parent}"
    if "leaderboards" in content:
        return f"the SWE-bench site's leaderboards, verdicts without patches: {replay}"
    if "resolved_ids" in content:
        return f"a report of `swebench eval`, verdicts without patches: {replay}"
    if "resolved" in content and isinstance(content["resolved"], list):
        return f"a results.json of SWE-bench/experiments, verdicts without patches: polyswe replay takes {path.parent}"
    if "problem_statement" in content or "FAIL_TO_PASS" in content:
        return f"a dataset: --dataset {path} beside the file of predictions"
    if "trajectory_format" in content or "trajectory" in content or "schema_version" in content:
        return "one trajectory: name the agent's output folder"
    return _table_of_instances(content, replay)


def _table_of_instances(content: Mapping[str, Any], replay: str) -> str:
    first = next(iter(content.values()), None)
    if not isinstance(first, dict) or "model_patch" in first:
        return ""
    if "tests_status" in first or "patch_successfully_applied" in first:
        return "a report.json of the official harness: one verdict without its patch"
    if "resolved" in first:
        return f"verdicts by instance, without patches: {replay}"
    return ""

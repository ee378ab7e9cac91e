"""The leaderboard's entry: lists, breakdowns, metadata, checklist and details, each against the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from harness.files import UnreadableFileError, YamlError, parse_yaml
from harness.submission.about import TODO
from harness.submission.findings import Findings, some
from harness.submission.packages import RESULTS, Row
from harness.submission.tree import Tree
from harness.submission.verdicts import LISTS
from harness.submission.write import CHECKLIST, breakdown, repository, year

MAX_TEXT_BYTES = 2**20
"""Size of a metadata.yaml or a README.md that is read."""
KEYWORDS = {"pass@1": "pass@1", "tests": "PASS_TO_PASS", "hints": "hints", "web": "web-browsing"}
"""What each line of the checklist is known by."""
BREAKDOWNS = {"resolved_by_repo.json": repository, "resolved_by_time.json": year}


def read_lists(entry: Tree, findings: Findings) -> dict[str, list[str]] | None:
    """The lists of results.json; None where there are none."""
    document = _table(entry, RESULTS, findings)
    if document is None:
        return None
    lists = {name: document.get(name) for name in LISTS}
    for name, ids in lists.items():
        if not isinstance(ids, list) or not all(isinstance(i, str) and i for i in ids):
            findings.fault(f"results.json: {name!r} is not a list of instance ids")
            return None
        findings.fault_of([i for i, n in Counter(ids).items() if n > 1], f"results.json: twice in {name!r}")
    result = {name: list(ids or []) for name, ids in lists.items()}
    for a, b in (("resolved", "no_generation"), ("resolved", "no_logs"), ("no_generation", "no_logs")):
        findings.fault_of(set(result[a]) & set(result[b]), f"results.json: in {a!r} and in {b!r}")
    if not result["resolved"]:
        findings.note("no instance is resolved")
    return result


def check_entry(
    entry: Tree,
    lists: Mapping[str, list[str]] | None,
    rows: Mapping[str, Row] | None,
    manifest: Mapping[str, Any],
    findings: Findings,
) -> None:
    """Everything in the entry's folder but the lists themselves.

    Args:
        entry: The entry's folder.
        lists: See `read_lists`.
        rows: The instances that the package has to cover; None where they are not at hand.
        manifest: What polyswe wrote of the package; empty for others.
        findings: Gets what speaks against the entry.
    """
    if lists is not None and rows is not None:
        _compare_with_dataset(entry, lists, rows, findings)
    _check_name(entry.root.name, findings)
    _check_metadata(entry, manifest, findings)
    _check_readme(entry, findings)
    if lists is not None and "per_instance_details.json" in entry.sizes:
        _check_details(entry, lists, rows, findings)


def _compare_with_dataset(
    entry: Tree, lists: Mapping[str, list[str]], rows: Mapping[str, Row], findings: Findings
) -> None:
    listed = set().union(*lists.values())
    findings.fault_of(listed - rows.keys(), f"results.json: not among the {len(rows)} instances of the dataset")
    resolved = set(lists["resolved"])
    for file, key in BREAKDOWNS.items():
        if f"results/{file}" not in entry.sizes:
            findings.gap(f"results/{file} is missing")
            continue
        document = _table(entry, f"results/{file}", findings)
        if document is None:
            continue
        expected = breakdown(rows.values(), resolved, key)
        if any(not isinstance(value, dict) for value in document.values()):
            findings.fault(f"results/{file}: not a table of resolved and total")
        elif wrong := sorted(k for k in expected.keys() | document.keys() if document.get(k) != expected.get(k)):
            findings.fault(f"results/{file} contradicts results.json and the dataset: {some(wrong)}")


def _check_name(folder: str, findings: Findings) -> None:
    date, _, name = folder.partition("_")
    try:
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        findings.fault(f"the folder {folder!r} does not begin with a date: YYYYMMDD_name is expected")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+@-]*", name or "?"):
        findings.fault(f"the folder {folder!r} has no plain name behind its date: YYYYMMDD_name is expected")


def _check_metadata(entry: Tree, manifest: Mapping[str, Any], findings: Findings) -> None:
    try:
        metadata = parse_yaml(entry.text("metadata.yaml", MAX_TEXT_BYTES))
    except UnreadableFileError as error:
        findings.fault(f"metadata.yaml: {error}")
        return
    except YamlError as error:
        findings.fault(f"metadata.yaml: not valid YAML ({error})")
        return
    info = metadata.get("info") if isinstance(metadata, dict) else None
    if not isinstance(info, dict) or not str(info.get("name") or "").strip():
        findings.fault("metadata.yaml: info.name is missing")
        return
    tags = metadata.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    fields = {f"info.{name}": info.get(name) for name in ("site", "report", "authors")}
    fields |= {f"tags.{name}": tags.get(name) for name in ("model", "org", "system")}
    for place, value in fields.items():
        if value in (None, "", [], {}) or TODO in str(value):
            findings.gap(f"metadata.yaml: {place} is not filled in")
    system = tags.get("system")
    if system not in (None, "", [], {}) and not isinstance(system, dict):
        findings.fault("metadata.yaml: tags.system is not a table")
    attempts = system.get("attempts") if isinstance(system, dict) else None
    of_run = str(manifest.get("attempts", "1"))
    if manifest and (isinstance(attempts, dict | list) or str(attempts) != of_run):
        findings.fault(f"metadata.yaml: tags.system.attempts is {attempts!r}, the run says {of_run!r}")


def _check_readme(entry: Tree, findings: Findings) -> None:
    if "README.md" not in entry.sizes:
        findings.gap("README.md is missing")
        return
    try:
        lines = entry.read("README.md", MAX_TEXT_BYTES).decode("utf-8", errors="replace").splitlines()
    except UnreadableFileError as error:
        findings.fault(f"README.md: {error}")
        return
    boxes = [line.lstrip() for line in lines if re.match(r"\s*[-*] \[", line)]
    for name in CHECKLIST:
        line = next((line for line in boxes if KEYWORDS[name] in line), None)
        if line is None:
            findings.gap(f"README.md: the checklist's line on {name} is missing")
        elif not re.match(r"[-*] \[[xX]\]", line):
            findings.gap(f"README.md: the checklist's line on {name} is not ticked")


def _check_details(
    entry: Tree, lists: Mapping[str, list[str]], rows: Mapping[str, Row] | None, findings: Findings
) -> None:
    details = _table(entry, "per_instance_details.json", findings)
    if details is None:
        return
    if any(not isinstance(cell, dict) for cell in details.values()):
        findings.fault("per_instance_details.json: not a table of instances")
        return
    resolved = {instance for instance, cell in details.items() if cell.get("resolved") is True}
    findings.fault_of(
        resolved ^ set(lists["resolved"]), "per_instance_details.json and results.json disagree whether it is resolved"
    )
    if rows is not None:
        findings.fault_of(
            rows.keys() ^ details.keys(), "per_instance_details.json does not hold the dataset's instances"
        )


def _table(entry: Tree, name: str, findings: Findings) -> dict[str, Any] | None:
    """A JSON object of the entry; None where there is none, which is a fault."""
    try:
        document = entry.json(name)
    except UnreadableFileError as error:
        findings.fault(f"{name}: {error}")
        return None
    if not isinstance(document, dict):
        findings.fault(f"{name}: not a table")
        return None
    return document

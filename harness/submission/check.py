"""Does a package prove what it says? Every verdict derived again from its log, every list against the others.

The same check stands before a package of ours is put in its place and behind `--check`, also for entries that polyswe
did not write: what an entry does not hold is not checked, and the findings say so.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentUnavailableError, InputError
from harness.files import parse_yaml
from harness.submission.about import TODO
from harness.submission.findings import Findings, some
from harness.submission.public import LISTS, Row, check_files, check_public
from harness.submission.write import (
    CHECKLIST,
    ENTRIES,
    MANIFEST,
    PUBLIC,
    breakdown,
    repository,
    year,
)

RESULTS = Path("results") / "results.json"
SPLITS = {
    "lite": "lite", "verified": "verified", "bash-only": "verified", "test": "full", "multilingual": "multilingual",
    "sample": "sample",
}  # fmt: skip
"""Folder under `evaluation/` → dataset."""


@dataclass(frozen=True)
class Package:
    """An entry with its public tree, where there is one."""

    entry: Path
    public: Path | None

    @property
    def split(self) -> str:
        return self.entry.parent.name


@dataclass
class Checked:
    """What was found of one package."""

    package: Package
    findings: Findings = field(default_factory=Findings)
    resolved: int | None = None
    regraded: int = 0
    """verdicts derived again from a log"""

    @property
    def name(self) -> str:
        return self.package.entry.name


def find_packages(path: Path) -> list[Package]:
    """The packages at or under a folder: a package of ours, an entry, a split, or SWE-bench/experiments as a whole.

    Raises:
        InputError: there is none.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; name a package, or a folder of SWE-bench/experiments")
    for pattern in (".", "*", "*/*", f"{ENTRIES}/*/*"):
        results = path.glob(f"{pattern}/{RESULTS}") if pattern != "." else [path / RESULTS]
        if entries := sorted(file.parents[1].resolve() for file in results if file.is_file()):
            return [Package(entry, _public(path, entry)) for entry in entries]
    raise InputError(f"{path}: no {RESULTS} in it or below; this is no package")


def _public(path: Path, entry: Path) -> Path | None:
    """Beside `evaluation/`, or the entry itself, as all were once laid out."""
    for candidate in (path / PUBLIC, *(parent / PUBLIC for parent in entry.parents[:3]), entry):
        if (candidate / "all_preds.jsonl").is_file() or (candidate / "logs").is_dir():
            return candidate
    return None


class Datasets:
    """The rows of each split, loaded once; None for one that is not at hand."""

    def __init__(self, given: str | None = None) -> None:
        self.given = given
        self._rows: dict[str, dict[str, Row] | None] = {}
        self.reasons: dict[str, str] = {}

    def rows(self, split: str) -> dict[str, Row] | None:
        """Rows by instance id of the dataset given, else of the split's own."""
        if split not in self._rows:
            self._rows[split] = self._load(split)
        return self._rows[split]

    def _load(self, split: str) -> dict[str, Row] | None:
        from harness.data.checks import readable
        from harness.data.classic import completed, is_classic
        from harness.data.rows import load_rows

        name = self.given or SPLITS.get(split)
        if name is None:
            self.reasons[split] = f"'{split}' is no split of SWE-bench; name its instances with --dataset"
            return None
        try:
            rows = [completed(row) if is_classic(row) else row for row in load_rows(name)]
            return {str(row.get("instance_id")): readable(row) for row in rows}
        except EnvironmentUnavailableError as error:
            self.reasons[split] = str(error)
            return None


def check_package(
    package: Package, datasets: Datasets, *, accepted: Sequence[str] = (), key_names: Sequence[str | None] = ()
) -> Checked:
    """Everything that speaks against a package, and what nobody has filled in.

    Args:
        package: see `find_packages`.
        datasets: instances to compare with.
        accepted: files (as their findings name them) whose look-alikes of secrets somebody has looked at.
        key_names: environment variables whose values are secrets, whatever they are called.
    """
    checked = Checked(package)
    findings = checked.findings
    rows = datasets.rows(package.split)
    if rows is None:
        findings.note(f"not compared with the dataset: {datasets.reasons[package.split]}")
    lists = _read_lists(package.entry / RESULTS, findings)
    if lists is None:
        return checked
    checked.resolved = len(lists["resolved"])
    manifest = _manifest(package)
    if rows is not None:
        rows = _restricted(rows, manifest, findings)
        _compare_with_dataset(package.entry, lists, rows, findings)
    _check_name(package.entry, findings)
    _check_metadata(package.entry, manifest, findings)
    _check_readme(package.entry, findings)
    _check_details(package.entry, lists, rows, findings)
    if package.public is None:
        findings.note("no predictions and no logs in it: the verdicts could not be derived again")
    else:
        checked.regraded = check_public(package.public, lists, rows, findings)
    check_files([package.entry, *([package.public] if package.public else [])], findings, accepted, key_names)
    return checked


def _read_lists(path: Path, findings: Findings) -> dict[str, list[str]] | None:
    document = _read_json(path, findings)
    if not isinstance(document, dict):
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
        findings.note("not one instance is resolved")
    return result


def _manifest(package: Package) -> dict[str, Any]:
    """What polyswe wrote of the package; empty for those of others."""
    file = package.public / MANIFEST if package.public else None
    if file is None or not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _restricted(rows: Mapping[str, Row], manifest: Mapping[str, Any], findings: Findings) -> dict[str, Row]:
    """The rows a package has to cover: all, unless it says of itself that it is a trial over some."""
    if manifest.get("scripted"):
        findings.gap("the models are scripted stand-ins: this shows the path, it is no system to submit")
    models = manifest.get("models")
    if not manifest.get("partial") or not isinstance(models, dict):
        return dict(rows)
    findings.gap(f"a trial over {len(models)} of {len(rows)} instances: a leaderboard takes the whole split")
    return {instance: row for instance, row in rows.items() if instance in models}


def _compare_with_dataset(
    entry: Path, lists: Mapping[str, list[str]], rows: Mapping[str, Row], findings: Findings
) -> None:
    listed = set().union(*lists.values())
    findings.fault_of(listed - rows.keys(), f"results.json: not among the {len(rows)} instances of the dataset")
    resolved = set(lists["resolved"])
    for file, key in (("resolved_by_repo.json", repository), ("resolved_by_time.json", year)):
        path = entry / "results" / file
        if not path.is_file():
            findings.gap(f"results/{file} is missing")
            continue
        document = _read_json(path, findings)
        expected = breakdown(rows.values(), resolved, key)
        if not isinstance(document, dict) or any(not isinstance(v, dict) for v in document.values()):
            findings.fault(f"results/{file}: not a table of resolved and total")
        elif wrong := sorted(k for k in expected.keys() | document.keys() if document.get(k) != expected.get(k)):
            findings.fault(f"results/{file} contradicts results.json and the dataset: {some(wrong)}")


def _check_name(entry: Path, findings: Findings) -> None:
    stamp, _, name = entry.name.partition("_")
    try:
        datetime.strptime(stamp, "%Y%m%d")
    except ValueError:
        findings.fault(f"the folder {entry.name!r} does not begin with a date: YYYYMMDD_name is expected")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+@-]*", name or "?"):
        findings.fault(f"the folder {entry.name!r} has no plain name behind its date: YYYYMMDD_name is expected")


def _check_metadata(entry: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    path = entry / "metadata.yaml"
    try:
        metadata = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        findings.fault("metadata.yaml is missing")
        return
    except (OSError, ValueError) as error:  # a date that does not exist is a ValueError
        findings.fault(f"metadata.yaml: not valid YAML ({' '.join(str(error).split())[:160]})")
        return
    info = metadata.get("info") if isinstance(metadata, dict) else None
    if not isinstance(info, dict) or not str(info.get("name") or "").strip():
        findings.fault("metadata.yaml: info.name is missing")
        return
    tags = metadata.get("tags")
    for place, value in [
        *((f"info.{name}", info.get(name)) for name in ("site", "report", "authors")),
        *((f"tags.{name}", tags.get(name) if isinstance(tags, dict) else None) for name in ("model", "org", "system")),
    ]:
        if value in (None, "", [], {}) or TODO in str(value):
            findings.gap(f"metadata.yaml: {place} is not filled in")
    system = tags.get("system") if isinstance(tags, dict) else None
    if system not in (None, "", [], {}) and not isinstance(system, dict):
        findings.fault("metadata.yaml: tags.system is not a table")
    attempts = system.get("attempts") if isinstance(system, dict) else None
    if manifest and str(attempts) != str(manifest.get("attempts", "1")):
        findings.fault(
            f"metadata.yaml: tags.system.attempts is {attempts!r}, the run says {manifest.get('attempts', '1')!r}"
        )


def _check_readme(entry: Path, findings: Findings) -> None:
    path = entry / "README.md"
    if not path.is_file():
        findings.gap("README.md is missing")
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for name in CHECKLIST:
        keyword = {"pass@1": "pass@1", "tests": "PASS_TO_PASS", "hints": "hints", "web": "web-browsing"}[name]
        line = next((line for line in text.splitlines() if keyword in line and re.match(r"\s*[-*] \[", line)), None)
        if line is None:
            findings.gap(f"README.md: the checklist's line on {name} is missing")
        elif not re.match(r"\s*[-*] \[[xX]\]", line):
            findings.gap(f"README.md: the checklist's line on {name} is not ticked")


def _check_details(
    entry: Path, lists: Mapping[str, list[str]], rows: Mapping[str, Row] | None, findings: Findings
) -> None:
    path = entry / "per_instance_details.json"
    if not path.is_file():
        return
    details = _read_json(path, findings)
    if not isinstance(details, dict) or any(not isinstance(cell, dict) for cell in details.values()):
        findings.fault("per_instance_details.json: not a table of instances")
        return
    found = {instance for instance, cell in details.items() if cell.get("resolved") is True}
    findings.fault_of(
        found ^ set(lists["resolved"]), "per_instance_details.json and results.json disagree whether it is resolved"
    )
    if rows is not None:
        findings.fault_of(
            rows.keys() ^ details.keys(), "per_instance_details.json does not hold the dataset's instances"
        )


def _read_json(path: Path, findings: Findings) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        findings.fault(f"{path.name}: not readable as JSON ({error})")
        return None

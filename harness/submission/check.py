"""Does a package prove what it says? Every verdict derived again from its log, every list against the others.

The same check stands before a package of ours is put in its place and behind `--check`, also for entries that polyswe
did not write: what an entry does not hold is not checked, and the findings say so.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import PolysweError
from harness.files import UnreadableFileError
from harness.submission.entry import check_entry, read_lists
from harness.submission.evidence import LogGrader, shared_grader
from harness.submission.findings import Findings, some
from harness.submission.packages import Datasets, Package, Row
from harness.submission.predictions import FILE as PREDICTIONS
from harness.submission.predictions import read_predictions
from harness.submission.secrets import environment_secrets, secrets_in
from harness.submission.trajectories import check_trajectories
from harness.submission.tree import MAX_FILE_BYTES, MAX_TREE_BYTES, Tree
from harness.submission.verdicts import VerdictCheck
from harness.submission.write import MANIFEST

ARCHIVES = (".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".lz4")
"""Ends of files whose content is packed and therefore not searched for keys; a .gz is unpacked."""


@dataclass
class Checked:
    """The result of a package's check."""

    package: Package
    findings: Findings = field(default_factory=Findings)
    resolved: int | None = None
    """Instances that results.json lists as resolved; None where it cannot be read."""
    regraded: int = 0
    """Verdicts that were derived again from a log."""

    @property
    def name(self) -> str:
        return self.package.entry.name


def check_package(
    package: Package,
    datasets: Datasets,
    *,
    accepted: Sequence[str] = (),
    key_names: Sequence[str | None] = (),
    grader: LogGrader | None = None,
) -> Checked:
    """Everything that speaks against a package, and what nobody has filled in.

    Args:
        package: See `find_packages`.
        datasets: Instances to compare with.
        accepted: Files (as their findings name them) whose look-alikes of secrets somebody has looked at.
        key_names: Environment variables whose values are secrets, whatever they are called.
        grader: Grades the logs; by default the one that all checks of this process share.
    """
    checked = Checked(package)
    _check(checked, datasets, grader or shared_grader(), accepted=accepted, key_names=key_names)
    return checked


def check_packages(
    packages: Iterable[Package], datasets: Datasets, *, accepted: Sequence[str] = ()
) -> Iterator[Checked]:
    """The check of each package. What polyswe fails at is a finding of that package, and the others are checked."""
    for package in packages:
        checked = Checked(package)
        try:
            _check(checked, datasets, shared_grader(), accepted=accepted)
        except PolysweError:  # a dataset or an environment that no package can be checked with
            raise
        except Exception as error:  # noqa: BLE001 - nobody can foresee what other people's folders hold
            place = traceback.extract_tb(error.__traceback__)[-1]
            checked.findings.error(
                f"polyswe failed at this package and did not finish its check ({type(error).__name__}: {error}; "
                f"{Path(place.filename).name}:{place.lineno}); please report it"
            )
        yield checked


def _check(
    checked: Checked,
    datasets: Datasets,
    grader: LogGrader,
    *,
    accepted: Sequence[str],
    key_names: Sequence[str | None] = (),
) -> None:
    package, findings = checked.package, checked.findings
    entry = Tree(package.entry)
    public = entry if package.public == package.entry else Tree(package.public) if package.public else None
    trees = [entry] if public in (None, entry) else [entry, public]
    lists = read_lists(entry, findings)
    checked.resolved = None if lists is None else len(lists["resolved"])
    manifest = _manifest(public)
    rows = _rows(package.split, datasets, manifest, findings)
    check_entry(entry, lists, rows, manifest, findings)
    if public is None:
        findings.note("no predictions and no logs in it: the verdicts could not be derived again")
    elif lists is not None:
        checked.regraded = _check_public(public, lists, rows, grader, findings)
    _check_files(trees, findings, accepted, environment_secrets(key_names))


def _manifest(public: Tree | None) -> dict[str, Any]:
    """What polyswe wrote of the package; empty for those of others."""
    try:
        content = public.json(MANIFEST) if public else {}
    except UnreadableFileError:
        return {}
    return content if isinstance(content, dict) else {}


def _rows(split: str, datasets: Datasets, manifest: Mapping[str, Any], findings: Findings) -> dict[str, Row] | None:
    """The rows a package has to cover: all, unless it says of itself that it is a trial over some."""
    if manifest.get("scripted"):
        findings.gap("the models are scripted stand-ins, so the package is not submittable")
    rows = datasets.rows(split)
    if rows is None:
        findings.note(f"not compared with the dataset: {datasets.reasons[split]}")
        return None
    models = manifest.get("models")
    if not manifest.get("partial") or not isinstance(models, dict):
        return rows
    findings.gap(f"a trial over {len(models)} of {len(rows)} instances: a leaderboard takes the whole split")
    return {instance: row for instance, row in rows.items() if instance in models}


def _check_public(
    public: Tree,
    lists: Mapping[str, list[str]],
    rows: Mapping[str, Row] | None,
    grader: LogGrader,
    findings: Findings,
) -> int:
    """Compare predictions, trajectories and logs; returns how many verdicts were derived again from a log."""
    predictions = read_predictions(public, findings)
    if predictions is None:
        return 0
    if rows is not None:
        findings.fault_of(rows.keys() - predictions.keys(), f"{PREDICTIONS}: no prediction of")
        findings.fault_of(predictions.keys() - rows.keys(), f"{PREDICTIONS}: not an instance of the dataset")
    check_trajectories(public, predictions, rows, findings)
    verdicts = VerdictCheck(public, rows, grader)
    verdicts.check(predictions, lists, findings)
    return verdicts.regraded


def _check_files(
    trees: Sequence[Tree], findings: Findings, accepted: Sequence[str], secrets: Mapping[str, Collection[str]]
) -> None:
    """Links, sizes and secrets of everything that would become public."""
    total = 0
    unsearched: list[str] = []
    for tree in trees:
        for fault in tree.faults:
            findings.fault(fault)
        for note in tree.notes:
            findings.note(note)
        for name, size in tree.sizes.items():
            total += size
            if size > MAX_FILE_BYTES:
                findings.fault(f"{name}: {size / 2**20:.0f} MB, the limit is {MAX_FILE_BYTES >> 20} MB a file")
            elif name.endswith(ARCHIVES):
                unsearched.append(name)
            elif name not in accepted:
                _check_secrets(tree, name, secrets, findings)
    if total > MAX_TREE_BYTES:
        findings.fault(f"{total / 2**30:.1f} GB altogether, the limit is {MAX_TREE_BYTES >> 30} GB")
    if unsearched:
        findings.note(f"{len(unsearched)} archives were not searched for keys: {some(unsearched)}")


def _check_secrets(tree: Tree, name: str, secrets: Mapping[str, Collection[str]], findings: Findings) -> None:
    try:
        for place in dict.fromkeys(secrets_in(tree.blocks(name), secrets)):
            findings.fault(f"{name}: {place} (if it is none, --accept {name})")
    except UnreadableFileError as error:
        findings.fault(f"{name}: not searched for keys ({error})")

"""A folder of many agents' finished attempts: patches' verdicts, generated tests, similarities, existing tests.

The files are those of the study that `polyswe lab selection` repeats. Only the first is needed:

| file | what it holds |
|---|---|
| `sbv_patches.jsonl.gz` | one attempt a line: `model`, `instance_id`, `patch` (null: none), `resolved` |
| `sbv_features.csv.gz` | `kind` of each model's run, which says where it is an ensemble of several attempts |
| `sbv_generated_tests.csv.gz` | a test a row: its writer (`generator`); passes `unpatched` and with each patch? |
| `sbv_pairs.npz` | `sim` (n, m, m, f): similarities of two models' patches, among them `seq` and `eq` |
| `django_existing_tests.jsonl` | an instance a line: the existing tests that each patch breaks (`res`) |
| `rep_patches.jsonl.gz` | repeated runs of one model, named `…_run1`, `…_run2`, … |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.importers.finished_files import csv_rows, json_lines, read_arrays, read_packed, read_plain
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source
from router.arrays import FloatArray, IntArray

PATCHES = "sbv_patches.jsonl.gz"
FEATURES = "sbv_features.csv.gz"
TESTS = "sbv_generated_tests.csv.gz"
PAIRS = "sbv_pairs.npz"
EXISTING = "django_existing_tests.jsonl"
REPEATED = "rep_patches.jsonl.gz"
GOLD = "gold"
"""Name of the reference patch among those whose existing tests were run."""
MOST_MODELS = 50
MOST_ATTEMPTS = 100_000
MOST_TESTS = 200_000
MOST_NAME = 200
"""Characters of a name."""
_RUN = re.compile(r"^(.+)_run(\d{1,3})$")
VERDICTS = {0: 0.0, 1: 1.0, "0": 0.0, "1": 1.0, None: math.nan}


@dataclass(frozen=True, eq=False)
class GeneratedTests:
    """t tests that language models wrote from the issue, run on the unpatched repository and on each patch."""

    writers: tuple[str, ...]
    writer: IntArray
    """(t,) index of each test's writer"""
    row: IntArray
    """(t,) index of its instance"""
    passes_unpatched: NDArray[np.bool_]
    """(t,)"""
    passes: FloatArray
    """(t, m) 1 or 0; NaN for a model whose patches were not run"""

    def fixed(self, n: int, writers: Sequence[str] | None = None) -> FloatArray:
        """(n, m) number of tests that fail unpatched and pass with the patch; NaN for a model that was not run."""
        chosen = [self.writers.index(name) for name in self.writers if writers is None or name in writers]
        counted = np.isin(self.writer, chosen) & ~self.passes_unpatched
        total = np.zeros((n, self.passes.shape[1]))
        np.add.at(total, self.row[counted], np.nan_to_num(self.passes[counted]))
        total[:, np.isnan(self.passes).all(axis=0)] = np.nan
        return total


@dataclass(frozen=True, eq=False)
class ExistingTests:
    """Existing tests of the repository that were run on some instances before and after each patch."""

    row: IntArray
    """(k,) index of each instance"""
    broken: tuple[Mapping[str, frozenset[str]], ...]
    """(k,) for each model (and GOLD): names of the tests that pass before and fail after its patch"""


@dataclass(frozen=True, eq=False)
class FinishedAttempts:
    """What a folder holds, as arrays over n instances and m models; NaN means unknown."""

    instances: tuple[str, ...]
    models: tuple[str, ...]
    resolved: FloatArray
    """(n, m)"""
    patch_present: FloatArray
    """(n, m) 1 or 0"""
    kinds: Mapping[str, str]
    """how a model's run was made, where it is known"""
    tests: GeneratedTests | None = None
    similarity: FloatArray | None = None
    """(n, m, m) sequence ratio of two patches; NaN where one is missing"""
    agrees: FloatArray | None = None
    """(n, m, m) whether two patches are equal; NaN where one is missing"""
    existing: ExistingTests | None = None

    @cached_property
    def broken(self) -> FloatArray:
        """(n, m) number of existing tests that the patch breaks; NaN where they were not run."""
        counts = np.full(self.resolved.shape, np.nan)
        for row, broken in zip(self.existing.row, self.existing.broken, strict=True) if self.existing else ():
            for h, model in enumerate(self.models):
                if model in broken:
                    counts[row, h] = len(broken[model])
        return counts

    def signals(self) -> dict[str, FloatArray]:
        """(n, m) by the names that policies read; `…@MODEL` compares with that model's patch alone."""
        signals = {"patch_present": self.patch_present}
        if self.tests is not None:
            signals["tests_fixed"] = self.tests.fixed(len(self.instances))
        if self.existing is not None:
            signals["existing_broken"] = self.broken
        for name, table in (("patch_similarity", self.similarity), ("patch_agrees", self.agrees)):
            if table is not None:
                signals |= {f"{name}@{model}": table[:, :, h] for h, model in enumerate(self.models)}
        return signals


def matches(source: Source) -> bool:
    """Whether it is a folder with a file of patches."""
    return source.folder is not None and (source.folder / PATCHES).is_file()


def read(source: Source) -> RecordedOutcomes:
    """One run per model, with signals; repeated runs of one model become one run with repeats. Costs are unknown.

    Raises:
        InputError: a file is damaged, too large, or contradicts another.
    """
    if source.folder is None:
        raise InputError(f"{source.label}: not a folder; name the one that holds {PATCHES}")
    found = read_finished(source.folder)
    signals = found.signals()
    runs = []
    for h, model in enumerate(found.models):
        cells = {
            instance: RecordedCell(
                resolved=None if math.isnan(found.resolved[i, h]) else bool(found.resolved[i, h]),
                signals={name: float(v[i, h]) for name, v in signals.items() if not math.isnan(v[i, h])},
            )
            for i, instance in enumerate(found.instances)
        }
        kind = found.kinds.get(model)
        ensemble = kind is not None and "ensemble" in kind.casefold()
        remarks = (f"{model} is no single attempt: {kind}",) if ensemble else ()
        runs.append(RecordedRun(name=model, source=source.label, cells=cells, flag=kind, notes=remarks))
    notes = ["costs of these attempts are unknown: no policy's cost can be given"]
    if (source.folder / REPEATED).is_file():
        repeated = _repeated(source.folder / REPEATED, source.label)
        notes.append(f"also read: {', '.join(run.name for run in repeated)} ({REPEATED})")
        runs += repeated
    return RecordedOutcomes(tuple(runs), tuple(notes))


def read_finished(folder: Path) -> FinishedAttempts:
    """Everything in a folder. Raises InputError as `read` does."""
    if not (folder / PATCHES).is_file():
        raise InputError(f"{folder}: no {PATCHES} in it; name the folder that holds the finished attempts")
    attempts = _attempts(folder / PATCHES)
    models = tuple(dict.fromkeys(model for model, _ in attempts))
    instances = tuple(dict.fromkeys(instance for _, instance in attempts))
    if not 1 <= len(models) <= MOST_MODELS:
        raise InputError(f"{folder / PATCHES}: {len(models)} models; from 1 to {MOST_MODELS} are read")
    resolved, present = np.full((2, len(instances), len(models)), np.nan)
    column = {model: h for h, model in enumerate(models)}
    row = {instance: i for i, instance in enumerate(instances)}
    for (model, instance), (verdict, has_patch) in attempts.items():
        resolved[row[instance], column[model]] = verdict
        present[row[instance], column[model]] = has_patch
    similarity, agrees = _pairs(folder / PAIRS, row, column, present)
    return FinishedAttempts(
        instances=instances,
        models=models,
        resolved=resolved,
        patch_present=present,
        kinds=_kinds(folder / FEATURES),
        tests=_tests(folder / TESTS, row, models),
        similarity=similarity,
        agrees=agrees,
        existing=_existing(folder / EXISTING, row),
    )


def _attempts(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Verdict and whether there is a patch, by model and instance."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for where, record in json_lines(path, read_packed(path), ("model", "instance_id", "patch", "resolved")):
        key = (_name(record["model"], where), _name(record["instance_id"], where))
        if key in found:
            raise InputError(f"{where}: a second attempt of '{key[0]}' at {key[1]}; keep one")
        patch, verdict = record["patch"], record["resolved"]
        if not isinstance(patch, str | None):
            raise InputError(f"{where}: patch is no text; get the file again")
        if not isinstance(verdict, str | int | None) or verdict not in VERDICTS:
            raise InputError(f"{where}: resolved is {str(verdict)[:40]!r}, expected 0, 1 or null")
        found[key] = VERDICTS[verdict], float(bool(patch and patch.strip()))
        if len(found) > MOST_ATTEMPTS:
            raise InputError(f"{path}: more than {MOST_ATTEMPTS} attempts; name a part of them")
    if not found:
        raise InputError(f"{path}: no attempts in it; get the file again")
    return found


def _kinds(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = csv_rows(path, read_packed(path), ("model", "kind"))
    return {_name(row["model"], where): row["kind"][:MOST_NAME] for where, row in rows}


def _tests(path: Path, rows: Mapping[str, int], models: Sequence[str]) -> GeneratedTests | None:
    if not path.is_file():
        return None
    writer: list[str] = []
    row: list[int] = []
    unpatched: list[bool] = []
    passes: list[list[float]] = []
    for where, line in csv_rows(path, read_packed(path), ("generator", "instance_id", "unpatched")):
        if line["instance_id"] not in rows:
            raise InputError(f"{where}: no attempt at {line['instance_id'][:MOST_NAME]!r} is in {PATCHES}")
        writer.append(_name(line["generator"], where))
        row.append(rows[line["instance_id"]])
        unpatched.append(_passed(line["unpatched"], where) == 1)
        if len(row) > MOST_TESTS:
            raise InputError(f"{path}: more than {MOST_TESTS} tests; name a part of them")
        passes.append([_passed(line[model], where) if model in line else math.nan for model in models])
    if not writer:
        raise InputError(f"{path}: no tests in it; get the file again")
    writers = tuple(sorted(set(writer)))
    return GeneratedTests(
        writers=writers,
        writer=np.array([writers.index(name) for name in writer]),
        row=np.array(row),
        passes_unpatched=np.array(unpatched),
        passes=np.array(passes),
    )


def _passed(text: str, where: str) -> float:
    if text not in ("0", "1"):
        raise InputError(f"{where}: a test's result is {text[:40]!r}, expected 0 or 1")
    return float(text)


def _pairs(
    path: Path, rows: Mapping[str, int], columns: Mapping[str, int], present: FloatArray
) -> tuple[FloatArray | None, FloatArray | None]:
    """Sequence ratios and equality of two patches, (n, m, m) each."""
    if not path.is_file():
        return None, None
    arrays = read_arrays(path, ("sim", "models", "instances", "features"))
    names = {key: [str(name) for name in arrays[key].ravel()] for key in ("models", "instances", "features")}
    shape = tuple(len(names[key]) for key in ("instances", "models", "models", "features"))
    if arrays["sim"].shape != shape or arrays["sim"].dtype.kind != "f":
        raise InputError(f"{path}: 'sim' has shape {arrays['sim'].shape}, expected numbers of {shape}")
    if sorted(names["models"]) != sorted(columns) or sorted(names["instances"]) != sorted(rows):
        raise InputError(f"{path}: not of the models and instances that {PATCHES} has")
    if not {"seq", "eq"} <= set(names["features"]):
        raise InputError(f"{path}: no feature 'seq' or 'eq' among {', '.join(names['features'])[:MOST_NAME]}")
    order = np.argsort([rows[name] for name in names["instances"]])
    models = np.argsort([columns[name] for name in names["models"]])
    known = (present[:, :, None] == 1) & (present[:, None, :] == 1) & ~np.eye(len(columns), dtype=np.bool_)
    tables = []
    for feature in ("seq", "eq"):
        table = arrays["sim"][..., names["features"].index(feature)].astype(np.float64)
        table = table[np.ix_(order, models, models)]
        if not ((table >= 0) & (table <= 1)).all():
            raise InputError(f"{path}: a similarity '{feature}' is not from 0 to 1")
        tables.append(np.where(known, table, np.nan))
    return tables[0], tables[1]


def _existing(path: Path, rows: Mapping[str, int]) -> ExistingTests | None:
    if not path.is_file():
        return None
    row: list[int] = []
    broken: list[dict[str, frozenset[str]]] = []
    for where, record in json_lines(path, read_plain(path), ("instance_id", "res")):
        instance = _name(record["instance_id"], where)
        if instance not in rows or rows[instance] in row:
            raise InputError(f"{where}: {instance} is {'there twice' if instance in rows else 'not in ' + PATCHES}")
        if not isinstance(record["res"], dict):
            raise InputError(f"{where}: 'res' is no object; get the file again")
        row.append(rows[instance])
        broken.append({_name(model, where): _broken(result, where) for model, result in record["res"].items()})
    return ExistingTests(np.array(row, dtype=np.int64), tuple(broken))


def _broken(result: Any, where: str) -> frozenset[str]:
    tests = result.get("new") if isinstance(result, dict) else None
    if not isinstance(tests, list) or not all(isinstance(test, str) for test in tests):
        raise InputError(f"{where}: no list 'new' of the tests that a patch breaks; get the file again")
    return frozenset(tests)


def _repeated(path: Path, label: str) -> list[RecordedRun]:
    """Runs of the file; those named alike up to `_run<number>` as one with repeats."""
    cells: dict[str, dict[str, RecordedCell]] = {}
    for (model, instance), (verdict, present) in _attempts(path).items():
        resolved = None if math.isnan(verdict) else bool(verdict)
        cells.setdefault(model, {})[instance] = RecordedCell(resolved, signals={"patch_present": present})
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in cells:
        match = _RUN.match(name)
        groups.setdefault(match[1] if match else name, []).append((int(match[2]) if match else 1, name))
    runs = []
    for name, members in groups.items():
        first, *others = [cells[member] for _, member in sorted(members)]
        runs.append(RecordedRun(name=name, source=label, cells=first, repeats=tuple(others)))
    return runs


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_NAME or not value.isprintable():
        raise InputError(f"{where}: {str(value)[:40]!r} is no name of a model or an instance")
    return value

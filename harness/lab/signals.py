"""How well kinds of signals predict whether a finished attempt is right, on one agent's recorded attempts.

Reads the tables of an agent that kept its effort, the counts of its conversation, its patch's size, and how many
different patches eight runs made (`instances.csv`, `conv_per_instance.csv`, `tts_patch_diversity.csv`). Columns that
know the hidden tests are never read as signals.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.stats import wilson_interval
from harness.files import write_atomic
from router.clustering import one_thread
from router.lab.crossfit import folds as split
from router.lab.verifier import Judged, crossfit_verifier, judge
from router.outcomes import OutcomeMatrix

EFFORT = ("api_calls", "prompt_tokens", "completion_tokens", "runtime_sec", "n_bash_calls", "n_messages")
PATCH = ("patch_files", "patch_hunks", "patch_added", "patch_removed")
AGREEMENT = ("n_unique_patches",)
NOT_STYLE = ("instance_id", "repo", "resolved")
"""Columns of the conversation's table that are no counts of it."""
GROUPS: dict[str, tuple[str, ...]] = {
    "effort": ("effort",),
    "patch size": ("patch",),
    "trajectory style": ("style",),
    "agreement of patches": ("agreement",),
    "effort + patch size": ("effort", "patch"),
    "effort + patch size + agreement": ("effort", "patch", "agreement"),
    "everything": ("effort", "patch", "style", "agreement"),
}


@dataclass(frozen=True)
class GroupQuality:
    """A verifier that sees one group of signals, cross-fitted."""

    group: str
    signals: int
    auc: float
    auc_ci95: tuple[float, float]
    brier: float
    brier_of_rate: float


@dataclass(frozen=True)
class Agreement:
    """Instances on which so many different patches were made by the agent's runs."""

    distinct_patches: str
    instances: int
    right: int
    """Of the patch that was selected."""
    rate_ci95: tuple[float, float]


@dataclass(frozen=True)
class SignalStudy:
    """Everything measured; what `signals.json` holds."""

    instances: int
    resolved: int
    folds: int
    repeats: int
    seed: int
    groups: tuple[GroupQuality, ...]
    agreement: tuple[Agreement, ...]

    def render(self) -> str:
        """As Markdown."""
        lines = [
            "# How well signals of a finished attempt predict its verdict",
            "",
            f"One agent, {self.instances} instances, {self.resolved} resolved; {self.folds} folds × {self.repeats} "
            f"repeats, seed {self.seed}. Numbers only.",
            "",
            "| signals | number | AUC [95 %] | Brier | of the rate alone |",
            "|---|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {g.group} | {g.signals} | {g.auc:.2f} [{g.auc_ci95[0]:.2f}, {g.auc_ci95[1]:.2f}] | {g.brier:.3f} "
            f"| {g.brier_of_rate:.3f} |"
            for g in self.groups
        ]
        lines += ["", "| different patches of 8 runs | instances | right | 95 % |", "|---|---:|---:|---:|"]
        lines += [
            f"| {a.distinct_patches} | {a.instances} | {a.right} ({a.right / a.instances:.0%}) "
            f"| {a.rate_ci95[0]:.0%} – {a.rate_ci95[1]:.0%} |"
            for a in self.agreement
        ]
        return "\n".join(lines) + "\n"


def study_signals(
    data: Path, out: Path | None = None, *, folds: int = 10, repeats: int = 3, seed: int = 0
) -> SignalStudy:
    """Measure each group of signals and the agreement of patches; writes `signals.json` and `signals.md` to `out`.

    Raises:
        InputError: a table is missing or lacks a column.
    """
    attempts = _table(data / "instances.csv", ("resolved", *EFFORT, *PATCH))
    style = _table(data / "conv_per_instance.csv", ())
    diversity = _table(data / "tts_patch_diversity.csv", AGREEMENT)
    ids = list(attempts)
    resolved = np.array([attempts[i]["resolved"].casefold() in ("true", "1") for i in ids], dtype=np.float64)
    counted = [name for name in next(iter(style.values())) if name not in NOT_STYLE]
    columns = {
        "effort": _columns(attempts, ids, EFFORT),
        "patch": _columns(attempts, ids, PATCH),
        "style": _columns(style, ids, counted),
        "agreement": _columns(diversity, ids, AGREEMENT),
    }
    splits = split(len(ids), folds, repeats, seed)

    def measure(parts: Sequence[str]) -> tuple[int, Judged]:
        signals = {name: column for part in parts for name, column in columns[part].items()}
        matrix = OutcomeMatrix.build(ids, ["agent"], resolved[:, None], signals=signals)
        # many signals of one model need more shrinkage than few of many models
        predicted = crossfit_verifier(matrix, splits, penalty=5.0 * max(1.0, len(signals) / 4))
        return len(signals), judge(predicted, matrix.resolved, seed=seed)

    with one_thread():
        groups = [_quality(name, *measure(parts)) for name, parts in GROUPS.items()]
    study = SignalStudy(
        instances=len(ids),
        resolved=int(resolved.sum()),
        folds=folds,
        repeats=repeats,
        seed=seed,
        groups=tuple(groups),
        agreement=_agreement(diversity, ids, resolved),
    )
    if out is not None:
        write_atomic(out / "signals.json", json.dumps(asdict(study), indent=2) + "\n")
        write_atomic(out / "signals.md", study.render())
    return study


def _quality(name: str, signals: int, judged: Judged) -> GroupQuality:
    low, high = judged.auc_ci95
    return GroupQuality(
        group=name,
        signals=signals,
        auc=round(judged.auc, 4),
        auc_ci95=(round(low, 4), round(high, 4)),
        brier=round(judged.brier, 4),
        brier_of_rate=round(judged.brier_of_rates, 4),
    )


def _agreement(
    diversity: Mapping[str, Mapping[str, str]], ids: Sequence[str], resolved: NDArray[np.float64]
) -> tuple[Agreement, ...]:
    distinct = np.array([_number(diversity.get(i, {}).get("n_unique_patches", "")) for i in ids])
    # no patch at all is no agreement
    agreement = []
    for kind, (least, most) in {"1": (1, 1), "2": (2, 2), "3–5": (3, 5), "6–8": (6, np.inf)}.items():
        rows = (distinct >= least) & (distinct <= most)
        if n := int(rows.sum()):
            right = int(resolved[rows].sum())
            low, high = wilson_interval(right, n)
            ci95 = (round(low, 4), round(high, 4))
            agreement.append(Agreement(distinct_patches=kind, instances=n, right=right, rate_ci95=ci95))
    return tuple(agreement)


def _table(path: Path, needed: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows by instance id."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder that holds the tables of signals") from None
    if not rows:
        raise InputError(f"{path}: no rows in it")
    missing = [name for name in ("instance_id", *needed) if name not in rows[0]]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}")
    return {row["instance_id"]: row for row in rows}


def _columns(
    table: Mapping[str, Mapping[str, str]], ids: Sequence[str], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """(n, 1) by name, as logarithms: all of them are counts. Unknown where the table has no such instance."""
    columns = {}
    for name in names:
        values = np.array([_number(table.get(i, {}).get(name, "")) for i in ids])
        columns[name] = np.log1p(np.maximum(values, 0.0))[:, None]
    return columns


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan

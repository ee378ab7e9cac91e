"""`polyswe regress`: run the new side in the order that decides fastest, and stop as soon as the answer is known."""

from __future__ import annotations

import html
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.compare.load import RunOutcomes, load_side
from harness.config import Config
from harness.data.instances import Instance
from harness.errors import EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK, InputError
from harness.files import write_atomic
from harness.regression.differences import other_versions
from harness.regression.reference import Reference, neutral_reference, read_reference
from harness.run.interrupt import Stop
from harness.store.keys import Change, change
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, CellRow, State, Store
from harness.text import line, markdown
from router.arrays import FloatArray, IntArray
from router.lab.sequential import Decision, GateSettings, Look, SequentialGate

SECONDS_BETWEEN_LOOKS = 2.0
LOOKS_TAKE = 0.05
"""of the time at most: a cascade's outcomes take the router to read"""
NO_MORE = "no further instance was needed"
"""Why a decided or a hopeless test ends."""
ROUTED = "routed"
"""Name of the routed system, which is compared as one model."""
FLIPS_SHOWN = 60
NAMED = 8
"""Instances that a note names."""
ROWS_SHOWN = 5
HEADLINES_SHOWN = 3
DETAILS_SHOWN = 2
NOTES_SHOWN = 3
_URGENT = (Decision.WORSE, Decision.OPEN, Decision.HOPELESS, Decision.NOT_WORSE)
"""What a summary shows first."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One model of the new side, its base, and the test between them."""

    name: str
    base_name: str
    base: FloatArray
    """(k,) verdicts of the base in the order of the run."""
    gate: SequentialGate


@dataclass(frozen=True, eq=False)
class Plan:
    """What is run, in which order, and against what."""

    instances: tuple[str, ...]
    """In the order of the run."""
    price: FloatArray
    """(k,) mean recorded USD in that order; NaN where nothing is known."""
    comparisons: tuple[Comparison, ...]
    settings: GateSettings
    notes: tuple[str, ...]
    trust_embedder: bool = False
    """Whether a routed run's own embedder may be loaded, see `harness.config`."""

    def cost(self, instances: int) -> float:
        """USD of that many instances in the order of the run, at the recorded costs; NaN where none is known."""
        known = self.price[np.isfinite(self.price)]
        mean = float(known.mean()) if len(known) else np.nan
        return float(np.where(np.isfinite(self.price), self.price, mean)[:instances].sum()) * len(self.comparisons)


def plan_regression(
    config: Config, base: RunOutcomes, reference: Reference, available: Sequence[Instance], settings: GateSettings
) -> Plan:
    """Pair every model of the new pool with its base, and order the instances by what they say per dollar.

    Args:
        config: The new side.
        base: The old one.
        reference: Recorded runs that say what tells models apart.
        available: Instances of the new side's dataset.
        settings: For all models together: each gets its part of `alpha` (Bonferroni).

    Raises:
        InputError: nothing to compare.
    """
    matrix = base.matrix
    pairs = paired_models(config, base)
    changed = other_versions(base.fingerprints, available)
    ids = {instance.instance_id for instance in available}
    known = (ids - set(changed)) & set(reference.instances) & set(matrix.instances)
    row_of = {instance: row for row, instance in enumerate(reference.instances)}
    order = reference.order()
    ordered = [reference.instances[row] for row in order.tolist() if reference.instances[row] in known]
    each = GateSettings(drop=settings.drop, alpha=settings.alpha / len(pairs), futility=settings.futility)
    comparisons, used = [], []
    for base_name in pairs.values():
        used.append(_verdicts(base, base_name, ordered))
    both = [i for i, instance in enumerate(ordered) if not any(np.isnan(verdicts[i]) for verdicts in used)]
    if len(both) < 2:
        raise InputError(
            f"{base.label}: {len(both)} instances have a verdict of the base, are in the dataset in the same version, "
            "and are known to the reference runs; nothing can be compared"
        )
    instances = tuple(ordered[i] for i in both)
    rows: IntArray = np.array([row_of[instance] for instance in instances], dtype=np.int64)
    for (name, base_name), verdicts in zip(pairs.items(), used, strict=True):
        rate = float(np.clip(verdicts[both].mean(), settings.drop + 0.02, 0.98))
        gate = SequentialGate(reference.model, rows, rate=rate, settings=each)
        comparisons.append(Comparison(name, base_name, verdicts[both], gate))
    notes = []
    if changed:
        named = f"{', '.join(changed[:NAMED])}{' …' if len(changed) > NAMED else ''}"
        notes.append(f"{len(changed)} instances are left out, their text or tests changed since the base ran: {named}")
    if missing := len(ids) - len(instances) - len(changed):
        notes.append(
            f"{missing} of {len(ids)} instances are left out: the base or the reference runs have no verdict on them"
        )
    if config.run.mode == "matrix" and (alone := [m.name for m in config.pool if m.name not in pairs]):
        notes.append(f"not run, as the base has no such model: {', '.join(alone)}")
    return Plan(
        instances,
        reference.price[rows],
        tuple(comparisons),
        settings,
        tuple(notes),
        trust_embedder=config.router.trust_embedder,
    )


def reference_for(
    base: RunOutcomes, models: Sequence[str], sources: Sequence[str], *, agent: str, repeats_from: Sequence[str] = ()
) -> Reference:
    """What other models' outcomes say of the instances; the base's own verdicts must not choose the order.

    Args:
        base: The old side.
        models: Those of its models that are compared; `ROUTED` is made of all.
        sources: Recorded outcomes.
        agent: Part of the agent's name, see `read_reference`.
        repeats_from: Records of repeated runs.
    """
    matrix = base.matrix if ROUTED in models else base.matrix.pool(list(dict.fromkeys(models)))
    own = [dict(zip(matrix.instances, column.tolist(), strict=True)) for column in matrix.resolved.T]
    own = [{i: value for i, value in verdicts.items() if not np.isnan(value)} for verdicts in own]
    if sources:
        return read_reference(sources, agent=agent, repeats_from=repeats_from, without=own)
    known = [i for i, row in zip(matrix.instances, matrix.resolved, strict=True) if not np.isnan(row).all()]
    return neutral_reference(known, float(np.clip(np.nanmean(matrix.resolved), 0.1, 0.9)))


def paired_models(config: Config, base: RunOutcomes) -> dict[str, str]:
    """Name of the base by name of the new side."""
    if config.run.mode == "routed":
        if base.routed is None:
            raise InputError(f"{base.label} is no routed run: a routed run is compared with another one")
        return {ROUTED: ROUTED}
    names = base.matrix.models
    pairs = {}
    for entry in config.pool:
        if entry.name in names:
            pairs[entry.name] = entry.name
        elif entry.record is not None:
            found = [name for name in names if entry.record.casefold() in name.casefold()]
            if len(found) == 1:
                pairs[entry.name] = found[0]
    if not pairs and len(config.pool) == len(names) == 1:
        pairs = {config.pool[0].name: names[0]}
    if not pairs:
        raise InputError(
            f"no model of the new pool ({', '.join(entry.name for entry in config.pool)}) is in {base.label} "
            f"({', '.join(names)}): name the base's model by 'record:' in the pool entry, or as {base.label}::NAME"
        )
    return pairs


def _verdicts(side: RunOutcomes, name: str, instances: Sequence[str]) -> FloatArray:
    """(k,) NaN where there is none."""
    if name == ROUTED:
        routed = side.routed or {}
        return np.array([routed[i][0] if i in routed else np.nan for i in instances])
    column = side.matrix.resolved[:, side.matrix.models.index(name)]
    known = dict(zip(side.matrix.instances, column.tolist(), strict=True))
    return np.array([known.get(i, np.nan) for i in instances])


@dataclass(frozen=True)
class Progress:
    """The verdicts of the new side so far."""

    verdicts: Mapping[str, Mapping[str, float]]
    """By name and instance; NaN for a cell that ended without a verdict."""
    spent_usd: float


def read_progress(plan: Plan, folder: RunFolder) -> Progress:
    """What the run's store says now."""
    if not folder.store_path.is_file():
        return Progress({comparison.name: {} for comparison in plan.comparisons}, 0.0)
    with Store(folder.store_path, read_only=True) as store:
        rows, spent = [row for row in store.rows() if row.attempt == 1], store.spent()
    if plan.comparisons[0].name == ROUTED:
        return Progress({ROUTED: _routed_verdicts(plan, folder, rows)}, spent)
    verdicts: dict[str, dict[str, float]] = {comparison.name: {} for comparison in plan.comparisons}
    for row in rows:
        if row.model in verdicts and row.state in (State.GRADED, State.FAILED):
            failed = row.state is State.FAILED
            verdicts[row.model][row.instance_id] = np.nan if failed else float(row.verdict == "resolved")
    return Progress(verdicts, spent)


def _routed_verdicts(plan: Plan, folder: RunFolder, rows: Sequence[CellRow]) -> dict[str, float]:
    verdicts = {row.instance_id: np.nan for row in rows if row.state is State.FAILED}
    if any(row.state is State.GRADED for row in rows):
        side = load_side(str(folder.path), trust_embedder=plan.trust_embedder)
        verdicts |= {i: values[0] for i, values in (side.routed or {}).items()}
    return verdicts


def rows_of(folder: RunFolder) -> list[CellRow]:
    """The cells on record; none before the first start."""
    if not folder.store_path.is_file():
        return []
    with Store(folder.store_path, read_only=True) as store:
        return store.rows()


def is_outdated(rows: Sequence[CellRow], cells: Mapping[Cell, str]) -> bool:
    """Whether verdicts on record were obtained with other settings than those planned now.

    Args:
        rows: On record.
        cells: Planned now, each with its key.
    """
    return any(row.cell in cells and change(row.key, cells[row.cell]) is not Change.NONE for row in rows)


def look(plan: Plan, comparison: Comparison, verdicts: Mapping[str, float]) -> Look:
    """The first decision among the instances that are finished without a gap, or where the test stands after them.

    What finished out of order does not count yet: which cells end early may depend on their verdicts. Cells that were
    in flight when it was decided do not undo the decision.
    """
    finished = next((k for k, i in enumerate(plan.instances) if i not in verdicts), len(plan.instances))
    if not finished:
        return Look(Decision.OPEN, 0, 0, 0, 1.0, 1.0, 1.0)
    new = np.array([verdicts[i] for i in plan.instances[:finished]])
    looks = comparison.gate.looks(comparison.base[:finished], new, range(1, finished + 1))
    found = next((one for one in looks if one.decision is not Decision.OPEN), looks[-1])
    if found.decision is Decision.OPEN and finished == len(plan.instances):
        return Look(Decision.HOPELESS, *[getattr(found, name) for name in _AFTER_DECISION])
    return found


_AFTER_DECISION = ("instances", "lost", "gained", "worse", "not_worse", "chance")


class StopWhenDecided(Stop):
    """Asks the run to end once every comparison is decided or hopeless."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        super().__init__()
        self._plan, self._folder = plan, folder
        self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        self._lock = threading.Lock()

    @property
    def requested(self) -> bool:
        if not super().requested and self._lock.acquire(blocking=False):
            try:
                began = time.monotonic()
                if began >= self._next_look:
                    if is_decided(self._plan, self._folder):
                        self.request(NO_MORE)
                    now = time.monotonic()
                    self._next_look = now + max(SECONDS_BETWEEN_LOOKS, (now - began) / LOOKS_TAKE)
            finally:
                self._lock.release()
        return super().requested


def is_decided(plan: Plan, folder: RunFolder) -> bool:
    """Whether running more instances would change nothing: one model is worse, or none is open."""
    progress = read_progress(plan, folder)
    looks = [look(plan, comparison, progress.verdicts[comparison.name]) for comparison in plan.comparisons]
    return any(found.decision is Decision.WORSE for found in looks) or all(
        found.decision is not Decision.OPEN for found in looks
    )


@dataclass(frozen=True)
class Answer:
    """What is said of one model."""

    model: str
    base: str
    decision: Decision
    instances: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    resolved_base: int
    """Of these instances."""
    resolved_new: int
    evidence_of_drop: float
    evidence_against: float
    needs_usd: float | None
    """About what more it would take to decide, at the rate at which evidence came so far; None: cannot be said."""


@dataclass(frozen=True)
class RegressionResult:
    """Everything `regress` found."""

    answers: tuple[Answer, ...]
    drop: float
    alpha: float
    instances: int
    """That could have been run."""
    spent_usd: float
    stopped: str
    """Why it ended: no further instance was needed, interrupted, cost limit, or all instances were run."""
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """A model is worse; every model is not worse; or undecided."""
        decisions = {answer.decision for answer in self.answers}
        if Decision.WORSE in decisions:
            return EXIT_FINDINGS
        return EXIT_OK if decisions == {Decision.NOT_WORSE} else EXIT_INCOMPLETE

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "exit_code": self.exit_code, **asdict(self)}


def conclude(plan: Plan, progress: Progress, stopped: str) -> RegressionResult:
    """From what is finished."""
    answers = []
    for comparison in plan.comparisons:
        verdicts = progress.verdicts[comparison.name]
        found = look(plan, comparison, verdicts)
        done = plan.instances[: found.instances]
        pairs = [(i, old, verdicts[i]) for i, old in zip(done, comparison.base.tolist(), strict=False)]
        answers.append(
            Answer(
                model=comparison.name,
                base=comparison.base_name,
                decision=found.decision,
                instances=found.instances,
                lost=tuple(i for i, old, new in pairs if old == 1 and new == 0),
                gained=tuple(i for i, old, new in pairs if old == 0 and new == 1),
                resolved_base=sum(old == 1 for _, old, new in pairs if not np.isnan(new)),
                resolved_new=sum(new == 1 for *_, new in pairs),
                evidence_of_drop=round(found.worse, 3),
                evidence_against=round(found.not_worse, 3),
                needs_usd=_needs(plan, comparison, found, progress.spent_usd),
            )
        )
    notes = list(plan.notes)
    if failed := sorted({i for v in progress.verdicts.values() for i, value in v.items() if np.isnan(value)}):
        notes.append(f"no verdict, not the models' fault: {', '.join(failed[:8])}{' …' if len(failed) > 8 else ''}")
    settings = plan.settings
    return RegressionResult(
        tuple(answers), settings.drop, settings.alpha, len(plan.instances), progress.spent_usd, stopped, tuple(notes)
    )


def _needs(plan: Plan, comparison: Comparison, found: Look, spent: float) -> float | None:
    """USD until the stronger of the two kinds of evidence would suffice, if it kept coming as it did."""
    gained = max(np.log(max(found.worse, 1e-9)), np.log(max(found.not_worse, 1e-9)))
    need = -np.log(comparison.gate.settings.alpha)
    if found.decision in (Decision.WORSE, Decision.NOT_WORSE) or gained <= 0.1 or not found.instances or spent <= 0:
        return None
    share = spent / len(plan.comparisons)
    return round(float(share * (need - gained) / gained), 2)


def render(result: RegressionResult) -> str:
    """Markdown of at most 20 lines, the flips folded."""
    points = f"{100 * result.drop:g} points"
    answers = sorted(result.answers, key=lambda answer: _URGENT.index(answer.decision))
    lines = [f"**{markdown(a.model)}: {markdown(sentence(a, result))}**" for a in answers[:HEADLINES_SHOWN]]
    lines += [
        "",
        "| model | instances | base | new | lost / gained | evidence of a drop | against |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for a in answers[:ROWS_SHOWN]:
        lines.append(
            f"| {markdown(a.model)} | {a.instances} of {result.instances} | {a.resolved_base} | {a.resolved_new} | "
            f"{len(a.lost)} / {len(a.gained)} | {a.evidence_of_drop:.3g} | {a.evidence_against:.3g} |"
        )
    need = len(answers) / result.alpha
    more = f" {len(answers) - ROWS_SHOWN} more models are in regression.json." if len(answers) > ROWS_SHOWN else ""
    lines += [
        "",
        f"Spent ${result.spent_usd:,.2f}; ended: {markdown(result.stopped)}. Evidence of {need:g} decides (α = "
        f"{result.alpha:g}, at any time of stopping); asked: worse at all, or not worse by {points} or more.{more}",
    ]
    lines += [f"- {markdown(note)}" for note in result.notes[:NOTES_SHOWN]]
    for a in [answer for answer in answers if answer.lost or answer.gained][:DETAILS_SHOWN]:
        title = f"{html.escape(line(a.model))}: {len(a.lost)} lost, {len(a.gained)} gained"
        lines.append("")
        lines.append(
            f"<details><summary>{title}</summary>lost: {_listed(a.lost)}<br>gained: {_listed(a.gained)}</details>"
        )
    return "\n".join(lines)


def sentence(answer: Answer, result: RegressionResult) -> str:
    """The answer in words."""
    points = f"{100 * result.drop:g} points"
    if answer.decision is Decision.WORSE:
        return "worse than the base"
    if answer.decision is Decision.NOT_WORSE:
        return f"not worse by {points} or more"
    more = "" if answer.needs_usd is None else f"; would need about ${answer.needs_usd:,.2f} more"
    if answer.decision is Decision.HOPELESS:
        return f"undecided: the instances left are unlikely to tell a drop of {points} from luck{more}"
    return f"undecided: {result.stopped}{more}"


def _listed(ids: Sequence[str]) -> str:
    """For HTML."""
    more = f", … {len(ids) - FLIPS_SHOWN} more" if len(ids) > FLIPS_SHOWN else ""
    return html.escape(line(", ".join(ids[:FLIPS_SHOWN]))) + more or "–"


def write_result(result: RegressionResult, folder: Path) -> Path:
    """regression.json and regression.md in the run's folder."""
    path = folder / "regression.json"
    write_atomic(path, json.dumps(result.to_json(), indent=1) + "\n")
    write_atomic(folder / "regression.md", render(result) + "\n")
    return path

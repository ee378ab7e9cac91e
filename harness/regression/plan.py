"""What a sequential test runs: every model of the new pool with its base, in the order that decides fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.compare.load import RunOutcomes
from harness.config import Config
from harness.data.instances import Instance
from harness.errors import InputError
from harness.regression.differences import other_versions
from harness.regression.reference import Reference, neutral_reference, read_reference
from harness.text import counted, counted_part
from router.arrays import FloatArray, IntArray
from router.lab.sequential import GateSettings, SequentialGate

ROUTED = "routed"
"""Name of the routed system, which is compared as one model."""
NAMED = 8
"""Instances that a note names."""


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
            f"{base.label}: {len(both)} of the instances that the base has a verdict on are in the dataset in the same "
            "version and known to the reference runs; at least 2 are needed to compare"
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
        notes.append(
            f"{counted(len(changed), 'instance is', 'instances are')} left out, text or tests changed "
            f"since the base ran: {named}"
        )
    if missing := len(ids) - len(instances) - len(changed):
        notes.append(
            f"{counted_part(missing, len(ids), 'instance', 'is', 'are')} left out: the base or the "
            "reference runs have no verdict there"
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

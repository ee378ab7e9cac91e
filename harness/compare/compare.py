"""Base against new: every model on both sides, the routed system, the clusters, the routing table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.compare.clusters import (
    FailingCluster,
    PairedVerdicts,
    RoutingChange,
    cluster_labels,
    failing_clusters,
    live_routing_changes,
    routing_changes,
)
from harness.compare.flags import Change, FlaggedCell, flagged_cells
from harness.compare.load import RunOutcomes
from harness.compare.noise import Noise
from harness.compare.pairs import Compared, Outcomes, compare_pair, judged, with_missing
from harness.data.embeddings import embed_texts
from harness.data.model_names import match_names
from harness.errors import InputError
from router.clustering import number_of_clusters
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeMatrix
from router.policies.cluster import ClusterPolicy

FOLDS, REPEATS = 10, 5
"""Of the cross-fitted routed row."""
LEAST_ROUTED = 10
"""Fewer instances with every verdict on both sides are not cross-fitted."""


@dataclass(frozen=True)
class Comparison:
    """The whole comparison."""

    base: str
    new: str
    common: int
    rows: tuple[Compared, ...]
    only_base: tuple[str, ...]
    """Models that only the base has."""
    only_new: tuple[str, ...]
    unjudged: tuple[str, ...]
    """Models of the base that nothing can be said of: not on the new side, or without a verdict on both."""
    failing: tuple[FailingCluster, ...]
    routing: tuple[RoutingChange, ...]
    clusters: int
    """How many clusters were formed; 0 where there were no texts or too few instances."""
    base_failures: tuple[str, ...]
    new_failures: tuple[str, ...]
    noise: Noise
    no_routed: str
    """Why there is no routed row; empty where there is one."""
    no_routing: str
    """Why nothing is said of the routing's changes; empty where something is."""
    notes: tuple[str, ...]
    newly_resolved: int
    """Cells that only the new side resolves, of models and of two live routed systems."""
    flagged: tuple[FlaggedCell, ...]
    """Cells with flags on either side, newly resolved ones first."""

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        for row in document["rows"]:
            del row["arrays"], row["worst"]
        return {"schema": 1, **document}


@dataclass(frozen=True)
class _Sides:
    """Both sides on their common instances."""

    base: RunOutcomes
    new: RunOutcomes
    instances: list[str]
    base_matrix: OutcomeMatrix
    new_matrix: OutcomeMatrix
    texts: list[str] | None
    """Of the instances; None where one is unknown."""
    noise: Noise
    seed: int

    @property
    def both_routed(self) -> bool:
        return self.base.routed is not None and self.new.routed is not None

    @property
    def both_matrices(self) -> bool:
        return self.base.routed is None and self.new.routed is None


def compare_sides(
    base: RunOutcomes,
    new: RunOutcomes,
    noise: Noise,
    *,
    matches: Sequence[tuple[str, str]] = (),
    statements: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two sides on their common instances.

    Args:
        base: See `harness.compare.load.load_side`.
        new: The same.
        noise: What re-running alone changes.
        matches: Parts of names of a base model and the new model to put beside it; other models pair up by equal names.
        statements: Problem statements by instance; without them no clusters and no routed row of a matrix.
        seed: Of bootstrap, folds and clusters.

    Raises:
        InputError: no common instance, other versions of all of them, or nothing on both sides.
    """
    instances, notes = _common(base, new)
    sides = _Sides(
        base=base,
        new=new,
        instances=instances,
        base_matrix=_rows_of(base.matrix, instances),
        new_matrix=_rows_of(new.matrix, instances),
        texts=_texts(statements, instances),
        noise=noise,
        seed=seed,
    )
    paired = _paired(base.matrix.models, new.matrix.models, matches)
    rows: list[Compared] = []
    verdicts: list[PairedVerdicts] = []
    failures = list(new.failures)
    named = {failure.rpartition(": ")[0] for failure in new.failures}
    for left, right in paired:
        one, other = _outcomes(sides.base_matrix, left), _outcomes(sides.new_matrix, right)
        lacking = [] if new.routed is not None else _lacking(one, other)  # what a router did not ask for is not missing
        cells = [f"{instances[i]} / {right}" for i in lacking]
        failures += [f"{cell}: no verdict" for cell in cells if cell not in named]
        row, row_notes = _model_row(sides, left, right, lacking)
        notes += row_notes
        if row is not None:
            rows.append(row)
            verdicts.append(PairedVerdicts(left, one.resolved, other.resolved))
    routed, no_routed = _routed(sides)
    rows += [routed] if routed is not None else []
    if not rows:
        raise InputError(
            f"no model is on both sides (base: {', '.join(base.matrix.models[:6])}; new: "
            f"{', '.join(new.matrix.models[:6])}); pair them with --match BASE=NEW"
        )
    changes = _clusters(sides, paired, verdicts)
    verdict_changes = _changes(sides, paired)
    paired_base, paired_new = ({m for m, _ in paired}, {m for _, m in paired})
    compared = {pair.model for pair in verdicts}
    return Comparison(
        base=base.label,
        new=new.label,
        common=len(instances),
        rows=tuple(judged(rows)),
        only_base=tuple(m for m in base.matrix.models if m not in paired_base),
        only_new=tuple(m for m in new.matrix.models if m not in paired_new),
        # of two routed runs models are the routing's choice, not the user's
        unjudged=() if sides.both_routed else tuple(m for m in base.matrix.models if m not in compared),
        failing=tuple(changes.failing),
        routing=tuple(changes.routing),
        clusters=changes.clusters,
        base_failures=base.failures,
        new_failures=tuple(failures),
        noise=noise,
        no_routed=no_routed,
        no_routing=changes.no_routing,
        notes=(*base.notes, *(note for note in new.notes if note not in base.notes), *notes, *_unexamined(base, new)),
        newly_resolved=sum(change == "newly resolved" for change in verdict_changes.values()),
        flagged=flagged_cells(base, new, verdict_changes),
    )


def _changes(sides: _Sides, paired: Sequence[tuple[str, str]]) -> dict[tuple[str, str, str], Change]:
    """How the verdict of each compared cell changed, by instance, the base's model and the new side's."""
    changes: dict[tuple[str, str, str], Change] = {}
    for left, right in paired:
        moved = _outcomes(sides.new_matrix, right).resolved - _outcomes(sides.base_matrix, left).resolved
        changes |= {(i, left, right): _change(by) for i, by in zip(sides.instances, moved.tolist(), strict=True)}
    accepted = sides.base.accepted or {}, sides.new.accepted or {}
    if sides.both_routed:
        moved = _live(sides.new, sides.instances).resolved - _live(sides.base, sides.instances).resolved
        for i, by in zip(sides.instances, moved.tolist(), strict=True):
            if i in accepted[0] and i in accepted[1]:
                changes[i, accepted[0][i], accepted[1][i]] = _change(by)
    return changes


def _change(difference: float) -> Change:
    """What a difference of two verdicts is; NaN where one is unknown. As `Compared.gained` for means over repeats."""
    return "newly resolved" if difference >= 0.5 else "no longer resolved" if difference <= -0.5 else "unchanged"


def _unexamined(base: RunOutcomes, new: RunOutcomes) -> list[str]:
    """A note where flags are known of one side only: that the other shows none means nothing."""
    return [
        f"{side.label}: no run of polyswe, so its attempts were not examined for signs of help or of faked passes"
        for side, other in ((base, new), (new, base))
        if side.flags is None and other.flags is not None
    ]


def _texts(statements: Mapping[str, str] | None, instances: Sequence[str]) -> list[str] | None:
    if statements is None or any(i not in statements for i in instances):
        return None
    return [statements[i] for i in instances]


def _lacking(base: Outcomes, new: Outcomes) -> list[int]:
    """Instances that the base has a verdict on and the new side has none."""
    found: list[int] = np.flatnonzero(~np.isnan(base.resolved) & np.isnan(new.resolved)).tolist()
    return found


def _model_row(sides: _Sides, left: str, right: str, lacking: Sequence[int]) -> tuple[Compared | None, list[str]]:
    """A model on both sides, over the instances that both know; None where there is none."""
    one, other = _outcomes(sides.base_matrix, left), _outcomes(sides.new_matrix, right)
    instances = sides.instances
    known = np.flatnonzero(~np.isnan(one.resolved) & ~np.isnan(other.resolved))
    if not len(known):
        return None, [f"{left}: no instance is known on both sides"]
    notes = []
    if len(known) < len(instances):
        notes = [f"{left}: {len(instances) - len(known)} of {len(instances)} cells lack a verdict on a side"]
    row = compare_pair(
        left,
        [instances[i] for i in known.tolist()],
        one.take(known),
        other.take(known),
        sides.noise,
        new_name=right,
        seed=sides.seed,
    )
    names = [instances[i] for i in lacking]
    return with_missing(row, names, one.resolved[list(lacking)], sides.noise, sides.seed), notes


def _common(base: RunOutcomes, new: RunOutcomes) -> tuple[list[str], list[str]]:
    """Instances on both sides in the same version, and what a reader has to know of the others."""
    both = [i for i in base.matrix.instances if i in set(new.matrix.instances)]
    if not both:
        raise InputError(
            f"{base.label} and {new.label} have no instance in common ({base.matrix.instances[0]}, … against "
            f"{new.matrix.instances[0]}, …): they are of different datasets"
        )
    other = [i for i in both if base.fingerprints.get(i, "") != new.fingerprints.get(i, "")]
    changed = [i for i in other if base.fingerprints.get(i) and new.fingerprints.get(i)]
    if len(changed) == len(both):
        raise InputError(
            f"{base.label} and {new.label}: all {len(both)} common instances differ in text or tests: the dataset "
            "changed its version in between, verdicts cannot be compared"
        )
    notes = []
    if changed:
        notes.append(
            f"{len(changed)} instances differ in text or tests between the runs and are left out: {changed[0]}, …"
        )
    kept = [i for i in both if i not in set(changed)]
    alone = len(base.matrix) + len(new.matrix) - 2 * len(both)
    if alone:
        notes.append(f"{len(kept)} common instances; {alone} are on one side only and left out")
    if base.swebench and new.swebench and base.swebench != new.swebench:
        notes.append(
            f"graded by different versions of swebench ({base.swebench} and {new.swebench}): some verdicts may differ "
            "for that reason alone"
        )
    return kept, notes


def _paired(base: Sequence[str], new: Sequence[str], matches: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    chosen = [(match_names([a], base)[0], match_names([b], new)[0]) for a, b in matches]
    for side, names in (("base", [a for a, _ in chosen]), ("new", [b for _, b in chosen])):
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"--match: '{twice}' is named twice on the {side} side")
    if not chosen and len(base) == len(new) == 1:
        return [(base[0], new[0])]  # two picked rows are meant to be compared, whatever they are called
    taken = {b for _, b in chosen}
    same = [(m, m) for m in base if m in new and m not in taken and m not in {a for a, _ in chosen}]
    return [*chosen, *same]


def _rows_of(matrix: OutcomeMatrix, instances: Sequence[str]) -> OutcomeMatrix:
    place = {name: i for i, name in enumerate(matrix.instances)}
    return matrix.take(np.array([place[name] for name in instances], dtype=np.int64))


def _outcomes(matrix: OutcomeMatrix, model: str) -> Outcomes:
    j = matrix.models.index(model)
    return Outcomes(resolved=matrix.resolved[:, j], cost=matrix.cost[:, j], seconds=matrix.seconds[:, j])


def _routed(sides: _Sides) -> tuple[Compared | None, str]:
    """The routed system, live on both sides or cross-fitted on both over the same folds; or why there is none."""
    if sides.both_routed:
        return _live_row(sides)
    if not sides.both_matrices:
        return None, "one side ran only its routed cells, the other a matrix"
    if len(sides.base_matrix.models) < 2 or len(sides.new_matrix.models) < 2:
        return None, "a side has one model only"
    if sides.texts is None:
        return None, "problem statements are needed: give --tasks"
    return _cross_fitted_row(sides, sides.texts)


def _live_row(sides: _Sides) -> tuple[Compared | None, str]:
    one, other = _live(sides.base, sides.instances), _live(sides.new, sides.instances)
    known = np.flatnonzero(~np.isnan(one.resolved) & ~np.isnan(other.resolved))
    if not len(known):
        return None, "no routed cell has a verdict on both sides"
    names = [sides.instances[i] for i in known.tolist()]
    row = compare_pair(
        "routed", names, one.take(known), other.take(known), sides.noise, kind="routed", how="live", seed=sides.seed
    )
    lacking = _lacking(one, other)
    names = [sides.instances[i] for i in lacking]
    return with_missing(row, names, one.resolved[lacking], sides.noise, sides.seed), ""


def _cross_fitted_row(sides: _Sides, texts: Sequence[str]) -> tuple[Compared | None, str]:
    base_known = ~np.isnan(sides.base_matrix.resolved).any(axis=1)
    new_known = ~np.isnan(sides.new_matrix.resolved).any(axis=1)
    known = np.flatnonzero(base_known & new_known)
    n = len(known)
    if n < LEAST_ROUTED:
        return None, f"only {n} instances have every verdict on both sides"
    X = embed_texts([texts[i] for i in known.tolist()])
    splits = folds(n, min(FOLDS, n), REPEATS, sides.seed)
    policy = ClusterPolicy(n_clusters=max(2, number_of_clusters(n)), seed=sides.seed)
    one, other = (crossfit(policy, X, matrix.take(known), splits) for matrix in (sides.base_matrix, sides.new_matrix))
    row = compare_pair(
        "routed",
        [sides.instances[i] for i in known.tolist()],
        Outcomes(resolved=one.resolved, cost=one.cost, seconds=one.seconds),
        Outcomes(resolved=other.resolved, cost=other.cost, seconds=other.seconds),
        sides.noise,
        kind="routed",
        how=f"cross-fitted, {policy.n_clusters} clusters, the same {REPEATS} × {min(FOLDS, n)} folds on both sides",
        seed=sides.seed,
    )
    # what the base would have resolved where only the new side lacks verdicts is not known: at most all of it
    lacking = [sides.instances[i] for i in np.flatnonzero(base_known & ~new_known).tolist()]
    return with_missing(row, lacking, np.ones(len(lacking)), sides.noise, sides.seed), ""


def _live(side: RunOutcomes, instances: Sequence[str]) -> Outcomes:
    assert side.routed is not None
    unknown = (np.nan, np.nan, np.nan)
    resolved, cost, seconds = np.array([side.routed.get(i, unknown) for i in instances], dtype=np.float64).T
    return Outcomes(resolved=resolved, cost=cost, seconds=seconds)


@dataclass(frozen=True)
class _ClusterChanges:
    failing: Sequence[FailingCluster] = ()
    routing: Sequence[RoutingChange] = ()
    clusters: int = 0
    no_routing: str = ""
    """Why nothing is said of the routing's changes."""


def _clusters(sides: _Sides, paired: Sequence[tuple[str, str]], verdicts: Sequence[PairedVerdicts]) -> _ClusterChanges:
    """Newly failing clusters, and changes of the routing."""
    instances, k = sides.instances, number_of_clusters(len(sides.instances))
    if k == 0 or sides.texts is None:
        return _ClusterChanges(no_routing="no clusters were formed")
    X = embed_texts(sides.texts)
    if sides.both_matrices:
        renamed = _as_in_base(sides.new_matrix, paired)
        labels, routing = routing_changes(X, sides.base_matrix, renamed, k, seed=sides.seed)
        return _ClusterChanges(failing_clusters(labels, instances, verdicts), routing, k)
    # the outcomes of a routed run are those its router chose: a table fitted on them would see its own choices
    labels = cluster_labels(X, k, sides.seed)
    failing = failing_clusters(labels, instances, verdicts)
    if sides.base.accepted is None or sides.new.accepted is None:
        return _ClusterChanges(failing, clusters=k, no_routing="one side ran only its routed cells")
    base_name = {right: left for left, right in paired}
    accepted = {instance: base_name.get(model, model) for instance, model in sides.new.accepted.items()}
    return _ClusterChanges(failing, live_routing_changes(labels, instances, sides.base.accepted, accepted), k)


def _as_in_base(new: OutcomeMatrix, paired: Sequence[tuple[str, str]]) -> OutcomeMatrix:
    """The new side under the base's names: a model that is only called otherwise is no change of the routing."""
    base_name = {right: left for left, right in paired}
    # a name of the base that stays with another model of the new side keeps the renamed one apart
    clashing = {m for m in new.models if m not in base_name}
    names = [base_name[m] if m in base_name and base_name[m] not in clashing else m for m in new.models]
    return OutcomeMatrix.build(new.instances, names, new.resolved, new.cost, new.calls, new.seconds)

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
from harness.compare.pairs import Compared, compare_pair, judged, with_missing
from harness.compare.routed import BestSingles, routed_change
from harness.compare.sides import Sides, lacking, live_outcomes, outcomes_of
from harness.data.embeddings import embed_texts
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.text import counted
from router.clustering import number_of_clusters
from router.outcomes import OutcomeMatrix


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
    best: BestSingles | None
    """The best single models; None where they cannot be compared."""
    dropped: tuple[str, ...]
    """Models left out of the routed row and of `best`, with what they know of the common instances."""
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


def compare_sides(
    base: RunOutcomes,
    new: RunOutcomes,
    noise: Noise,
    *,
    matches: Sequence[tuple[str, str]] = (),
    statements: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare two sides on their common instances.

    Args:
        base: See `harness.compare.load.load_side`.
        new: The same.
        noise: What re-running alone changes.
        matches: Parts of names of a base model and the new model to put beside it; other models pair up by equal names.
        statements: Problem statements by instance; without them no clusters and no routed row of a matrix.
        seed: Of bootstrap, folds and clusters; None is 0, and the run's own for the folds of its router.

    Raises:
        InputError: no common instance, other versions of all of them, or nothing on both sides.
    """
    instances, notes = _common(base, new)
    if statements is not None:  # in the dataset's order, as the report has them: folds depend on it
        place = {name: k for k, name in enumerate(statements)}
        instances.sort(key=lambda name: place.get(name, len(place)))
    paired = _paired(base.matrix.models, new.matrix.models, matches)
    sides = Sides(
        base=base,
        new=new,
        instances=instances,
        base_matrix=_rows_of(base.matrix, instances),
        new_matrix=_rows_of(new.matrix, instances),
        texts=_texts(statements, instances),
        paired=paired,
        noise=noise,
        seed=seed,
    )
    rows: list[Compared] = []
    verdicts: list[PairedVerdicts] = []
    failures = list(new.failures)
    named = {failure.rpartition(": ")[0] for failure in new.failures}
    for left, right in paired:
        one, other = outcomes_of(sides.base_matrix, left), outcomes_of(sides.new_matrix, right)
        missing = [] if new.routed is not None else lacking(one, other)  # what a router did not ask for is not missing
        cells = [f"{instances[i]} / {right}" for i in missing]
        failures += [f"{cell}: no verdict" for cell in cells if cell not in named]
        row, row_notes = _model_row(sides, left, right, missing)
        notes += row_notes
        if row is not None:
            rows.append(row)
            verdicts.append(PairedVerdicts(left, one.resolved, other.resolved))
    routed = routed_change(sides)
    rows += [routed.row] if routed.row is not None else []
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
        only_base=tuple(m for m in _judged_models(sides.base_matrix) if m not in paired_base),
        only_new=tuple(m for m in _judged_models(sides.new_matrix) if m not in paired_new),
        # of two routed runs models are the routing's choice, not the user's
        unjudged=() if sides.both_routed else tuple(m for m in base.matrix.models if m not in compared),
        failing=tuple(changes.failing),
        routing=tuple(changes.routing),
        clusters=changes.clusters,
        base_failures=base.failures,
        new_failures=tuple(failures),
        noise=noise,
        no_routed=routed.why_not,
        best=routed.best,
        dropped=routed.dropped,
        no_routing=changes.no_routing,
        notes=(*base.notes, *(note for note in new.notes if note not in base.notes), *notes, *_unexamined(base, new)),
        newly_resolved=sum(change == "newly resolved" for change in verdict_changes.values()),
        flagged=flagged_cells(base, new, verdict_changes),
    )


def _judged_models(matrix: OutcomeMatrix) -> list[str]:
    """Models with a verdict on any common instance; those of other datasets in the same file have none."""
    return [name for j, name in enumerate(matrix.models) if not np.isnan(matrix.resolved[:, j]).all()]


def _changes(sides: Sides, paired: Sequence[tuple[str, str]]) -> dict[tuple[str, str, str], Change]:
    """How the verdict of each compared cell changed, by instance, the base's model and the new side's."""
    changes: dict[tuple[str, str, str], Change] = {}
    for left, right in paired:
        moved = outcomes_of(sides.new_matrix, right).resolved - outcomes_of(sides.base_matrix, left).resolved
        changes |= {(i, left, right): _change(by) for i, by in zip(sides.instances, moved.tolist(), strict=True)}
    accepted = sides.base.accepted or {}, sides.new.accepted or {}
    if sides.both_routed:
        moved = live_outcomes(sides.new, sides.instances).resolved - live_outcomes(sides.base, sides.instances).resolved
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


def _model_row(sides: Sides, left: str, right: str, missing: Sequence[int]) -> tuple[Compared | None, list[str]]:
    """A model on both sides, over the instances that both know; None where there is none."""
    one, other = outcomes_of(sides.base_matrix, left), outcomes_of(sides.new_matrix, right)
    instances = sides.instances
    known = np.flatnonzero(~np.isnan(one.resolved) & ~np.isnan(other.resolved))
    if not len(known):
        return None, [f"{left}: no instance is known on both sides"]
    notes = []
    if len(known) < len(instances):
        notes = [
            f"{left}: {len(instances) - len(known)} of {counted(len(instances), 'cell')} without a verdict on a side"
        ]
    row = compare_pair(
        left,
        [instances[i] for i in known.tolist()],
        one.take(known),
        other.take(known),
        sides.noise,
        new_name=right,
        seed=sides.bootstrap_seed,
    )
    names = [instances[i] for i in missing]
    return with_missing(row, names, one.resolved[list(missing)], sides.noise, sides.bootstrap_seed), notes


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
            f"left out: {counted(len(changed), 'instance')} with other text or tests in the new run, e.g. {changed[0]}"
        )
    kept = [i for i in both if i not in set(changed)]
    alone = len(base.matrix) + len(new.matrix) - 2 * len(both)
    if alone:
        notes.append(
            f"{counted(len(kept), 'common instance')}; {counted(alone, 'is', 'are')} on one side only and left out"
        )
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


@dataclass(frozen=True)
class _ClusterChanges:
    failing: Sequence[FailingCluster] = ()
    routing: Sequence[RoutingChange] = ()
    clusters: int = 0
    no_routing: str = ""
    """Why nothing is said of the routing's changes."""


def _clusters(sides: Sides, paired: Sequence[tuple[str, str]], verdicts: Sequence[PairedVerdicts]) -> _ClusterChanges:
    """Newly failing clusters, and changes of the routing."""
    instances, k = sides.instances, number_of_clusters(len(sides.instances))
    if k == 0 or sides.texts is None:
        return _ClusterChanges(no_routing="no clusters were formed")
    X = embed_texts(sides.texts)
    if sides.both_matrices:
        renamed = _as_in_base(sides.new_matrix, paired)
        labels, routing = routing_changes(X, sides.base_matrix, renamed, k, seed=sides.bootstrap_seed)
        return _ClusterChanges(failing_clusters(labels, instances, verdicts), routing, k)
    # the outcomes of a routed run are those its router chose: a table fitted on them would see its own choices
    labels = cluster_labels(X, k, sides.bootstrap_seed)
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

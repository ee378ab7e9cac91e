"""Base against new: every model on both sides, the routed system, the clusters, the routing table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.compare.clusters import (
    FailingCluster,
    RoutingChange,
    acted_changes,
    cluster_labels,
    failing_clusters,
    routing_changes,
)
from harness.compare.load import RunOutcomes
from harness.compare.noise import Noise
from harness.compare.pairs import Compared, Outcomes, compare_pair, judged, with_missing
from harness.data.model_names import match_names
from harness.errors import InputError
from router.clustering import number_of_clusters

if TYPE_CHECKING:
    from router.outcomes import OutcomeMatrix

FOLDS, REPEATS = 10, 5


@dataclass(frozen=True)
class Comparison:
    """The whole comparison."""

    base: str
    new: str
    common: int
    rows: tuple[Compared, ...]
    only_base: tuple[str, ...]
    """models that only the base has"""
    only_new: tuple[str, ...]
    unjudged: tuple[str, ...]
    """models of the base that nothing can be said of: not on the new side, or without a verdict on both"""
    failing: tuple[FailingCluster, ...]
    routing: tuple[RoutingChange, ...]
    clusters: int
    """how many clusters were formed; 0 where there were no texts or too few instances"""
    base_failures: tuple[str, ...]
    new_failures: tuple[str, ...]
    noise: Noise
    no_routed: str
    """why there is no routed row; empty where there is one"""
    no_routing: str
    """why nothing is said of the routing's changes; empty where something is"""
    notes: tuple[str, ...]

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
    seed: int = 0,
) -> Comparison:
    """Compare two sides on their common instances.

    Args:
        base, new: see `harness.compare.load.load_side`.
        noise: what re-running alone changes.
        matches: parts of names of a base model and the new model to put beside it; other models pair up by equal names.
        statements: problem statements by instance; without them no clusters and no routed row of a matrix.
        seed: of bootstrap, folds and clusters.

    Raises:
        InputError: no common instance, other versions of all of them, or nothing on both sides.
    """
    instances, notes = _common(base, new)
    a, b = _rows_of(base.matrix, instances), _rows_of(new.matrix, instances)
    paired = _paired(base.matrix.models, new.matrix.models, matches)
    rows, arrays, failures = [], [], list(new.failures)
    told = {failure.rpartition(": ")[0] for failure in new.failures}
    for left, right in paired:
        one, other = _outcomes(a, left), _outcomes(b, right)
        known = np.flatnonzero(~np.isnan(one.resolved) & ~np.isnan(other.resolved))
        # what a router did not ask for is not missing
        missing = np.flatnonzero(~np.isnan(one.resolved) & np.isnan(other.resolved) & (new.routed is None))
        lacking = [instances[i] for i in missing.tolist()]
        failures += [f"{i} / {right}: no verdict" for i in lacking if f"{i} / {right}" not in told]
        if not len(known):
            notes.append(f"{left}: no instance is known on both sides")
            continue
        if len(known) < len(instances):
            notes.append(f"{left}: {len(instances) - len(known)} of {len(instances)} cells lack a verdict on a side")
        names = [instances[i] for i in known.tolist()]
        pair = _take(one, known), _take(other, known)
        row = compare_pair(left, names, *pair, noise, new_name=right, seed=seed)
        rows.append(with_missing(row, lacking, one.resolved[missing], noise, seed))
        arrays.append((left, one.resolved, other.resolved))
    routed, no_routed = _routed(base, new, a, b, instances, statements, noise, seed)
    rows += [routed] if routed is not None else []
    if not rows:
        raise InputError(
            f"no model is on both sides (base: {', '.join(base.matrix.models[:6])}; new: "
            f"{', '.join(new.matrix.models[:6])}); pair them with --match BASE=NEW"
        )
    failing, changes, k, no_routing = _clusters(base, new, a, b, paired, arrays, instances, statements, seed)
    gone, came = ({m for m, _ in paired}, {m for _, m in paired})
    compared = {left for left, *_ in arrays}
    alone = base.routed is not None and new.routed is not None  # models are the routing's choice, not the user's
    return Comparison(
        base=base.label, new=new.label, common=len(instances), rows=tuple(judged(rows)),
        only_base=tuple(m for m in base.matrix.models if m not in gone),
        only_new=tuple(m for m in new.matrix.models if m not in came),
        unjudged=() if alone else tuple(m for m in base.matrix.models if m not in compared),
        failing=tuple(failing), routing=tuple(changes), clusters=k,
        base_failures=base.failures, new_failures=tuple(failures), noise=noise, no_routed=no_routed,
        no_routing=no_routing,
        notes=(*base.notes, *(note for note in new.notes if note not in base.notes), *notes),
    )  # fmt: skip


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
    return Outcomes(matrix.resolved[:, j], matrix.cost[:, j], matrix.seconds[:, j])


def _take(outcomes: Outcomes, rows: Any) -> Outcomes:
    return Outcomes(outcomes.resolved[rows], outcomes.cost[rows], outcomes.seconds[rows])


def _routed(
    base: RunOutcomes, new: RunOutcomes, a: OutcomeMatrix, b: OutcomeMatrix, instances: Sequence[str],
    statements: Mapping[str, str] | None, noise: Noise, seed: int,
) -> tuple[Compared | None, str]:  # fmt: skip
    """The routed system: live on both sides, or cross-fitted on both sides over the same folds."""
    if base.routed is not None and new.routed is not None:
        sides = [_live(side, instances) for side in (base, new)]
        known = np.flatnonzero(~np.isnan(sides[0].resolved) & ~np.isnan(sides[1].resolved))
        if not len(known):
            return None, "no routed cell has a verdict on both sides"
        names = [instances[i] for i in known.tolist()]
        one, other = (_take(side, known) for side in sides)
        row = compare_pair("routed", names, one, other, noise, kind="routed", how="live", seed=seed)
        missing = np.flatnonzero(~np.isnan(sides[0].resolved) & np.isnan(sides[1].resolved))
        lacking = [instances[i] for i in missing.tolist()]
        return with_missing(row, lacking, sides[0].resolved[missing], noise, seed), ""
    if base.routed is not None or new.routed is not None:
        return None, "one side ran only its routed cells, the other a matrix"
    if len(a.models) < 2 or len(b.models) < 2:
        return None, "a side has one model only"
    if statements is None or any(i not in statements for i in instances):
        return None, "problem statements are needed: give --tasks"
    known = np.flatnonzero(~np.isnan(a.resolved).any(axis=1) & ~np.isnan(b.resolved).any(axis=1))
    if len(known) < 10:
        return None, f"only {len(known)} instances have every verdict on both sides"
    from harness.data.embeddings import embed_texts
    from router.lab.crossfit import crossfit, folds
    from router.policies.cluster import ClusterPolicy

    names = [instances[i] for i in known.tolist()]
    X = embed_texts([statements[i] for i in names])
    splits = folds(len(names), min(FOLDS, len(names)), REPEATS, seed)
    policy = ClusterPolicy(n_clusters=max(2, number_of_clusters(len(names))), seed=seed)
    fitted = [crossfit(policy, X, matrix.take(known), splits) for matrix in (a, b)]
    one, other = (Outcomes(fit.resolved, fit.cost, fit.seconds) for fit in fitted)
    how = (
        f"cross-fitted, {policy.n_clusters} clusters, the same {REPEATS} × {min(FOLDS, len(names))} folds on both sides"
    )
    row = compare_pair("routed", names, one, other, noise, kind="routed", how=how, seed=seed)
    # what the base would have brought where only the new side lacks verdicts is not known: at most all of it
    lost = np.flatnonzero(~np.isnan(a.resolved).any(axis=1) & np.isnan(b.resolved).any(axis=1))
    return with_missing(row, [instances[i] for i in lost.tolist()], np.ones(len(lost)), noise, seed), ""


def _live(side: RunOutcomes, instances: Sequence[str]) -> Outcomes:
    assert side.routed is not None
    unknown = (np.nan, np.nan, np.nan)
    return Outcomes(*np.array([side.routed.get(i, unknown) for i in instances], dtype=np.float64).T)


def _clusters(
    base: RunOutcomes,
    new: RunOutcomes,
    a: OutcomeMatrix,
    b: OutcomeMatrix,
    paired: Sequence[tuple[str, str]],
    arrays: Sequence[Any],
    instances: Sequence[str],
    statements: Mapping[str, str] | None,
    seed: int,
) -> tuple[list[FailingCluster], list[RoutingChange], int, str]:
    """Newly failing clusters, changes of the routing, the number of clusters, and why there are no changes to tell."""
    from harness.data.embeddings import embed_texts

    k = number_of_clusters(len(instances))
    if k == 0 or statements is None or any(i not in statements for i in instances):
        return [], [], 0, "no clusters were formed"
    X = embed_texts([statements[i] for i in instances])
    if base.routed is None and new.routed is None:
        labels, changes = routing_changes(X, a, _as_in_base(b, paired), k, seed=seed)
        return failing_clusters(labels, instances, arrays), changes, k, ""
    # the outcomes of a routed run are those its router chose: a table fitted on them would see its own choices
    labels = cluster_labels(X, k, seed)
    failing = failing_clusters(labels, instances, arrays)
    if base.accepted is None or new.accepted is None:
        return failing, [], k, "one side ran only its routed cells"
    base_name = {right: left for left, right in paired}
    accepted = {instance: base_name.get(model, model) for instance, model in new.accepted.items()}
    return failing, acted_changes(labels, instances, base.accepted, accepted), k, ""


def _as_in_base(new: OutcomeMatrix, paired: Sequence[tuple[str, str]]) -> OutcomeMatrix:
    """The new side under the base's names: a model that is only called otherwise is no change of the routing."""
    from router.outcomes import OutcomeMatrix

    base_name = {right: left for left, right in paired}
    # a name of the base that stays with another model of the new side keeps the renamed one apart
    clashing = {m for m in new.models if m not in base_name}
    names = [base_name[m] if m in base_name and base_name[m] not in clashing else m for m in new.models]
    return OutcomeMatrix.build(new.instances, names, new.resolved, new.cost, new.calls, new.seconds)

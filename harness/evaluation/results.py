"""From an outcome matrix to the results document: every model, policy and bound, with intervals and nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.errors import InputError
from harness.evaluation.policy_rows import RANDOM_PARTITIONS, Laboratory, Progress, silent
from harness.evaluation.rows import bounded, make_row, mcnemar
from harness.evaluation.schema import (
    ClusterProfile,
    Complementarity,
    Failure,
    Null,
    Pair,
    RandomClusters,
    RepeatableOracle,
    Results,
    Row,
    SizesNull,
    read_results,
)
from harness.evaluation.stats import mostly_visible
from harness.evaluation.verdict import BASELINES, corrected, routing_rows, verdict
from harness.evaluation.verifier import notes as signal_notes
from harness.evaluation.verifier import reachable, verifier_quality
from harness.importers.repeats import RepeatedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix

__all__ = ["PERMUTATIONS", "Progress", "Results", "Row", "build_results", "read_results", "silent"]

PERMUTATIONS = 200
"""Redrawn outcomes per policy at least; the smallest p they can give is 1/201."""
PERMUTATIONS_PER_POLICY = 100
"""With k routing policies, Holm asks the first for p < 0.05 / k: 20·k redrawn outcomes could just give that, five times
as many leave room for chance. Most nulls end early."""
MOST_PERMUTATIONS = 2000


def build_results(
    outcomes: OutcomeMatrix,
    embeddings: NDArray[np.floating[Any]],
    *,
    dataset: str,
    evaluation: Literal["recorded", "live"],
    policies: Sequence[str] = ("cluster",),
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    policy_params: Mapping[str, Mapping[str, Any]] | None = None,
    permutations: int | None = None,
    scripted: bool = False,
    notes: Sequence[str] = (),
    progress: Progress = silent,
    auxiliary: OutcomeMatrix | None = None,
    repositories: Sequence[str] | None = None,
    repeated: Sequence[RepeatedModel] = (),
    null_sizes: Sequence[int] = (),
    failures: Sequence[Failure] = (),
) -> Results:
    """The results document of a pool on a dataset.

    Every single model over its own known instances; random, oracle and the policies over the instances that all models
    have a verdict for. Each policy comes cross-fitted, with the p value of a permutation null that refits everything in
    every fold; policies with clusters also in-sample, beside what random clusters of the same sizes reach and without a
    p value: fitted on what it is tested on, nearly every pool would look significant.

    Args:
        outcomes: n instances × m models; unknown cells are left out, never counted as failures.
        embeddings: (n, d), one row per instance in the matrix' order.
        dataset: its name, for the title.
        evaluation: where the outcomes are from; labels all rows but the policies'.
        policies: short names of the router's policies.
        folds, repeats: of the cross-fitting; fewer folds are used when there are fewer instances.
        seed: of folds, clusters, permutations and bootstrap. The same arguments give the same document.
        policy_params: parameters by policy name, e.g. {"cluster": {"n_clusters": 10}}.
        permutations: redrawn outcomes of the null; None takes enough for a claim among all `policies`.
        scripted: the models are scripted stand-ins; the verdict says so first.
        notes: what is already known of the outcomes' faults.
        progress: told each stage.
        auxiliary: runs on the same instances that may inform difficulty and are never candidates.
        repositories: (n,) the repository of each instance: adds rows that leave each repository out in turn.
        repeated: models that were run several times, for the repeatable oracle.
        failures: how cells ended that have no plain verdict.
        null_sizes: sizes of clusters (of all complete instances) to draw at random beside the policies' own.

    Raises:
        InputError: no verdict at all, an unknown policy or parameter, or a row of embeddings too many or too few.
    """
    if len(embeddings) != len(outcomes):
        raise InputError(f"{len(embeddings)} embeddings for {len(outcomes)} instances: one per instance is needed")
    if np.isnan(outcomes.resolved).all():
        raise InputError(f"{dataset}: no verdict is known for any model; run the missing cells first")
    if folds < 2 or repeats < 1:
        raise InputError(f"{folds} folds × {repeats} repeats: at least 2 folds and 1 repeat are needed")
    whole = np.flatnonzero(~np.isnan(outcomes.resolved).any(axis=1))
    complete = outcomes.take(whole)
    said = [*notes, *_missing(outcomes)]
    if len(complete) < 2:
        said.append(f"{len(complete)} instances with every model's verdict cannot be cross-fitted: no policy evaluated")
    elif folds > len(complete):
        said.append(f"{len(complete)} folds instead of {folds}, one for each instance with every model's verdict")
        folds = len(complete)

    progress("single models")
    best = complete.best_single() if len(complete) else None
    clusters: tuple[ClusterProfile, ...] = ()
    rows = _singles(outcomes, best, evaluation, seed)
    if len(complete) > 1:
        laboratory = Laboratory(
            embeddings[whole], complete, folds, repeats, seed,
            enough_permutations(policies) if permutations is None else permutations, progress,
            repositories=_repositories(repositories, whole),
            auxiliary=None if auxiliary is None else auxiliary.take(whole),
        )  # fmt: skip
        asked = {name: dict((policy_params or {}).get(name, {})) for name in policies}
        for _, evaluated in laboratory.evaluate_all(asked):
            rows += evaluated.rows
            clusters = clusters or evaluated.clusters
            said += evaluated.notes
        rows = _with_holm(rows)
        said += _leader_by_training(rows) + _power(rows)
    rows += _bounds(complete, evaluation, seed) if len(complete) else []
    quality, reach = None, []
    if len(complete) > 1:
        progress("signals of finished attempts")
        quality = verifier_quality(complete, folds, repeats, seed)
        reach = reachable(complete, seed)
        said += signal_notes(quality, reach)
    of_sizes = _null_of_sizes(complete, null_sizes, seed)
    if of_sizes is not None:
        reached = of_sizes.in_sample_random_clusters
        said.append(
            f"{len(null_sizes)} random clusters of the given sizes: {reached.mean:.1f} ± {reached.sd:.1f} in-sample"
        )
    repeatable = None
    if repeated and len(complete.models) > 1 and len(complete):
        progress("repeatable oracle")
        repeatable, told = _repeatable(complete, repeated, seed)
        said += told
    else:
        said.append("a repeatable oracle needs repeated runs of the same models; much of the any-model oracle is luck")
    return Results(
        dataset=dataset,
        instances=len(outcomes),
        pool=list(outcomes.models),
        seed=seed,
        folds=folds,
        repeats=repeats,
        scripted=scripted,
        rows=bounded(rows, len(outcomes)),
        failures=list(failures),
        complementarity=_complementarity(outcomes, complete, repeatable),
        null=next((Null(policy=row.name, in_sample_random_clusters=row.null) for row in rows if row.null), None),
        null_of_sizes=of_sizes,
        clusters=list(clusters),
        verifier=quality,
        what_it_takes=reach,
        auxiliary=[] if auxiliary is None else list(auxiliary.models),
        verdict=verdict(rows, scripted=scripted),
        notes=said,
    )


def enough_permutations(policies: Sequence[str]) -> int:
    """So many that one of the `policies` can be claimed to win although all were tried."""
    routing = len(set(policies) - BASELINES)
    return max(PERMUTATIONS, min(MOST_PERMUTATIONS, PERMUTATIONS_PER_POLICY * routing))


def _singles(
    outcomes: OutcomeMatrix, best: int | None, evaluation: Literal["recorded", "live"], seed: int
) -> list[Row]:
    """Each model with a verdict at all, over its own known instances; the differences over those the best knows too."""
    from router.outcomes import single

    leader = None if best is None else single(outcomes, best)
    rows = []
    for model in np.flatnonzero(~np.isnan(outcomes.resolved).all(axis=0)):
        alone = single(outcomes, int(model))
        p = None if leader is None else mcnemar(alone, leader)
        name = outcomes.models[model]
        rows.append(make_row(name, "single", evaluation, alone, best=leader, p_value=p, seed=seed))
    return rows


def _bounds(complete: OutcomeMatrix, evaluation: Literal["recorded", "live"], seed: int) -> list[Row]:
    from router.lab.oracle import oracle, random_expectation
    from router.outcomes import single

    leader = single(complete, complete.best_single())
    found, models = oracle(complete), complete.models
    return [
        make_row("random", "random", evaluation, random_expectation(complete), best=leader, seed=seed),
        make_row("oracle", "oracle", evaluation, found, best=leader, models=models, seed=seed),
    ]


def _repositories(repositories: Sequence[str] | None, whole: NDArray[np.int64]) -> list[str] | None:
    """Of the rows that policies are evaluated on; None when there are fewer than two to leave out."""
    kept = None if repositories is None else [repositories[i] for i in whole]
    return kept if kept is not None and len(set(kept)) > 1 else None


def _with_holm(rows: Sequence[Row]) -> list[Row]:
    by_name = corrected(routing_rows(rows))
    return [
        row.model_copy(update={"vs_best_single": row.vs_best_single.model_copy(update={"p_holm": by_name[row.name]})})
        if row.evaluation == "cross-fitted" and row.vs_best_single is not None and row.name in by_name
        else row
        for row in rows
    ]


def _leader_by_training(rows: Sequence[Row]) -> list[str]:
    """The best single model chosen in hindsight and in training folds: how much of its lead is the choice itself."""
    fixed = next((row for row in rows if row.name == "best-fixed" and row.evaluation == "cross-fitted"), None)
    if fixed is None or fixed.vs_best_single is None:
        return []
    hindsight = fixed.resolved - fixed.vs_best_single.delta
    return [
        f"the best single model is {hindsight:g} chosen in hindsight and {fixed.resolved:.1f} chosen in the training "
        "folds; every difference is to the former"
    ]


def _power(rows: Sequence[Row]) -> list[str]:
    """What may be there and not be seen."""
    spread = {row.name: row.vs_best_single.null_sd for row in routing_rows(rows) if row.vs_best_single is not None}
    known = {name: mostly_visible(sd) for name, sd in spread.items() if sd}
    if not known:
        return []
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    told = f"{known[least]:.1f} instances ({least})" + (f" to {known[most]:.1f} ({most})" if len(known) > 1 else "")
    return [
        f"power is limited: with {rows[0].n} instances a true gain under about {told} is mostly invisible (estimate: "
        "2.49 × the spread of the permutation null, for one test at 5 % and 80 % power; several policies need more)"
    ]


def _repeatable(
    complete: OutcomeMatrix, repeated: Sequence[RepeatedModel], seed: int
) -> tuple[RepeatableOracle, list[str]]:
    """Over all repeated models, and a note of each one's own answer, which may differ."""
    from router.lab.repeatable import BOOTSTRAPS, repeatable_oracle
    from router.outcomes import OutcomeError

    try:
        found = repeatable_oracle(complete, [model.runs for model in repeated], bootstraps=BOOTSTRAPS, seed=seed)
        alone = [repeatable_oracle(complete, [model.runs], bootstraps=0) for model in repeated if len(repeated) > 1]
    except OutcomeError as error:
        raise InputError(f"repeats: {error}") from error
    near = any(len(model.agents) > 1 for model in repeated)
    of = ", ".join(f"{model.name} ({len(model.runs.models)} runs × {len(model.runs)} instances)" for model in repeated)
    kind = "near-repeats (the agent changed in between, so the share is a lower bound)" if near else "repeats"
    method = (
        "expected re-run of the best choice given the recorded verdicts; probit variance components, tetrachoric "
        f"correlation {found.within:.2f} within a model from {kind} of {of}, "
        f"{found.between:.2f} between the pool's models"
    )
    notes = [
        f"repeats of {model.name} alone: share {single.share:.2f}, repeatable oracle {single.resolved:.1f}"
        for model, single in zip(repeated, alone, strict=False)
    ]
    return (
        RepeatableOracle(
            resolved=round(found.resolved, 3),
            method=method,
            repeatable_share=round(found.share, 4),
            resolved_ci95=(round(found.resolved_ci95[0], 3), round(found.resolved_ci95[1], 3)),
            share_ci95=(round(found.share_ci95[0], 4), round(found.share_ci95[1], 4)),
        ),
        notes,
    )


def _null_of_sizes(complete: OutcomeMatrix, sizes: Sequence[int], seed: int) -> SizesNull | None:
    from router.lab.nulls import random_cluster_null

    if not sizes:
        return None
    try:
        null = random_cluster_null(complete, sizes, RANDOM_PARTITIONS, seed=seed)
    except ValueError as error:
        raise InputError(f"null sizes: {error}") from error
    return SizesNull(sizes=list(sizes), in_sample_random_clusters=RandomClusters(mean=null.mean, sd=null.sd))


def _complementarity(
    outcomes: OutcomeMatrix, complete: OutcomeMatrix, repeatable: RepeatableOracle | None
) -> Complementarity:
    from router.lab.oracle import pairs

    solved = (complete if len(complete) else outcomes).resolved == 1
    return Complementarity(
        oracle=int(solved.any(axis=1).sum()),
        repeatable_oracle=repeatable,
        pairs=[Pair(**asdict(pair)) for pair in pairs(outcomes)],
    )


def _missing(outcomes: OutcomeMatrix) -> list[str]:
    """What is unknown, and within what bounds a single model's count lies."""
    n = len(outcomes)
    notes = []
    for j, name in enumerate(outcomes.models):
        verdicts, costs = outcomes.resolved[:, j], outcomes.cost[:, j]
        unknown = int(np.isnan(verdicts).sum())
        if unknown:
            least = int(np.nansum(verdicts))
            notes.append(
                f"{name}: {unknown} of {n} verdicts are unknown; it resolved {least} if they all failed, "
                f"{least + unknown} if none did"
            )
        without_cost = int((np.isnan(costs) & ~np.isnan(verdicts)).sum())
        if without_cost:
            notes.append(f"{name}: the cost of {without_cost} of {n - unknown} attempts is unknown and not in its mean")
    incomplete = int(np.isnan(outcomes.resolved).any(axis=1).sum())
    if incomplete:
        notes.append(
            f"{incomplete} of {n} instances lack a verdict of some model: policies, random and oracle are computed on "
            f"the other {n - incomplete}"
        )
    return notes

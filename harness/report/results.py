"""From an outcome matrix to the results document: every model, policy and bound, with intervals and nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.errors import InputError
from harness.report.policy_rows import Laboratory, Progress, silent
from harness.report.rows import make_row, mcnemar
from harness.report.schema import Complementarity, Null, Pair, Results, Row, read_results
from harness.report.verdict import verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix

__all__ = ["PERMUTATIONS", "Progress", "Results", "Row", "build_results", "read_results", "silent"]

PERMUTATIONS = 200
"""Redrawn outcomes per policy; the smallest p they can give is 1/201."""


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
    permutations: int = PERMUTATIONS,
    scripted: bool = False,
    notes: Sequence[str] = (),
    progress: Progress = silent,
) -> Results:
    """The results document of a pool on a dataset.

    Every single model over its own known instances; random, oracle and the policies over the instances that all models
    have a verdict for. Each policy comes cross-fitted, with the p value of a permutation null that refits everything in
    every fold, and in-sample, beside what random clusters of the same sizes reach and without a p value: fitted on what
    it is tested on, nearly every pool would look significant.

    Args:
        outcomes: n instances × m models; unknown cells are left out, never counted as failures.
        embeddings: (n, d), one row per instance in the matrix' order.
        dataset: its name, for the title.
        evaluation: where the outcomes are from; labels all rows but the policies'.
        policies: short names of the router's policies.
        folds, repeats: of the cross-fitting; fewer folds are used when there are fewer instances.
        seed: of folds, clusters, permutations and bootstrap. The same arguments give the same document.
        policy_params: parameters by policy name, e.g. {"cluster": {"n_clusters": 10}}.
        permutations: redrawn outcomes of the null.
        scripted: the models are scripted stand-ins; the verdict says so first.
        notes: what is already known of the outcomes' faults.
        progress: told each stage.

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
    rows = _singles(outcomes, best, evaluation, seed)
    if len(complete) > 1:
        laboratory = Laboratory(embeddings[whole], complete, folds, repeats, seed, permutations, progress)
        for name in dict.fromkeys(policies):
            evaluated = laboratory.evaluate(name, dict((policy_params or {}).get(name, {})))
            rows += [evaluated.cross_fitted, evaluated.in_sample]
            said += evaluated.notes
    rows += _bounds(complete, evaluation, seed) if len(complete) else []
    said.append("a repeatable oracle needs repeated runs of the same models; much of the any-model oracle is luck")
    return Results(
        dataset=dataset,
        instances=len(outcomes),
        pool=list(outcomes.models),
        seed=seed,
        folds=folds,
        repeats=repeats,
        scripted=scripted,
        rows=rows,
        complementarity=_complementarity(outcomes, complete),
        null=next((Null(policy=row.name, in_sample_random_clusters=row.null) for row in rows if row.null), None),
        verdict=verdict(rows, scripted=scripted),
        notes=said,
    )


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
    from router.oracle import oracle, random_expectation
    from router.outcomes import single

    leader = single(complete, complete.best_single())
    found, models = oracle(complete), complete.models
    return [
        make_row("random", "random", evaluation, random_expectation(complete), best=leader, seed=seed),
        make_row("oracle", "oracle", evaluation, found, best=leader, models=models, seed=seed),
    ]


def _complementarity(outcomes: OutcomeMatrix, complete: OutcomeMatrix) -> Complementarity:
    from router.oracle import pairs

    solved = (complete if len(complete) else outcomes).resolved == 1
    return Complementarity(
        oracle=int(solved.any(axis=1).sum()), pairs=[Pair(**asdict(pair)) for pair in pairs(outcomes)]
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

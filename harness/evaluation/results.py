"""From an outcome matrix to the results document: every model, policy and bound, with intervals and nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from harness.errors import InputError
from harness.evaluation.constants import against_constants
from harness.evaluation.policy_rows import RANDOM_PARTITIONS, Laboratory, Progress, silent
from harness.evaluation.recommendation import recommend
from harness.evaluation.repeats import repeated_attempts
from harness.evaluation.rows import bounded, make_row
from harness.evaluation.schema import (
    ClusterProfile,
    Complementarity,
    Null,
    Pair,
    RandomClusters,
    RepeatableOracle,
    Results,
    Row,
    SizesNull,
)
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.evaluation.stats import mostly_visible
from harness.evaluation.verdict import corrected, routing_rows, verdict
from harness.evaluation.verifier import notes as signal_notes
from harness.evaluation.verifier import reachable, verifier_quality
from harness.importers import unknown_verdicts
from harness.importers.repeats import RepeatedModel
from harness.text import counted, counted_part
from router.lab.nulls import random_cluster_null
from router.lab.oracle import oracle, pairs, random_expectation
from router.lab.repeatable import BOOTSTRAPS, LEAST, repeatable_oracle
from router.outcomes import OutcomeError, OutcomeMatrix, single


def build_results(
    inputs: EvaluationInputs, settings: EvaluationSettings | None = None, *, progress: Progress = silent
) -> Results:
    """The results document of a pool on a dataset.

    Every single model over its own known instances; random, oracle and the policies over the instances that all models
    have a verdict for. Each policy comes cross-fitted, with the p value of a permutation null that refits everything in
    every fold; policies with clusters also in-sample, beside what random clusters of the same sizes reach and without a
    p value: fitted on what it is tested on, nearly every pool would look significant.

    Args:
        inputs: What is evaluated.
        settings: How; the same inputs and settings give the same document.
        progress: Called before each stage.

    Raises:
        InputError: no verdict at all, an unknown policy or parameter, or a row of embeddings too many or too few.
    """
    settings = settings or EvaluationSettings()
    outcomes = inputs.outcomes
    if len(inputs.embeddings) != len(outcomes):
        raise InputError(
            f"{len(inputs.embeddings)} embeddings for {len(outcomes)} instances: one per instance is needed"
        )
    if np.isnan(outcomes.resolved).all():
        raise InputError(f"{inputs.dataset}: no verdict is known for any model; run the missing cells first")
    known = _complete(inputs)
    complete, n = known.outcomes, len(known.outcomes)
    notes = [*inputs.notes, *_missing(outcomes)]
    if n < 2:
        notes.append(f"no policy was evaluated: {n} instances have a verdict of every model, cross-fitting needs 2")
    elif settings.folds > n:
        notes.append(f"{n} folds instead of {settings.folds}, one for each instance with every model's verdict")
        settings = replace(settings, folds=n)

    progress("single models")
    rows = _singles(outcomes, complete, inputs.evaluation, settings.seed)
    clusters: tuple[ClusterProfile, ...] = ()
    quality, reach = None, []
    if n > 1:
        for evaluated in Laboratory(known, settings, progress).evaluate_all():
            rows += evaluated.rows
            clusters = clusters or evaluated.clusters
            notes += evaluated.notes
        rows = _with_holm(rows)
        notes += _leader_by_training(rows) + _power(rows)
        progress("signals of finished attempts")
        quality = verifier_quality(complete, settings.folds, settings.repeats, settings.seed)
        reach = reachable(complete, settings.seed)
    if n:
        rows += _bounds(complete, inputs.evaluation, settings.seed)
        if np.isnan(complete.cost).any():
            notes.append("no row is compared with mixtures of single models, because not every cost is known")
    notes += signal_notes(quality, reach)
    of_sizes = _null_of_sizes(complete, settings.null_sizes, settings.seed)
    if of_sizes is not None:
        reached = of_sizes.in_sample_random_clusters
        notes.append(
            f"{len(of_sizes.sizes)} random clusters of the given sizes: {reached.mean:.1f} ± {reached.sd:.1f} in-sample"
        )
    repeatable = None
    repeated = [*inputs.repeated, *_enough_for_oracle(complete, inputs.attempts)]
    if repeated and len(complete.models) > 1 and n:
        progress("repeatable oracle")
        repeatable, repeat_notes = _repeatable(complete, repeated, settings.seed)
        notes += repeat_notes
    else:
        few = f" on {LEAST} instances or more that every model has a verdict on" if inputs.attempts else ""
        notes.append(f"part of the oracle is luck; repeated runs of the same models{few} would show how much")
    if inputs.attempts:
        notes.append("everything but the table of repeats is computed from each model's first attempts")
    return Results(
        dataset=inputs.dataset,
        instances=len(outcomes),
        pool=list(outcomes.models),
        seed=settings.seed,
        folds=settings.folds,
        repeats=settings.repeats,
        scripted=inputs.scripted,
        simulated=inputs.simulated,
        rows=bounded(rows, len(outcomes)),
        failures=list(inputs.failures),
        complementarity=_complementarity(outcomes, complete, repeatable),
        null=next((Null(policy=row.name, in_sample_random_clusters=row.null) for row in rows if row.null), None),
        null_of_sizes=of_sizes,
        clusters=list(clusters),
        repeated=repeated_attempts(inputs.attempts, seed=settings.seed),
        verifier=quality,
        what_it_takes=reach,
        auxiliary=[] if inputs.auxiliary is None else list(inputs.auxiliary.models),
        recommendation=recommend(known, settings, rows, instances=len(outcomes), repeatable=repeatable),
        verdict=verdict(rows, scripted=inputs.scripted, simulated=inputs.simulated),
        notes=notes,
    )


def _complete(inputs: EvaluationInputs) -> EvaluationInputs:
    """The instances that every model has a verdict on; repositories only where there are two or more to leave out."""
    known = inputs.take(np.flatnonzero(~np.isnan(inputs.outcomes.resolved).any(axis=1)))
    several = known.repositories is not None and len(set(known.repositories)) > 1
    return known if several else replace(known, repositories=None)


def _singles(
    outcomes: OutcomeMatrix, complete: OutcomeMatrix, evaluation: Literal["recorded", "live"], seed: int
) -> list[Row]:
    """Each model with a verdict at all, over its own known instances; the differences over those the best knows too.

    The difference to constants is over the `complete` instances, which the hull is made of.
    """
    leader = single(outcomes, complete.best_single()) if len(complete) else None
    rows = []
    for model in map(int, np.flatnonzero(~np.isnan(outcomes.resolved).all(axis=0))):
        constants = against_constants(single(complete, model), complete, seed=seed) if len(complete) else None
        alone, name = single(outcomes, model), outcomes.models[model]
        rows.append(make_row(name, "single", evaluation, alone, best=leader, constants=constants, seed=seed))
    return rows


def _bounds(complete: OutcomeMatrix, evaluation: Literal["recorded", "live"], seed: int) -> list[Row]:
    leader = single(complete, complete.best_single())
    mixed, perfect = random_expectation(complete), oracle(complete)
    return [
        make_row(
            "random",
            "random",
            evaluation,
            mixed,
            best=leader,
            constants=against_constants(mixed, complete, seed=seed),
            seed=seed,
        ),
        make_row(
            "oracle",
            "oracle",
            evaluation,
            perfect,
            best=leader,
            constants=against_constants(perfect, complete, seed=seed),
            models=complete.models,
            seed=seed,
        ),
    ]


def _with_holm(rows: Sequence[Row]) -> list[Row]:
    by_name = corrected(routing_rows(rows))
    return [
        row.model_copy(
            update={"vs_best_single": row.vs_best_single.model_copy(update={"p_text_holm": by_name[row.name]})}
        )
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
        f"the best single model resolves {hindsight:g} if it is chosen in hindsight, and {fixed.resolved:.1f} if it is "
        "chosen on the training folds; all differences are to the former"
    ]


def _power(rows: Sequence[Row]) -> list[str]:
    """What may be there and not be seen."""
    spread = {row.name: row.vs_best_single.null_sd for row in routing_rows(rows) if row.vs_best_single is not None}
    known = {name: mostly_visible(sd) for name, sd in spread.items() if sd}
    if not known:
        return []
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    gain = f"{known[least]:.1f} instances ({least})" + (f" to {known[most]:.1f} ({most})" if len(known) > 1 else "")
    return [
        f"with {rows[0].n} instances, a policy's gain of less than about {gain} would probably be missed (estimate: "
        "2.49 × the spread of the permutation null, for one test at 5 % and 80 % power; several policies need more)"
    ]


def _enough_for_oracle(complete: OutcomeMatrix, attempts: Sequence[RepeatedModel]) -> list[RepeatedModel]:
    """Those of the pool's own repeats that the repeatable oracle can use."""
    known = set(complete.instances)
    return [model for model in attempts if len(known & set(model.runs.instances)) >= LEAST]


def _repeatable(
    complete: OutcomeMatrix, repeated: Sequence[RepeatedModel], seed: int
) -> tuple[RepeatableOracle, list[str]]:
    """Over all repeated models, and a note of each one's own answer, which may differ."""
    try:
        together = repeatable_oracle(complete, [model.runs for model in repeated], bootstraps=BOOTSTRAPS, seed=seed)
        alone = [repeatable_oracle(complete, [model.runs], bootstraps=0) for model in repeated if len(repeated) > 1]
    except OutcomeError as error:
        raise InputError(f"repeats: {error}") from error
    near = any(len(model.agents) > 1 for model in repeated)
    of = ", ".join(f"{model.name} ({len(model.runs.models)} runs × {len(model.runs)} instances)" for model in repeated)
    kind = "near-repeats (the agent changed in between, so the share is a lower bound)" if near else "repeats"
    method = (
        "expected re-run of the best choice given the recorded verdicts; probit variance components, tetrachoric "
        f"correlation {together.within:.2f} within a model from {kind} of {of}, "
        f"{together.between:.2f} between the pool's models"
    )
    notes = [
        f"repeats of {model.name} alone: share {own.share:.2f}, repeatable oracle {own.resolved:.1f}"
        for model, own in zip(repeated, alone, strict=False)
    ]
    return (
        RepeatableOracle(
            resolved=round(together.resolved, 3),
            method=method,
            repeatable_share=round(together.share, 4),
            resolved_ci95=(round(together.resolved_ci95[0], 3), round(together.resolved_ci95[1], 3)),
            share_ci95=(round(together.share_ci95[0], 4), round(together.share_ci95[1], 4)),
        ),
        notes,
    )


def _null_of_sizes(complete: OutcomeMatrix, sizes: Sequence[int], seed: int) -> SizesNull | None:
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
    solved = (complete if len(complete) else outcomes).resolved == 1
    return Complementarity(
        oracle=int(solved.any(axis=1).sum()),
        repeatable_oracle=repeatable,
        pairs=[Pair(**asdict(pair)) for pair in pairs(outcomes)],
    )


def _missing(outcomes: OutcomeMatrix) -> list[str]:
    """What is unknown, and within what bounds a single model's count lies."""
    n = len(outcomes)
    notes = unknown_verdicts(outcomes)
    for model, verdicts, costs in zip(outcomes.models, outcomes.resolved.T, outcomes.cost.T, strict=True):
        known = int((~np.isnan(verdicts)).sum())
        without_cost = int((np.isnan(costs) & ~np.isnan(verdicts)).sum())
        if without_cost:
            notes.append(
                f"{model}: the cost of {without_cost} of {counted(known, 'attempt')} is unknown, so no cost is "
                "stated for it, nor for policies that route to it"
            )
    incomplete = int(np.isnan(outcomes.resolved).any(axis=1).sum())
    if incomplete:
        notes.append(
            f"{counted_part(incomplete, n, 'instance', 'lacks', 'lack')} a verdict of some model: "
            f"policies, random and oracle are computed on the other {n - incomplete}"
        )
    return notes

"""Results of a live run through a router: the accepted attempts, at the cost of all that the policy requested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import InputError
from harness.evaluation.formats import money_kind
from harness.evaluation.live_rows import compared_with, live_rows
from harness.evaluation.rows import bounded
from harness.evaluation.schema import Complementarity, Results
from harness.evaluation.verdict import SCRIPTED_CAVEAT
from harness.fitting import fitted_on, router_for_pool
from harness.run.rollout import models_missing_from, roll_out
from harness.run.run_record import RunRecord
from harness.text import counted, counted_part
from router.outcomes import OutcomeMatrix, Replay
from router.router import Router


class UndecidedError(InputError):
    """A routed run whose policy has accepted no graded attempt yet."""


def routed_results(record: RunRecord, matrix: OutcomeMatrix) -> Results:
    """The results of a run in which only the routed cells were run: one row, and what it can be compared with.

    Raises:
        UndecidedError: no instance has an accepted attempt with a verdict yet.
    """
    config, dataset = record.config, record.dataset
    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    pool = [model.name for model in config.pool]
    router = router_for_pool(config.router.checkpoint, config.pool, config.router)
    needs_evidence = config.evidence is not None
    rollouts = roll_out(router, dataset, record.rows, record.folder, pool, needs_evidence=needs_evidence)
    notes = record.notes
    if missing := models_missing_from(router, pool):
        notes.append(
            f"the pool lacks {', '.join(missing)} of the checkpoint; their instances went to the next best model"
        )
    # of an instance whose cascade has not come to its end nothing can be said
    ended = [
        (i, rollout)
        for i, rollout in enumerate(rollouts.values())
        if rollout.accepted in matrix.models and not np.isnan(matrix.resolved[i, matrix.models.index(rollout.accepted)])
    ]
    if not ended:
        raise UndecidedError(f"{record.folder.path}: no instance has an accepted attempt with a verdict yet")
    rows = np.array([i for i, _ in ended], dtype=np.int64)
    accepted = [matrix.models.index(rollout.accepted) for _, rollout in ended if rollout.accepted]
    choices = np.array(accepted, dtype=np.int64)
    tried = [[matrix.models.index(model) for model in rollout.models] for _, rollout in ended]
    replayed = Replay(
        choices=choices[None, :],
        resolved=matrix.resolved[rows, choices],
        cost=np.array([matrix.cost[i, models].sum() for i, models in zip(rows, tried, strict=True)])
        + np.array([rollout.paid_usd for _, rollout in ended]),
        seconds=np.array([matrix.seconds[i, models].sum() for i, models in zip(rows, tried, strict=True)])
        + np.array([rollout.paid_seconds for _, rollout in ended]),
        share=np.bincount(choices, minlength=len(matrix.models)) / max(len(choices), 1),
    )
    decided = [instance for instance, rollout in rollouts.items() if rollout.accepted is not None]
    in_sample, in_sample_notes = training_overlap(router, decided)
    notes += in_sample_notes
    if unfinished := len(rollouts) - len(ended):
        notes.append(
            f"{counted(unfinished, 'instance is', 'instances are')} not decided yet, because an "
            "attempt that the policy requested has not finished"
        )
    if several := sum(len(models) > 1 for models in tried):
        notes.append(
            f"{counted_part(several, len(tried), 'instance', 'was', 'were')} attempted by more than one "
            "model; every attempt's cost counts"
        )
    table = live_rows(replayed, matrix.take(rows), seed=config.router.seed)
    row = table[0]
    low, high = row.rate_ci95
    kind = money_kind(scripted=record.scripted, simulated=False)
    cost = "" if row.cost_per_instance is None else f" at {kind}${row.cost_per_instance:.3g} an instance"
    verdict = (
        f"Live, routing by {config.router.checkpoint.name} resolves {row.resolved:g} of {row.n} "
        f"({row.rate:.1%}, 95 % interval {low:.1%} to {high:.1%}){cost}{in_sample}; {compared_with(table)}."
    )
    return Results(
        dataset=dataset.title,
        instances=len(dataset.instances),
        pool=list(matrix.models),
        seed=config.router.seed,
        folds=0,
        repeats=0,
        scripted=record.scripted,
        rows=bounded(table, len(dataset.instances)),
        failures=record.failures,
        complementarity=Complementarity(oracle=int(row.resolved)),
        verdict=SCRIPTED_CAVEAT + verdict[0].lower() + verdict[1:] if record.scripted else verdict,
        notes=notes,
    )


def training_overlap(router: Router, instances: Sequence[str]) -> tuple[str, list[str]]:
    """For the verdict and for the notes: whether the router decided instances whose outcomes it was fitted on."""
    fitted = fitted_on(router, instances)
    if fitted is None:
        return "", [
            "the checkpoint (of an older version) does not record its training instances; these may be among them"
        ]
    if not fitted:
        return "", []
    count = f"{len(fitted)} of {len(instances)}"
    return (
        f" (fitted on {len(fitted)} of these instances: in-sample)",
        [
            f"the router was fitted on outcomes of {count} of the instances it decided here, so the routed row is "
            "in-sample there and too optimistic; for a fair estimate, fit it on other instances"
        ],
    )

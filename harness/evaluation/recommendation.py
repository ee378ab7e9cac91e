"""Which model (or router) to use: the decision of policy `auto` on all complete instances, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from harness.evaluation.policy_rows import Laboratory
from harness.evaluation.recommendation_text import Findings, headline, statements
from harness.evaluation.schema import Choice, Detectable, Recommendation, RepeatableOracle, Row
from harness.evaluation.selection import measured, selection_of
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.evaluation.stats import detectable_difference, mostly_visible
from harness.evaluation.verdict import (
    FEW_INSTANCES,
    beats,
    best_single,
    corrected,
    is_selection,
    most_successful,
    routes,
    routing_rows,
)
from router.outcomes import OutcomeMatrix
from router.policies.auto import AutoPolicy
from router.policies.select import SelectPolicy

RULE = "auto"


def recommend(
    inputs: EvaluationInputs,
    settings: EvaluationSettings,
    rows: Sequence[Row],
    *,
    instances: int,
    repeatable: RepeatableOracle | None,
) -> Recommendation:
    """The recommendation, with its sentences.

    Args:
        inputs: On the instances that every model has a verdict on; perhaps none.
        settings: Those the rows were made with. The rule is the `auto` among its policies, or the default one.
        rows: All rows of the document.
        instances: Of the dataset, also those without a verdict of some model.
        repeatable: The repeatable oracle, where it is known.
    """
    name = next((policy for policy in settings.policies if policy.partition(":")[0] == RULE), RULE)
    best, outcomes = best_single(rows), inputs.outcomes
    singles = {row.name: row for row in rows if row.kind == "single"}
    decided, selection = None, None
    selected = measured(rows, outcomes)
    if best is not None and best.resolved > 0 and len(singles) > 1:
        decided = _decide(inputs, settings, name, rows, selected)
        pays = decided.router == SelectPolicy.name
        if pays and selected is None and decided.row.kind == "policy":
            selected = decided.row
        selection = selection_of(outcomes, selected, pays=pays)
    tolerance = AutoPolicy.tolerance if decided is None else decided.tolerance
    use = None if decided is None else decided.row
    if len(singles) == 1 and best is not None:
        use = best
    second = max((row for row in singles.values() if row is not best), key=lambda row: row.rate, default=None)
    routing = routing_rows(rows)
    readers = [row for row in routing if not is_selection(row)]  # selection has a line of its own
    judged = most_successful(readers) if readers else None
    judged = judged if judged is not None and routes(judged) else None
    p_text = corrected(routing).get(judged.name) if judged is not None else None
    vs = judged.vs_best_single if judged is not None else None
    held_out = next((row for row in rows if row.name == name and row.evaluation == "cross-fitted"), None)
    found = Findings(
        use=_choice(use, best),
        rule=name,
        tolerance=tolerance,
        most_resolved=_choice(best, best),
        runner_up=_choice(second, best),
        equals=[row.name for row in singles.values() if best is not None and row is not best and _level(row, best)],
        models=len(singles),
        cheapest=_is_cheapest(use, list(singles.values())),
        unpriced=_unpriced(outcomes),
        taken=None if decided is None else decided.router,
        routing=_choice(judged, best),
        constants=None if judged is None else judged.vs_constants,
        selection=selection,
        selected=_choice(selected, best),
        policies=len(readers),
        p_text=p_text,
        routing_pays=judged is not None and beats(judged, p_text),
        routing_detectable=mostly_visible(vs.null_sd) if vs is not None and vs.null_sd else None,
        detectable=_detectable(outcomes, use, best, second),
        held_out=_choice(held_out, best),
        oracle=_choice(
            next((row for row in rows if row.kind == "oracle" and row.evaluation != "cross-fitted"), None), best
        ),
        repeatable=repeatable,
        complete=len(outcomes),
        instances=instances,
        provisional=len(outcomes) < FEW_INSTANCES or (inputs.evaluation == "live" and len(outcomes) < instances),
        scripted=inputs.scripted,
        simulated=inputs.simulated,
    )
    return Recommendation(
        use=found.use,
        rule=found.rule,
        tolerance=found.tolerance,
        most_resolved=found.most_resolved,
        routing=found.routing,
        routing_pays=found.routing_pays,
        selection=found.selection,
        routing_detectable=found.routing_detectable,
        detectable=found.detectable,
        provisional=found.provisional,
        headline=headline(found),
        statements=statements(found),
    )


@dataclass(frozen=True)
class _Decision:
    """What the rule decided."""

    row: Row
    tolerance: float
    router: str | None
    """Short name of the policy that it took, with or without a held-out row; None where it took a model."""


def _decide(
    inputs: EvaluationInputs, settings: EvaluationSettings, name: str, rows: Sequence[Row], selected: Row | None
) -> _Decision:
    """A router is recommended only with its held-out row; without one it is the rule's model, and the router's name.

    Where the rule took selection among finished attempts, that policy's own row does as well.
    """
    priced = replace(inputs, outcomes=_comparable_costs(inputs.outcomes))
    auto = cast(AutoPolicy, Laboratory(priced, settings).fitted_on_all(name))
    router = None if auto.taken.is_baseline else auto.taken.name
    if router is not None:
        held_out = next((row for row in rows if row.name == name and row.evaluation == "cross-fitted"), None)
        if held_out is None and router == SelectPolicy.name:
            held_out = selected
        if held_out is not None:
            return _Decision(held_out, auto.tolerance, router)
    fixed = auto.fallback().fit(priced.embeddings, priced.outcomes) if router is not None else auto
    chosen = priced.outcomes.models[int(fixed.predict(priced.embeddings[:1], auto.cost_weight)[0])]
    row = next(row for row in rows if row.kind == "single" and row.name == chosen)
    return _Decision(row, auto.tolerance, router)


def _comparable_costs(outcomes: OutcomeMatrix) -> OutcomeMatrix:
    """The outcomes without the costs of models that lack some: a mean over other instances is not comparable.

    Unknown costs count as the dearest known, so that no model looks cheap for want of a price. Where the best model is
    among them, no other model may be called cheaper, and all costs are left out.
    """
    unpriced = np.atleast_1d(np.isnan(outcomes.cost).any(axis=0))
    if not unpriced.any():
        return outcomes
    if unpriced[outcomes.best_single()]:
        unpriced[:] = True
    return OutcomeMatrix.build(
        outcomes.instances,
        outcomes.models,
        outcomes.resolved,
        np.where(unpriced, np.nan, outcomes.cost),
        outcomes.calls,
        outcomes.seconds,
        dict(outcomes.signals),
    )


def _unpriced(outcomes: OutcomeMatrix) -> list[str]:
    """Models whose cost is not known of every instance, the best one first."""
    if not len(outcomes):
        return []
    unpriced, best = np.atleast_1d(np.isnan(outcomes.cost).any(axis=0)), outcomes.best_single()
    names = [model for j, model in enumerate(outcomes.models) if unpriced[j] and j != best]
    return [outcomes.models[best], *names] if unpriced[best] else names


def _choice(row: Row | None, best: Row | None) -> Choice | None:
    if row is None:
        return None
    cost, reference = row.cost_per_instance, None if best is None else best.cost_per_instance
    return Choice(
        name=row.name,
        kind=row.kind,
        evaluation=row.evaluation,
        n=row.n,
        resolved=row.resolved,
        rate=row.rate,
        rate_ci95=row.rate_ci95,
        cost_per_instance=cost,
        cost_share=None if cost is None or not reference else round(cost / reference, 9),
        delta=None if row.vs_best_single is None else row.vs_best_single.delta,
        delta_ci95=None if row.vs_best_single is None else row.vs_best_single.ci95,
    )


def _level(row: Row, best: Row) -> bool:
    return row.vs_best_single is not None and row.vs_best_single.delta == 0 and row.n == best.n


def _is_cheapest(use: Row | None, singles: Sequence[Row]) -> bool:
    costs = [row.cost_per_instance for row in singles]
    known = [cost for cost in costs if cost is not None]
    return use is not None and len(known) == len(costs) and use.cost_per_instance == min(known)


def _detectable(outcomes: OutcomeMatrix, use: Row | None, best: Row | None, second: Row | None) -> Detectable | None:
    """Between the recommended and the best model; where they are one, or a router is recommended, of the two best."""
    if best is None or use is None or second is None:
        return None
    other = use if use.kind == "single" and use.name != best.name else second
    a, b = (outcomes.resolved[:, outcomes.models.index(name)] for name in (other.name, best.name))
    n, discordant = len(outcomes), int((a != b).sum())
    share = detectable_difference(n, discordant)
    points = None if share is None else round(100 * share, 2)
    return Detectable(a=other.name, b=best.name, n=n, discordant=discordant, points=points)

"""The one sentence that people will quote, built from the numbers and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evaluation.formats import count, money_kind, p_value, signed
from harness.evaluation.schema import Choice, Row
from harness.evaluation.stats import holm
from harness.text import counted
from router.policies import is_baseline
from router.policies.cascade import CascadePolicy
from router.policies.select import SelectPolicy

FEW_INSTANCES = 50
"""Below this a 95 % interval spans more than a quarter of the rate's range: nothing but a collapse could be seen."""
SIGNIFICANT = 0.05
ONE_MODEL = 0.995
"""A policy that gives one model this share of the instances does not route."""

SCRIPTED_CAVEAT = "The models are scripted stand-ins, so this says nothing about real models: "
SIMULATED_CAVEAT = "No model was run, all outcomes are simulated: "


def verdict(rows: Sequence[Row], *, scripted: bool, simulated: bool = False) -> str:
    """One honest sentence about the cross-fitted policy that resolved most.

    A policy *beats* the best single model when the permutation null (which refits everything) rejects at 5 %, the
    difference to the hindsight-best single model is positive, and the interval of the difference to constants is not
    below zero; for a policy that looks at finished attempts, the interval of the first difference has to be above zero,
    too. It *does harm* when the interval of the first difference is below zero. With several policies the most
    successful one is judged by a p corrected over all of them (Holm), since picking it is a choice made on the test
    results. The p is that of the permutation null and is named so; where the difference is not positive, there is no
    gain to test and no p.

    A policy that costs less than the best single model may resolve as many as it and still be worth nothing, as a
    cheaper model, or a mixture of two, does the same. So the sentence ends with what single models resolve for the
    policy's own money (`harness.evaluation.constants`): *more* where the interval is below zero, *only* so many
    where the bootstrap's p, corrected over the policies (Holm), is below 5 %. The best single model is always on the
    hull, and a policy that costs as much as it or more is compared with it already.
    """
    sentence = _sentence(rows, money_kind(scripted=scripted, simulated=simulated))
    if simulated:
        return SIMULATED_CAVEAT + sentence[0].lower() + sentence[1:]
    if scripted:
        return SCRIPTED_CAVEAT + sentence[0].lower() + sentence[1:]
    return sentence


def _sentence(rows: Sequence[Row], kind: str) -> str:
    singles = [row for row in rows if row.kind == "single"]
    best = best_single(rows)
    tried = [row for row in rows if row.kind == "policy" and row.evaluation == "cross-fitted"]
    if best is None:
        return "No instance has a verdict from every model of the pool, so nothing can be compared yet."
    if len(singles) == 1:
        return f"With one model there is nothing to route: {best.name} resolves {count(best.resolved)} of {best.n}."
    if not tried:
        return f"No policy was evaluated: {best.name} is the best single model, {count(best.resolved)} of {best.n}."
    routing = routing_rows(rows) or tried
    judged = most_successful(routing)
    in_sample = next((row for row in rows if row.name == judged.name and row.evaluation == "in-sample"), None)
    p = corrected(routing).get(judged.name)
    parts = (_judgement(judged, p), against_money(judged, routing), _in_sample(in_sample))
    return f"{_difference(judged, best, len(routing), p, kind)}: {''.join(parts)}."


def best_single(rows: Sequence[Row]) -> Row | None:
    """The single model that every difference is to; None where nothing can be compared.

    It does not differ from itself, and neither does a model with the same verdicts: of several such rows it is the one
    known on most instances, then the one that resolved most, then the cheaper, then the first.
    """
    equal = [
        row
        for row in rows
        if row.kind == "single" and (vs := row.vs_best_single) is not None and (vs.delta, vs.ci95) == (0, (0, 0))
    ]

    def place(row: Row) -> tuple[float, float, float]:
        return -row.n, -row.resolved, math.inf if row.cost_per_instance is None else row.cost_per_instance

    return min(equal, key=place, default=None)


def routing_rows(rows: Sequence[Row]) -> list[Row]:
    """The held-out rows that claims are made about: every policy that routes."""
    return [
        row for row in rows if row.kind == "policy" and row.evaluation == "cross-fitted" and not is_baseline(row.name)
    ]


def most_successful(routing: Sequence[Row]) -> Row:
    """The row that resolved most, of those that give instances to more than one model, where there are any.

    `auto` mostly decides for a single model; its row then says nothing of routing.
    """
    return max([row for row in routing if routes(row)] or routing, key=lambda row: row.resolved)


def beats(row: Row, p: float | None) -> bool:
    """Whether a routing policy may be said to beat the best single model; `p` is corrected for the policies tried."""
    vs = row.vs_best_single
    if row.n < FEW_INSTANCES or vs is None or vs.delta <= 0 or below_constants(row):
        return False
    if reads_attempts(row) and vs.ci95[0] <= 0:
        return False  # its test only says that signals tell more than shuffled ones, which lose to the best single
    return p is not None and p < SIGNIFICANT


def below_constants(row: Row) -> bool:
    """Whether single models resolve more for the row's money; False where costs are not known."""
    return row.vs_constants is not None and row.vs_constants.ci95[1] < 0


def above_constants(row: Row, routing: Sequence[Row]) -> bool:
    """Whether the row may be said to resolve more than single models for its money, of all policies `routing`."""
    versus = row.vs_constants
    if row.n < FEW_INSTANCES or versus is None or versus.delta <= 0:
        return False
    known = {other.name: other.vs_constants.p_value for other in routing if other.vs_constants is not None}
    return dict(zip(known, holm(list(known.values())), strict=True)).get(row.name, 1.0) < SIGNIFICANT


def is_selection(row: Row) -> bool:
    """Whether a row is of policy `select`, which chooses among finished attempts and reads no text."""
    return row.kind == "policy" and row.name.partition(":")[0] == SelectPolicy.name


def reads_attempts(row: Row | Choice) -> bool:
    """Whether a row is of a policy that looks at finished attempts: its permutation test is not one of the text."""
    return row.kind == "policy" and row.name.partition(":")[0] in (SelectPolicy.name, CascadePolicy.name)


def routes(row: Row) -> bool:
    """Whether it gives instances to more than one model."""
    return row.routing_share is None or max(row.routing_share.values()) < ONE_MODEL


def corrected(routing: Sequence[Row]) -> dict[str, float]:
    """By policy, its p_text corrected over all policies tried (Holm); rows without one are left out."""
    tested = {row.name: row.vs_best_single.p_text for row in routing if row.vs_best_single is not None}
    known = {name: p for name, p in tested.items() if p is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def _difference(judged: Row, best: Row, tried: int, p: float | None, kind: str) -> str:
    assert judged.vs_best_single is not None  # cross-fitted rows exist only where there is a best single model
    vs = judged.vs_best_single
    alone = judged.resolved - vs.delta  # the best single's count over the same instances
    tested = ""
    if p is not None and vs.delta > 0:
        tested = f"; test that {'its choice' if reads_attempts(judged) else 'the text'} helps: p {p_value(p)}" + (
            f", corrected for {tried} policies tried" if tried > 1 else ""
        )
    what = f"choosing among finished attempts ({judged.name})" if is_selection(judged) else f"{judged.name} routing"
    money = ""
    if judged.cost_per_instance is not None and best.cost_per_instance is not None:
        money = f", at {kind}${judged.cost_per_instance:.3g} an instance against ${best.cost_per_instance:.3g}"
    return (
        f"Held out, {what} resolves {count(judged.resolved)} of {judged.n} against {count(alone)} for "
        f"{best.name} (difference {signed(vs.delta)}, 95 % interval {signed(vs.ci95[0])} to {signed(vs.ci95[1])}"
        f"{tested}){money}"
    )


def _judgement(judged: Row, p: float | None) -> str:
    assert judged.vs_best_single is not None
    vs = judged.vs_best_single
    if judged.n < FEW_INSTANCES:
        return f"{counted(judged.n, 'instance is', 'instances are')} too few to tell"
    if beats(judged, p):
        return "it beats the best single model"
    if vs.ci95[1] < 0:
        return "it does harm: the best single model alone resolves more"
    return "no evidence that it beats the best single model"


def against_money(judged: Row, routing: Sequence[Row]) -> str:
    """What single models resolve for the policy's money, of all policies `routing`; empty where that is the best single
    model, or not known."""
    versus, vs = judged.vs_constants, judged.vs_best_single
    if versus is None or judged.n < FEW_INSTANCES or (vs is not None and versus.delta == vs.delta):
        return ""
    models = " and ".join(versus.mixture)
    spent = f"sent to {models} {'alone' if len(versus.mixture) == 1 else 'at random'}"
    more = " more," if below_constants(judged) else " only" if above_constants(judged, routing) else ""
    low, high = versus.ci95
    return (
        f"; the same money {spent} resolves{more} {count(versus.resolved)} (the policy's difference to that: "
        f"{signed(versus.delta)}, {signed(low)} to {signed(high)})"
    )


def _in_sample(row: Row | None) -> str:
    if row is None or row.null is None:
        return ""
    low, high = row.null.mean - 2 * row.null.sd, row.null.mean + 2 * row.null.sd
    place = "more than" if row.resolved > high else "less than" if row.resolved < low else "within the range that"
    reached = f"{row.null.mean:.1f} ± {row.null.sd:.1f}"
    return f"; the in-sample {count(row.resolved)} is {place} random clusters reach ({reached})"

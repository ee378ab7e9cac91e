"""The recommendation in sentences, built from the numbers and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.formats import count, money, money_kind, p_value, signed
from harness.evaluation.schema import Choice, Detectable, RepeatableOracle, Selection, Statement, VsConstants
from harness.evaluation.verdict import FEW_INSTANCES, reads_attempts
from harness.text import counted, counted_part

LEAST_MEMBERS = 3
"""Fewer attempts leave little to choose from."""
NAMED = 3
"""Models named in a list; the others are counted."""


@dataclass(frozen=True)
class Findings:
    """What the sentences are made of; the fields of the same names are described in the schema."""

    use: Choice | None
    rule: str
    tolerance: float
    most_resolved: Choice | None
    runner_up: Choice | None
    """The model that resolved most of the others."""
    equals: Sequence[str]
    """Other models that resolved as many as the best."""
    models: int
    """With a verdict at all."""
    cheapest: bool
    """All costs are known, and the recommended model's is the lowest."""
    unpriced: Sequence[str]
    """Models whose cost is not known of every instance, the best one first."""
    taken: str | None
    """The policy that the rule took instead of a model."""
    routing: Choice | None
    constants: VsConstants | None
    """Of `routing`."""
    selection: Selection | None
    selected: Choice | None
    """The measured row of policy `select`."""
    policies: int
    """Routing policies tried."""
    p_text: float | None
    """Of `routing`, corrected for them."""
    routing_pays: bool
    routing_detectable: float | None
    detectable: Detectable | None
    held_out: Choice | None
    """The rule's own row: decided on training folds."""
    oracle: Choice | None
    repeatable: RepeatableOracle | None
    complete: int
    """Instances with a verdict of every model."""
    instances: int
    provisional: bool
    scripted: bool
    simulated: bool

    @property
    def money_kind(self) -> str:
        """See `harness.evaluation.formats.money_kind`."""
        return money_kind(scripted=self.scripted, simulated=self.simulated)


def headline(found: Findings) -> str:
    """What to use, in one sentence."""
    use, best = found.use, found.most_resolved
    if best is None:
        return "No recommendation yet: no instance has a verdict from every model."
    if found.models == 1:
        return f"Only {best.name} was run: {_resolved(best)}{_at(found, best)}."
    if use is None:
        return "No recommendation: no model resolved any instance."
    start = "Provisional: use" if found.provisional else "Use"
    if use.kind != "single":
        selects = found.selection is not None and found.selection.pays
        what = "selection among finished attempts by tests, policy" if selects else "the router"
        price = _at(found, use, compared=True, several=selects)
        return f"{start} {what} {use.name}: {_resolved(use)} held out, {_versus(use)}{price}."
    if use.name == best.name:
        equal = f"as many as {_listed(found.equals)}" if found.equals else f"the most of {found.models} models"
        low, high = use.rate_ci95
        rate = f"{use.rate:.1%} [{low:.1%}, {high:.1%}]"
        return f"{start} {use.name}: {_resolved(use)} ({rate}), {equal}{_at(found, use)}."
    return f"{start} {use.name}: {_resolved(use)}, {_versus(use)}{_at(found, use, compared=True)}."


def statements(found: Findings) -> list[Statement]:
    """What stands below the headline; what does not apply is left out."""
    texts = {
        "Caution": _caution(found),
        "Why": _why(found),
        "Routing": _routing(found),
        "Selection": _selection(found),
        "How sure": _how_sure(found),
        "Most resolved": _most_resolved(found),
        "Runner-up": _runner_up(found),
        "Head-room": _head_room(found),
    }
    return [Statement(label=label, text=text) for label, text in texts.items() if text]


def _caution(found: Findings) -> str:
    parts = []
    if found.scripted:
        parts.append("The models are scripted stand-ins: this says nothing about real models.")
    if found.simulated:
        parts.append("No model was run: all outcomes are simulated.")
    if found.complete < found.instances:
        missing = found.instances - found.complete
        parts.append(
            f"{counted_part(missing, found.instances, 'instance', 'lacks', 'lack')} a verdict of some model; models "
            f"are compared on the other {found.complete}."
        )
    if 0 < found.complete < FEW_INSTANCES and found.models > 1:
        parts.append(f"{counted(found.complete, 'instance is', 'instances are')} too few to tell models apart.")
    return " ".join(parts)


def _why(found: Findings) -> str:
    use, best = found.use, found.most_resolved
    if use is None or best is None or found.models == 1:
        return ""
    points = f"{100 * found.tolerance:g} points"
    rule = f"policy {found.rule}"
    if use.kind != "single":
        return (
            f"On the training folds, policy {found.taken} was ahead of the best fixed model, and the permutation test "
            f"confirmed it; this is the rule of {rule}."
        )
    if found.unpriced and found.unpriced[0] == best.name:
        text = "It resolved most. The cost of the best model is not fully known, so cost had no part in the choice."
    elif use.name != best.name:
        text = f"It is the cheapest model whose estimated rate is within {points} of the best (the rule of {rule})."
    elif found.cheapest:
        text = "It resolved most and costs least."
    else:
        text = f"It resolved most, and no cheaper model's estimated rate is within {points} of it (the rule of {rule})."
    others = [name for name in found.unpriced if name != best.name]
    if others and found.unpriced[0] != best.name:
        text += f" Not considered as cheaper, because their cost is not fully known: {_listed(others)}."
    if found.taken is not None:
        text += f" The rule itself would route with {found.taken}; add --policy {found.rule} to measure that held out."
    return text


def _most_resolved(found: Findings) -> str:
    best = found.most_resolved
    if best is None or found.use is None or found.use.name == best.name:
        return ""
    low, high = best.rate_ci95
    also = f", as many as {_listed(found.equals)}" if found.equals else ""
    return f"{best.name}: {_of(best)} ({best.rate:.1%} [{low:.1%}, {high:.1%}]){_at(found, best)}{also}."


def _runner_up(found: Findings) -> str:
    """Where the best model is recommended: the next one."""
    second = found.runner_up
    if second is None or found.use is None or found.most_resolved != found.use:
        return ""
    return f"{second.name}: {_of(second)}, {_versus(second)}{_at(found, second)}."


def _routing(found: Findings) -> str:
    row, best = found.routing, found.most_resolved
    if best is None or found.models == 1 or best.resolved == 0 or not found.policies:
        return ""
    if row is None:
        return "Nothing to gain: every policy that was tried gives all instances to one model."
    assert row.delta is not None  # cross-fitted rows exist only where there is a best single model
    if row.n < FEW_INSTANCES:
        opening = f"Cannot be judged on {counted(row.n, 'instance')}"
    elif found.routing_pays:
        opening = "Pays"
    elif row.delta > 0:
        opening = "Not shown to pay"
    else:
        opening = "Not worth it"
    name = f"the best policy, {row.name}," if found.policies > 1 else row.name
    tested = ""
    if row.delta > 0 and found.p_text is not None:
        what = "its choice" if reads_attempts(row) else "the text"
        tested = f" (test that {what} helps: p {p_value(found.p_text)})"
    text = f"{opening}: {name} resolves {_of(row)} held out, {_versus(row)}{tested}{_at(found, row)}."
    if found.constants is not None and row.n >= FEW_INSTANCES and found.constants.delta != row.delta:
        alone = [*found.constants.mixture]
        who = f"{alone[0]} alone resolves" if len(alone) == 1 else f"{' and '.join(alone)}, mixed at random, resolve"
        text += f" For as much, {who} {count(found.constants.resolved)}."
    if found.routing_detectable is not None and not found.routing_pays and row.n >= FEW_INSTANCES:
        text += f" A gain of less than {found.routing_detectable:.0f} would probably be missed."
    if found.routing_pays and found.use is not None and found.use.kind == "single":
        text += f" The rule of policy {found.rule} did not take it: within the training folds the gain was not clear."
    return text


def _selection(found: Findings) -> str:
    """Choosing among finished attempts: measured, or whether this pool is one where it could pay, and the price."""
    seen, row = found.selection, found.selected
    if seen is None:
        return ""
    if row is not None:
        opening = "Pays" if seen.pays else "Not shown to pay"
        if row.n < FEW_INSTANCES:
            opening = f"Cannot be judged on {counted(row.n, 'instance')}"
        figures = f"{_of(row)} held out, {_versus(row)}{_at(found, row, compared=True, several=True)}"
        return f"{opening}: choosing among finished attempts by tests resolves {figures}."
    attempts = f"{len(seen.members)} finished attempts"
    if len(seen.members) < LEAST_MEMBERS or found.complete < FEW_INSTANCES:
        return ""
    if seen.near < len(seen.members):
        few = "no other model is"
        if seen.near > 1:
            few = f"only {counted(seen.near - 1, 'other model is', 'other models are')}"
        return f"Choosing among {attempts} by tests is not worth trying: {few} within 4 points of the best."
    price = ""
    if seen.cost_share is not None:
        price = f"; their attempts cost {seen.cost_share:.1f} × as much as the best one's, plus the tests"
    return (
        f"Not measured: choosing among the finished attempts of the {len(seen.members)} best models by tests (policy "
        f"select) could pay. These models are within {seen.points:.1f} points of each other{price}."
    )


def _how_sure(found: Findings) -> str:
    use, seen = found.use, found.detectable
    if use is None or seen is None:
        return ""
    pair = "these two models" if seen.a == use.name else "the two best models"
    if seen.points is None:
        few = counted(seen.n, "instance is", "instances are")
        text = f"{few} too few to show a difference between {pair}, however large."
        if seen.discordant == 0:
            text = f"{pair.capitalize()} have the same verdict on every instance."
    else:
        text = (
            f"Brackets are 95 % intervals. A true difference of less than {seen.points:.1f} points "
            f"({seen.points * seen.n / 100:.0f} instances) between {pair} would probably be missed (power 80 %)."
        )
    row = found.held_out
    if use.kind == "single" and row is not None and row.n >= FEW_INSTANCES and row.delta is not None:
        if (row.resolved, row.delta) == (use.resolved, use.delta):
            text += " The rule makes the same choice on the training folds alone."
        else:
            text += f" Chosen on the training folds alone, the rule resolves {_of(row)} held out, {_versus(row)}."
    return text


def _head_room(found: Findings) -> str:
    oracle = found.oracle
    if oracle is None or found.models == 1 or oracle.resolved == 0:
        return ""
    text = f"{_of(oracle)} ({oracle.rate:.1%}) if the right model were always known"
    repeatable = found.repeatable
    if repeatable is None:
        return f"{text}. Part of that is luck; only repeated runs can show how much."
    interval = ""
    if repeatable.resolved_ci95 is not None:
        low, high = repeatable.resolved_ci95
        interval = f" [{low:.0f}, {high:.0f}]"
    return f"{text}. A second run would give about {repeatable.resolved:.0f}{interval}: the rest is luck."


def _of(choice: Choice) -> str:
    return f"{count(choice.resolved)} of {choice.n}"


def _resolved(choice: Choice) -> str:
    return f"{_of(choice)} resolved"


def _versus(choice: Choice) -> str:
    """Its difference to the best model, in words, with the interval."""
    if choice.delta is None or choice.delta_ci95 is None:
        return "not compared with the best model"
    low, high = (signed(value) for value in choice.delta_ci95)
    if count(abs(choice.delta)) in ("0", "0.0"):
        return f"as many as the best model [{low}, {high}]"
    return f"{count(abs(choice.delta))} {'more' if choice.delta > 0 else 'fewer'} than the best model [{low}, {high}]"


def _at(found: Findings, choice: Choice, *, compared: bool = False, several: bool = False) -> str:
    """Its cost, where it is known; of `several` attempts at every instance also that it is not."""
    if choice.cost_per_instance is None:
        return ", for several attempts per instance, whose cost is unknown" if several else ""
    price = f"{found.money_kind}{money(choice.cost_per_instance)} per instance"
    if not compared or choice.cost_share is None:
        return f", at {price}"
    return f", at {choice.cost_share:.0%} of its cost ({price})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {counted(len(names) - NAMED, 'other')}"

"""When a comparison should close the gate: a small language for `--fail-if`.

    routed drops by more than 1 pt [with 95 % confidence]
    any model drops by more than 5 instances [with 95 % confidence]
    model opus cost rises by more than 10 % [with 90 % confidence]
    routed seconds rise by more than 25 %
    any regression | routed regresses | model opus regresses
    any infrastructure failures
    any newly failing cluster
    any routing change

With a confidence, the whole interval of that level has to lie beyond the bound; without one, the difference itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.compare.compare import Comparison
from harness.compare.pairs import Compared, change
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.evaluation.stats import paired_bootstrap
from harness.evaluation.verdict import SIGNIFICANT
from harness.text import counted

DEFAULT_RULES = ("any regression",)
FORMS = (
    "SUBJECT drops by more than X pt|instances [with N % confidence]",
    "SUBJECT cost rises by more than X % [with N % confidence]",
    "SUBJECT seconds rise by more than X % [with N % confidence]",
    "SUBJECT regresses",
    "any regression",
    "any infrastructure failures",
    "any newly failing cluster",
    "any routing change",
)
SUBJECTS = "routed", "any model", "model NAME"

_SUBJECT = r"(?P<subject>routed|any model|model (?P<name>.+?))"
_SURE = r"(?: with (?P<sure>\d+(?:\.\d+)?) ?% confidence)?"
_NUMBER = r"(?P<bound>\d+(?:\.\d+)?)"
_DROP = re.compile(rf"{_SUBJECT} drops by more than {_NUMBER} ?(?P<unit>pts?|points?|instances?){_SURE}", re.IGNORECASE)
_RISE = re.compile(
    rf"{_SUBJECT} (?P<what>cost|seconds) rises? by more than {_NUMBER} ?(?:%|percent){_SURE}", re.IGNORECASE
)
_ANY = re.compile(r"any (?:infrastructure failure|newly failing cluster|routing change)s?", re.IGNORECASE)
_REGRESS = re.compile(rf"(?:any regression|{_SUBJECT} regresses)", re.IGNORECASE)


@dataclass(frozen=True)
class Broken:
    """A rule that a comparison breaks."""

    rule: str
    why: str


def check_rule(rule: str) -> None:
    """Raises InputError, listing the valid forms, unless a rule can be read; before anything is computed."""
    text = _plain(rule)
    match = _DROP.fullmatch(text) or _RISE.fullmatch(text) or _REGRESS.fullmatch(text)
    if match is None and not _ANY.fullmatch(text):
        raise InputError(
            f"--fail-if {rule!r}: not a rule; the forms are: {'; '.join(FORMS)}; SUBJECT is {', '.join(SUBJECTS)}"
        )
    sure = match.groupdict().get("sure") if match else None
    if sure is not None and not 0 < float(sure) < 100:
        raise InputError(f"--fail-if {rule!r}: a confidence lies between 0 and 100 %")


def broken(rules: Sequence[str], comparison: Comparison) -> list[Broken]:
    """The rules that the comparison breaks, each with the figures.

    Raises:
        InputError: a rule that cannot be read, or one about something the comparison does not have: a gate that cannot
            be judged must not look open.
    """
    for rule in rules:
        check_rule(rule)
    return [Broken(rule, why) for rule in rules for why in _judge(rule, comparison)]


def _judge(rule: str, comparison: Comparison) -> list[str]:
    text = _plain(rule)
    if drop := _DROP.fullmatch(text):
        wrong = _each(rule, _rows(drop, rule, comparison), lambda row: _dropped(row, drop))
        return wrong or _all_judged(rule, drop, comparison)
    if match := _RISE.fullmatch(text):
        rows = _rows(match, rule, comparison)
        wrong = [why for row in rows if (why := _risen(row, match, rule))]
        return wrong or _all_judged(rule, match, comparison)
    if match := _REGRESS.fullmatch(text):
        rows = _rows(match, rule, comparison) if match["subject"] else list(comparison.rows)
        return _each(rule, rows, _regressed) or _all_judged(rule, match, comparison)
    if "infrastructure" in text.casefold():
        failures = comparison.new_failures
        return [f"{counted(len(failures), 'cell')} without a verdict, e.g. {failures[0]}"] if failures else []
    if comparison.clusters == 0:
        raise InputError(
            f"--fail-if {rule!r}: no clusters were formed; they need --tasks (or runs) and 20 common instances"
        )
    if "cluster" in text.casefold():
        wrong = [
            f"{c.model} in cluster {c.cluster}: {c.base_resolved} → {c.new_resolved} of {c.size}, "
            f"p {c.p_holm:.2g} (Holm)"
            for c in comparison.failing
            if c.p_holm < SIGNIFICANT  # of many clusters and models some look bad by luck alone
        ]
        return wrong or _all_judged(rule, None, comparison)
    if comparison.no_routing:
        raise InputError(f"--fail-if {rule!r}: the routing was not compared: {comparison.no_routing}")
    return [f"cluster {c.cluster}: {c.base_model} → {c.new_model}" for c in comparison.routing]


def _each(rule: str, rows: Sequence[Compared], look: Callable[[Compared], str | None]) -> list[str]:
    """What breaks the rule. What only breaks it if missing verdicts were losses cannot be judged."""
    wrong = [why for row in rows if (why := look(row))]
    open_ = [row for row in rows if row.worst is not None and look(row.worst)]
    if not wrong and open_:
        row = open_[0]
        raise InputError(
            f"--fail-if {rule!r}: {row.name} lacks {row.missing} verdicts on the new side that the base has, e.g. "
            f"{row.worst.lost[-1] if row.worst and row.worst.lost else '?'}; the rule would be broken if they were "
            "losses: finish the run first"
        )
    return wrong


def _all_judged(rule: str, match: re.Match[str] | None, comparison: Comparison) -> list[str]:
    """Nothing, unless a rule about any model leaves one of the base out."""
    about_one = match is not None and match["subject"] is not None and match["subject"].casefold() != "any model"
    if comparison.unjudged and not about_one:
        raise InputError(
            f"--fail-if {rule!r}: of {', '.join(comparison.unjudged[:6])} the new side has no verdict to compare; if "
            "they left on purpose, name the others with --pool, or pair them with --match BASE=NEW"
        )
    return []


def _regressed(row: Compared) -> str | None:
    return f"{row.name}: {row.delta:+g}, p {row.p_holm:.2g} (Holm)" if row.judgement == "regression" else None


def _rows(match: re.Match[str], rule: str, comparison: Comparison) -> list[Compared]:
    if match["subject"].casefold() == "routed":
        rows = [row for row in comparison.rows if row.kind == "routed"]
        if not rows:
            raise InputError(f"--fail-if {rule!r}: no routed system could be compared ({comparison.no_routed})")
        return rows
    models = [row for row in comparison.rows if row.kind == "model"]
    if not models:
        raise InputError(f"--fail-if {rule!r}: no model is on both sides; pair them with --match BASE=NEW")
    if match["name"] is None:
        return models
    (name,) = match_names([match["name"]], [*(row.name for row in models), *comparison.unjudged])
    if name in comparison.unjudged:
        raise InputError(f"--fail-if {rule!r}: the new side has no verdict of {name} to compare")
    return [row for row in models if row.name == name]


def _dropped(row: Compared, match: re.Match[str]) -> str | None:
    points = match["unit"].lower().startswith("p")
    bound = float(match["bound"])
    scale = 100 / row.n if points else 1.0
    unit = " pt" if points else " instances"
    if match["sure"] is None:
        worst = row.delta * scale
        return f"{row.name}: {worst:+.3g}{unit}" if worst < -bound else None
    base, new = row.arrays
    interval = paired_bootstrap(new.resolved, base.resolved, level=float(match["sure"]) / 100)
    high = interval.high * scale
    why = f"{row.name}: {row.delta * scale:+.3g}{unit} [{interval.low * scale:+.3g}, {high:+.3g}]"
    return why if high < -bound else None


def _risen(row: Compared, match: re.Match[str], rule: str) -> str | None:
    what = match["what"].casefold()
    base, new = row.arrays
    level = 0.95 if match["sure"] is None else float(match["sure"]) / 100
    moved = change(getattr(base, what), getattr(new, what), level=level)
    if moved is None:
        raise InputError(f"--fail-if {rule!r}: the {what} of {row.name} is unknown on one side")
    if not moved.whole:
        raise InputError(
            f"--fail-if {rule!r}: the {what} of {row.name} is known of {moved.n} of {row.n} instances only; "
            "the rule cannot be judged"
        )
    if moved.percent is None or moved.percent_ci95 is None:  # nothing before: any percentage of it is nothing, too
        return f"{row.name}: {what} {moved.base:g} → {moved.new:.3g}" if moved.new > moved.base else None
    low, high = moved.percent_ci95
    least = moved.percent if match["sure"] is None else low
    return (
        f"{row.name}: {what} {moved.percent:+.1f} % [{low:+.1f}, {high:+.1f}]"
        if least > float(match["bound"])
        else None
    )


def _plain(rule: str) -> str:
    return " ".join(rule.split())

"""What a sequential test answers: one decision per model, as JSON and as a short Markdown summary."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK
from harness.files import write_atomic
from harness.regression.gate import Progress, look
from harness.regression.plan import Comparison, Plan
from harness.text import line, markdown
from router.lab.sequential import Decision, Look

FLIPS_SHOWN = 60
ROWS_SHOWN = 5
HEADLINES_SHOWN = 3
DETAILS_SHOWN = 2
NOTES_SHOWN = 3
_URGENT = (Decision.WORSE, Decision.OPEN, Decision.HOPELESS, Decision.NOT_WORSE)
"""What a summary shows first."""


@dataclass(frozen=True)
class Answer:
    """What is said of one model."""

    model: str
    base: str
    decision: Decision
    instances: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    resolved_base: int
    """Of these instances."""
    resolved_new: int
    evidence_of_drop: float
    evidence_against: float
    needs_usd: float | None
    """About what more it would take to decide, at the rate at which evidence came so far; None: cannot be said."""


@dataclass(frozen=True)
class RegressionResult:
    """Everything `regress` found."""

    answers: tuple[Answer, ...]
    drop: float
    alpha: float
    instances: int
    """That could have been run."""
    spent_usd: float
    stopped: str
    """Why it ended: no further instance was needed, interrupted, cost limit, or all instances were run."""
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """A model is worse; every model is not worse; or undecided."""
        decisions = {answer.decision for answer in self.answers}
        if Decision.WORSE in decisions:
            return EXIT_FINDINGS
        return EXIT_OK if decisions == {Decision.NOT_WORSE} else EXIT_INCOMPLETE

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "exit_code": self.exit_code, **asdict(self)}


def conclude(plan: Plan, progress: Progress, stopped: str) -> RegressionResult:
    """From what is finished."""
    answers = []
    for comparison in plan.comparisons:
        verdicts = progress.verdicts[comparison.name]
        found = look(plan, comparison, verdicts)
        done = plan.instances[: found.instances]
        pairs = [(i, old, verdicts[i]) for i, old in zip(done, comparison.base.tolist(), strict=False)]
        answers.append(
            Answer(
                model=comparison.name,
                base=comparison.base_name,
                decision=found.decision,
                instances=found.instances,
                lost=tuple(i for i, old, new in pairs if old == 1 and new == 0),
                gained=tuple(i for i, old, new in pairs if old == 0 and new == 1),
                resolved_base=sum(old == 1 for _, old, new in pairs if not np.isnan(new)),
                resolved_new=sum(new == 1 for *_, new in pairs),
                evidence_of_drop=round(found.worse, 3),
                evidence_against=round(found.not_worse, 3),
                needs_usd=_needs(plan, comparison, found, progress.spent_usd),
            )
        )
    notes = list(plan.notes)
    if failed := sorted({i for v in progress.verdicts.values() for i, value in v.items() if np.isnan(value)}):
        notes.append(f"no verdict, not the models' fault: {', '.join(failed[:8])}{' …' if len(failed) > 8 else ''}")
    settings = plan.settings
    return RegressionResult(
        tuple(answers), settings.drop, settings.alpha, len(plan.instances), progress.spent_usd, stopped, tuple(notes)
    )


def _needs(plan: Plan, comparison: Comparison, found: Look, spent: float) -> float | None:
    """USD until the stronger of the two kinds of evidence would suffice, if it kept coming as it did."""
    gained = max(np.log(max(found.worse, 1e-9)), np.log(max(found.not_worse, 1e-9)))
    need = -np.log(comparison.gate.settings.alpha)
    if found.decision in (Decision.WORSE, Decision.NOT_WORSE) or gained <= 0.1 or not found.instances or spent <= 0:
        return None
    share = spent / len(plan.comparisons)
    return round(float(share * (need - gained) / gained), 2)


def render(result: RegressionResult) -> str:
    """Markdown of at most 20 lines, the flips folded."""
    points = f"{100 * result.drop:g} points"
    answers = sorted(result.answers, key=lambda answer: _URGENT.index(answer.decision))
    lines = [f"**{markdown(a.model)}: {markdown(sentence(a, result))}**" for a in answers[:HEADLINES_SHOWN]]
    lines += [
        "",
        "| model | instances | base | new | lost / gained | evidence of a drop | against |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for a in answers[:ROWS_SHOWN]:
        lines.append(
            f"| {markdown(a.model)} | {a.instances} of {result.instances} | {a.resolved_base} | {a.resolved_new} | "
            f"{len(a.lost)} / {len(a.gained)} | {a.evidence_of_drop:.3g} | {a.evidence_against:.3g} |"
        )
    need = len(answers) / result.alpha
    more = f" {len(answers) - ROWS_SHOWN} more models are in regression.json." if len(answers) > ROWS_SHOWN else ""
    lines += [
        "",
        f"Spent ${result.spent_usd:,.2f}; ended: {markdown(result.stopped)}. Evidence of {need:g} decides (α = "
        f"{result.alpha:g}, at any time of stopping). It is sought for two answers: worse at all, and not worse by "
        f"{points} or more.{more}",
    ]
    lines += [f"- {markdown(note)}" for note in result.notes[:NOTES_SHOWN]]
    for a in [answer for answer in answers if answer.lost or answer.gained][:DETAILS_SHOWN]:
        title = f"{html.escape(line(a.model))}: {len(a.lost)} lost, {len(a.gained)} gained"
        lines.append("")
        lines.append(
            f"<details><summary>{title}</summary>lost: {_listed(a.lost)}<br>gained: {_listed(a.gained)}</details>"
        )
    return "\n".join(lines)


def sentence(answer: Answer, result: RegressionResult) -> str:
    """The answer in words."""
    points = f"{100 * result.drop:g} points"
    if answer.decision is Decision.WORSE:
        return "worse than the base"
    if answer.decision is Decision.NOT_WORSE:
        return f"not worse by {points} or more"
    more = "" if answer.needs_usd is None else f"; would need about ${answer.needs_usd:,.2f} more"
    if answer.decision is Decision.HOPELESS:
        return f"undecided: the instances left are unlikely to tell a drop of {points} from luck{more}"
    return f"undecided: {result.stopped}{more}"


def _listed(ids: Sequence[str]) -> str:
    """For HTML."""
    more = f", … {len(ids) - FLIPS_SHOWN} more" if len(ids) > FLIPS_SHOWN else ""
    return html.escape(line(", ".join(ids[:FLIPS_SHOWN]))) + more or "–"


def write_result(result: RegressionResult, folder: Path) -> Path:
    """regression.json and regression.md in the run's folder."""
    path = folder / "regression.json"
    write_atomic(path, json.dumps(result.to_json(), indent=1) + "\n")
    write_atomic(folder / "regression.md", render(result) + "\n")
    return path

"""One model, or the routed system, on both sides: differences on the instances that both know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.compare.noise import ExpectedFlips, Noise
from harness.evaluation.stats import holm, mcnemar_exact, paired_bootstrap, sign_flip_p
from harness.evaluation.verdict import SIGNIFICANT

Array = NDArray[np.float64]
Judgement = Literal["identical", "within noise", "unclear", "improvement", "regression", "other instances"]


@dataclass(frozen=True)
class Outcomes:
    """What one side resolved on some instances, and at what cost; NaN where it is unknown."""

    resolved: Array
    """(n,) 0 or 1, or means over repeats."""
    cost: Array
    """(n,) USD."""
    seconds: Array
    """(n,)"""

    def take(self, rows: Any) -> Outcomes:
        """The outcomes on some of the instances."""
        return Outcomes(resolved=self.resolved[rows], cost=self.cost[rows], seconds=self.seconds[rows])

    def extended(self, resolved: Array) -> Outcomes:
        """With verdicts on further instances, whose costs and seconds are unknown."""
        unknown = np.full(len(resolved), np.nan)
        return Outcomes(
            resolved=np.concatenate([self.resolved, resolved]),
            cost=np.concatenate([self.cost, unknown]),
            seconds=np.concatenate([self.seconds, unknown]),
        )


@dataclass(frozen=True)
class Change:
    """A mean per instance on both sides; a lower bound where some instances have none."""

    base: float
    new: float
    n: int
    """Instances that it is known of on both sides."""
    percent: float | None
    """Change in percent of the base; None where that is nothing, or where it is not known of every instance."""
    percent_ci95: tuple[float, float] | None
    base_unknown: float = 0.0
    """Share of the instances of which the base does not know it."""
    new_unknown: float = 0.0
    """The same of the new side."""

    @property
    def whole(self) -> bool:
        """Known of every instance on both sides."""
        return self.base_unknown == self.new_unknown == 0


@dataclass(frozen=True)
class Compared:
    """A row of the comparison."""

    name: str
    new_name: str
    kind: Literal["model", "routed"]
    n: int
    base_resolved: float
    new_resolved: float
    delta: float
    """Instances, new minus base."""
    ci95: tuple[float, float]
    """Paired bootstrap over instances."""
    p_value: float
    """Exact McNemar; for means over repeats random signs."""
    p_holm: float
    """Corrected over all rows."""
    gained: tuple[str, ...]
    """Resolved by the new side only."""
    lost: tuple[str, ...]
    expected: ExpectedFlips
    """What two runs of the same model would show."""
    judgement: Judgement
    cost: Change | None
    seconds: Change | None
    how: str = ""
    """How a routed row was made."""
    missing: int = 0
    """Instances that only the base has a verdict on: left out."""
    worst: Compared | None = field(default=None, repr=False, compare=False)
    """The same row if the new side resolved none of the missing; not written."""
    arrays: Any = field(default=None, repr=False, compare=False)
    """(base, new) Outcomes, for rules with another confidence; not written."""

    @property
    def flips(self) -> int:
        return len(self.gained) + len(self.lost)


def compare_pair(
    name: str,
    instances: Sequence[str],
    base: Outcomes,
    new: Outcomes,
    noise: Noise,
    *,
    new_name: str | None = None,
    kind: Literal["model", "routed"] = "model",
    how: str = "",
    seed: int = 0,
) -> Compared:
    """Compare two outcomes of the same instances, all verdicts known.

    Args:
        name: Of the model, or of the routed system.
        instances: (n,) ids.
        base: Of n instances.
        new: Of the same.
        noise: What re-running alone changes.
        new_name: Where the new side calls it otherwise.
        kind: What is compared.
        how: How a routed row was made.
        seed: Of the bootstrap.
    """
    difference = new.resolved - base.resolved
    n = len(instances)
    whole = bool(np.isin(np.concatenate([base.resolved, new.resolved]), (0.0, 1.0)).all())
    gained = tuple(instances[i] for i in np.flatnonzero(difference >= 0.5).tolist())
    lost = tuple(instances[i] for i in np.flatnonzero(difference <= -0.5).tolist())
    p = mcnemar_exact(len(gained), len(lost)) if whole else sign_flip_p(difference, seed)
    interval = paired_bootstrap(new.resolved, base.resolved, seed=seed)
    rate = float((base.resolved.mean() + new.resolved.mean()) / 2)
    return Compared(
        name=name,
        new_name=new_name or name,
        kind=kind,
        n=n,
        base_resolved=float(base.resolved.sum()),
        new_resolved=float(new.resolved.sum()),
        delta=round(float(difference.sum()), 9),
        ci95=(round(interval.low, 9), round(interval.high, 9)),
        p_value=p,
        p_holm=p,
        gained=gained,
        lost=lost,
        expected=noise.flips(rate, n),
        judgement="identical",
        cost=change(base.cost, new.cost, seed),
        seconds=change(base.seconds, new.seconds, seed),
        how=how,
        arrays=(base, new),
    )


def with_missing(row: Compared, instances: Sequence[str], resolved: Array, noise: Noise, seed: int = 0) -> Compared:
    """The row with the instances that the base has verdicts on and the new side has none.

    Args:
        row: Over the instances that both sides know.
        instances: Those that the new side lacks.
        resolved: (n,) the base's verdicts on them.
        noise: What re-running alone changes.
        seed: Of the bootstrap.
    """
    if not len(instances):
        return row
    base, new = row.arrays
    worst = compare_pair(
        row.name,
        [*([""] * row.n), *instances],  # only flips and totals count: names are those of the extension alone
        base.extended(resolved),
        new.extended(np.zeros(len(instances))),
        noise,
        new_name=row.new_name,
        kind=row.kind,
        how=row.how,
        seed=seed,
    )
    return replace(row, missing=len(instances), worst=worst)


def judged(rows: Sequence[Compared]) -> list[Compared]:
    """The rows with p corrected by Holm over all of them, and what to think of each.

    A regression (or improvement) needs both: p_holm < 0.05, and a difference of the totals that two runs of the same
    model hardly show; one of the two alone is unclear. Many flips without a difference of the totals are a change of
    behaviour, not of quality: other instances.
    """
    corrected = _corrected(rows)
    worst = _corrected([row.worst or row for row in rows])
    return [row if row.worst is None else replace(row, worst=w) for row, w in zip(corrected, worst, strict=True)]


def _corrected(rows: Sequence[Compared]) -> list[Compared]:
    corrected = holm([row.p_value for row in rows])
    return [replace(row, p_holm=p, judgement=_judge(row, p)) for row, p in zip(rows, corrected, strict=True)]


def _judge(row: Compared, p_holm: float) -> Judgement:
    if row.delta == 0 and not row.flips:
        return "identical"
    significant, beyond = p_holm < SIGNIFICANT, abs(row.delta) > row.expected.band
    if significant and beyond:
        return "improvement" if row.delta > 0 else "regression"
    if beyond or (significant and row.kind == "model"):  # means over repeats are significant for next to nothing
        return "unclear"
    if row.kind == "model" and row.flips > row.expected.mean + 2 * row.expected.sd:
        return "other instances"
    return "within noise"


def change(base: Array, new: Array, seed: int = 0, level: float = 0.95) -> Change | None:
    """Means per instance, and their ratio's interval; lower bounds without a ratio where some values are unknown.

    Args:
        base: (n,) not negative, NaN where unknown.
        new: The same.
        seed: Of the bootstrap.
        level: Coverage of the interval.

    Returns:
        None where no instance is known on both sides.
    """
    both = ~np.isnan(base) & ~np.isnan(new)
    n = int(both.sum())
    if not n:
        return None
    unknown = float(np.isnan(base).mean()), float(np.isnan(new).mean())
    means = float(np.nan_to_num(base).mean()), float(np.nan_to_num(new).mean())
    if any(unknown):
        return Change(
            base=means[0],
            new=means[1],
            n=n,
            percent=None,
            percent_ci95=None,
            base_unknown=unknown[0],
            new_unknown=unknown[1],
        )
    if base.sum() <= 0:
        return Change(base=means[0], new=means[1], n=n, percent=None, percent_ci95=None)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=2000)
    sums = drawn @ base
    ratios = (drawn @ new)[sums > 0] / sums[sums > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Change(
        base=means[0],
        new=means[1],
        n=n,
        percent=100 * float(new.sum() / base.sum() - 1),
        percent_ci95=(100 * (float(low) - 1), 100 * (float(high) - 1)),
    )

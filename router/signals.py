"""Signals of finished attempts as arrays, each relative to what its model usually does.

Forty calls are few for one model and many for another. So amounts are taken as logarithms, and every signal is
standardised by the mean and spread of the same model's training attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import FloatArray, mean_known
from router.attempt import FinishedAttempt
from router.outcomes import OutcomeMatrix

AMOUNTS = ("cost", "calls", "seconds")
"""signals that every outcome matrix has columns for"""
LOGARITHMIC = frozenset(
    (*AMOUNTS, "prompt_tokens", "completion_tokens", "patch_bytes", "patch_lines", "patch_files", "tests_touched")
)
"""amounts: the logarithm tells more than the number"""
LIVE_ONLY = frozenset(("patch_agrees", "patch_similarity"))
"""Made anew while an instance is decided, from the attempts made so far. What is recorded under these names was made
from other attempts, so nothing is fitted on it and no replay hands it on. What is recorded of a pair, under a name such
as `patch_agrees@MODEL` (against that model's patch alone), a replay turns into the live signal."""
FROM_OTHERS = frozenset(("tests_valid", "own_tests_fixed"))
"""Counted with tests or attempts of others, all that were made when it was recorded: nothing is fitted on these, and a
replay hands on only what a live run would know: `own_tests_fixed` where every model of the record has run."""
OF_TESTS = frozenset(("tests_fixed", "own_tests_fixed", "tests_faked", "existing_broken", "existing_obsolete"))
"""What tests say of an attempt: a policy that reads one of these pays for the tests."""
OF_INSTANCE = ("tests_cost_usd", "tests_seconds")
"""USD and seconds that an instance's tests took so far, the same on each attempt: paid for, and not fitted on, as they
grow with every further attempt that is tested and would change what was decided before it."""
PAIR = "@"
"""between the name of such a signal and the model compared with, in recorded outcomes"""
LIMIT = 4.0
"""standard deviations beyond which an attempt is just extreme"""


def signal_names(outcomes: OutcomeMatrix) -> tuple[str, ...]:
    """Signals known for at least one cell that an attempt shows by itself (not LIVE_ONLY) and that is fitted on."""
    amounts = [name for name in AMOUNTS if not np.isnan(getattr(outcomes, name)).all()]
    others = [name for name in sorted(outcomes.signals) if not np.isnan(outcomes.signals[name]).all()]
    return (*amounts, *(name for name in others if _of_one_attempt(name) and name not in OF_INSTANCE))


def _of_one_attempt(name: str) -> bool:
    return name not in FROM_OTHERS and name.partition(PAIR)[0] not in LIVE_ONLY


def recorded_signals(outcomes: OutcomeMatrix, row: int, cells: Sequence[int]) -> list[dict[str, float]]:
    """What a live run would know of the recorded attempts `cells` of one row, by signal, if it had made no others."""
    own = {name: values[row] for name, values in outcomes.signals.items() if _of_one_attempt(name)}
    if len(cells) == len(outcomes.models) > 1 and "own_tests_fixed" in outcomes.signals:  # counted with all of them
        own["own_tests_fixed"] = outcomes.signals["own_tests_fixed"][row]
    pairs = {name: pair_signal(outcomes, name, [row]) for name in sorted(LIVE_ONLY)}
    signals = []
    for cell in cells:
        others = [other for other in cells if other != cell]
        recorded = {name: pair[0, cell, others] for name, pair in pairs.items() if pair is not None and others}
        live = {name: float(mean_known(values)) for name, values in recorded.items()}
        signals.append({name: float(values[cell]) for name, values in own.items()} | live)
    return signals


def pair_signal(outcomes: OutcomeMatrix, name: str, rows: Sequence[int] | slice = slice(None)) -> FloatArray | None:
    """(n, m, m) a LIVE_ONLY signal of each attempt against each other model's; None where it is not recorded."""
    columns = [outcomes.signals.get(f"{name}{PAIR}{model}") for model in outcomes.models]
    if all(column is None for column in columns):
        return None
    unknown = np.full(outcomes.resolved.shape, np.nan)
    return np.stack([(unknown if column is None else column)[rows] for column in columns], axis=-1)


def has_signals(outcomes: OutcomeMatrix, names: Sequence[str]) -> bool:
    """Whether one of the named signals is known of an attempt, or none is named."""
    known = outcomes.signals
    return not names or any(not np.isnan(known[name]).all() for name in names if name in known)


def any_varies(outcomes: OutcomeMatrix, names: Sequence[str]) -> bool:
    """Whether a named signal ever differs between two attempts of one model: constants tell nothing."""
    table = signal_table(outcomes, names)
    low, high = np.where(np.isnan(table), np.inf, table), np.where(np.isnan(table), -np.inf, table)
    return bool((high.max(axis=0, initial=-np.inf) > low.min(axis=0, initial=np.inf)).any())


def signal_table(outcomes: OutcomeMatrix, names: Sequence[str]) -> FloatArray:
    """(n, m, s) the named signals, amounts as logarithms, NaN where unknown."""
    unknown = np.full(outcomes.resolved.shape, np.nan)
    columns = [getattr(outcomes, name) if name in AMOUNTS else outcomes.signals.get(name, unknown) for name in names]
    if not columns:
        return np.zeros((*outcomes.resolved.shape, 0))
    return np.stack([_scaled(name, column) for name, column in zip(names, columns, strict=True)], axis=-1)


def attempt_signals(attempt: FinishedAttempt, names: Sequence[str]) -> FloatArray:
    """(s,) the named signals of one attempt, as `signal_table` has them."""
    own = {"cost": attempt.cost_usd, "calls": attempt.calls, "seconds": attempt.seconds}
    values = [own[name] if name in own else attempt.signals.get(name) for name in names]
    numbers = [np.nan if value is None else float(value) for value in values]
    return np.array(
        [float(_scaled(name, np.array(number))) for name, number in zip(names, numbers, strict=True)], dtype=np.float64
    )


@dataclass(frozen=True, eq=False)
class SignalHistory:
    """What each model's signals usually are; everything of it comes from training attempts."""

    names: tuple[str, ...]
    mean: FloatArray
    """(m, s)"""
    spread: FloatArray
    """(m, s) standard deviation, 1 where there is none"""

    @classmethod
    def fit(cls, outcomes: OutcomeMatrix, names: Sequence[str] | None = None) -> SignalHistory:
        """From training outcomes; `names` defaults to every signal that is known of any cell."""
        names = signal_names(outcomes) if names is None else tuple(names)
        table = signal_table(outcomes, names)
        mean = mean_known(table, axis=0)
        spread = np.sqrt(mean_known((table - mean) ** 2, axis=0))
        usable = np.nan_to_num(spread) > 1e-9
        return cls(tuple(names), np.nan_to_num(mean), np.where(usable, spread, 1.0))

    def relative(self, table: FloatArray, model: int | slice = slice(None)) -> FloatArray:
        """`table` (…, m, s), or (…, s) of one model, in that model's standard deviations; NaN stays NaN."""
        return np.asarray(np.clip((table - self.mean[model]) / self.spread[model], -LIMIT, LIMIT))


def features(relative: FloatArray) -> FloatArray:
    """(…, 3s) regression features of relative signals (…, s): value, square, and whether it is missing.

    The square lets both very short and very long attempts look suspicious. A missing value counts as usual.
    """
    missing = np.isnan(relative)
    value = np.where(missing, 0.0, relative)
    return np.concatenate([value, np.where(missing, 0.0, value**2 - 1.0), missing.astype(np.float64)], axis=-1)


def _scaled(name: str, values: FloatArray) -> FloatArray:
    if name not in LOGARITHMIC:
        return np.asarray(values, dtype=np.float64)
    # below a thousandth of a cent an attempt has cost nothing
    return np.asarray(np.log(np.maximum(values, 1e-5)) if name == "cost" else np.log1p(values))

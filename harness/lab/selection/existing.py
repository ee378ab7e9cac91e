"""Existing tests of the repository, really run before and after each patch: alarms, and what a gate brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.evaluation.stats import wilson_interval
from harness.importers.finished import GOLD, FinishedAttempts
from harness.lab.selection.pools import Field, Signals, compare, play_known
from harness.lab.selection.signals import quality
from router.arrays import FloatArray, IntArray
from router.policies.select import SelectPolicy

FAR_AHEAD = 1000.0
"""Weight of a fixed test where broken ones only break ties: more than any patch breaks."""


def study_existing(field: Field, with_tests: Field) -> dict[str, Any]:
    """Everything about existing tests, on the instances where they were run.

    Args:
        field: every candidate.
        with_tests: those whose patches were run against generated tests.
    """
    found = field.attempts
    if found.existing is None:
        return {}
    rows = found.existing.row
    broken, without_gold = _counts(found, oracle=False), _counts(found, oracle=True)
    resolved = found.resolved[np.ix_(rows, field.columns)]
    alarm = broken[np.ix_(rows, field.columns)] >= 1
    gold = [len(tests[GOLD]) >= 1 for tests in found.existing.broken if GOLD in tests]
    limit = SelectPolicy().broken_limit
    rules: dict[str, tuple[Field, Signals]] = {
        "fewest_broken": (field, lambda pool: {"tests_fixed": _fewest(broken, pool)}),
        "fewest_broken_without_obsolete_oracle": (field, lambda pool: {"tests_fixed": _fewest(without_gold, pool)}),
        f"gate_from_{limit}_broken": (field, lambda pool: {"existing_broken": broken[:, pool]}),
    }
    if found.tests is not None:
        fixed = found.tests.fixed(len(found.instances))
        rules |= {
            "tests_fixed_alone": (with_tests, lambda pool: {"tests_fixed": fixed[:, pool]}),
            "tests_fixed_then_fewest_broken": (
                with_tests,
                lambda pool: {"tests_fixed": FAR_AHEAD * fixed[:, pool] + _fewest(broken, pool)},
            ),
            f"select_with_gate_from_{limit}_broken": (
                with_tests,
                lambda pool: {"tests_fixed": fixed[:, pool], "existing_broken": broken[:, pool]},
            ),
        }
    return {
        "instances": len(rows),
        "repositories": sorted({found.instances[row].split("__")[0] for row in rows}),
        "alarms": {
            "unresolved": _rate(alarm[resolved == 0]),
            "resolved": _rate(alarm[resolved == 1]),
            "gold": _rate(np.array(gold)),
        },
        "signals": {
            "existing_broken": quality(-broken[np.ix_(rows, field.columns)], resolved),
            "existing_broken_without_obsolete_oracle": quality(-without_gold[np.ix_(rows, field.columns)], resolved),
        },
        "gains": {name: _gain(*rule, rows) for name, rule in rules.items()},
    }


def _gain(field: Field, signals: Signals, rows: IntArray) -> dict[str, Any]:
    """Mean over all pools of 3 on these rows, against the best member in hindsight, who is the default."""
    known, best = play_known(field, field.pools(3), signals)
    return {"pools": len(known)} | compare(known[:, rows], best[:, rows])


def _counts(found: FinishedAttempts, *, oracle: bool) -> FloatArray:
    """(n, m) broken existing tests; with the oracle, without those that the reference patch breaks as well."""
    if found.existing is None or not oracle:
        return found.broken
    counts = np.full(found.resolved.shape, np.nan)
    for row, broken in zip(found.existing.row, found.existing.broken, strict=True):
        for h, model in enumerate(found.models):
            if model in broken:
                counts[row, h] = len(broken[model] - broken.get(GOLD, frozenset()))
    return counts


def _fewest(broken: FloatArray, pool: IntArray) -> FloatArray:
    return -np.nan_to_num(broken[:, pool])


def _rate(alarms: np.ndarray[Any, np.dtype[np.bool_]]) -> Mapping[str, Any] | None:
    if not len(alarms):
        return None
    low, high = wilson_interval(int(alarms.sum()), len(alarms))
    return {"alarms": int(alarms.sum()), "of": len(alarms), "ci95": [round(low, 3), round(high, 3)]}

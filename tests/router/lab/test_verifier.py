from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lab.crossfit import folds
from router.lab.verifier import Verifier, auc, crossfit_verifier, judge, within_auc, within_aucs
from router.lab.verifier_needed import _escalated, what_it_takes
from router.logistic import fit_logistic, fit_with_intercepts, with_constant
from router.outcomes import OutcomeError, OutcomeMatrix
from router.signals import SignalHistory, any_varies, attempt_signals, features, signal_names, signal_table


def recorded(n: int = 300, telling: float = 1.0) -> OutcomeMatrix:
    """Two models with very different habits; a right attempt takes less of whatever is its model's usual."""
    rng = np.random.default_rng(0)
    right = (rng.random((n, 2)) < [0.6, 0.75]).astype(float)
    calls = np.exp([2.0, 4.0] + 0.5 * (rng.normal(size=(n, 2)) - telling * right))
    return OutcomeMatrix.build([str(i) for i in range(n)], ["brisk", "slow"], right, cost=calls / 50, calls=calls)


def test_held_out_probabilities_are_telling_and_calibrated() -> None:
    outcomes = recorded()
    judged = judge(crossfit_verifier(outcomes, folds(300, 5, 1)), outcomes.resolved)
    assert judged.auc_ci95[0] > 0.65
    assert judged.auc_ci95[0] < judged.auc < judged.auc_ci95[1]
    assert judged.brier < judged.brier_of_rates
    assert max(abs(part.predicted - part.observed) for part in judged.bins) < 0.2
    assert sum(part.n for part in judged.bins) == 600


def test_signals_that_tell_nothing_leave_the_rate() -> None:
    outcomes = recorded(telling=0.0)
    judged = judge(crossfit_verifier(outcomes, folds(300, 5, 1)), outcomes.resolved)
    assert judged.auc_ci95[0] < 0.5 < judged.auc_ci95[1] + 0.05
    assert judged.brier < judged.brier_of_rates + 0.01


def test_an_attempt_is_seen_as_its_recorded_cell_is() -> None:
    from router.attempt import FinishedAttempt

    outcomes = recorded(20)
    history = SignalHistory.fit(outcomes)
    assert history.names == ("cost", "calls") == signal_names(outcomes)
    table = history.relative(signal_table(outcomes, history.names))
    attempt = FinishedAttempt("slow", cost_usd=outcomes.cost[3, 1], calls=outcomes.calls[3, 1])
    assert history.relative(attempt_signals(attempt, history.names), 1) == pytest.approx(table[3, 1])
    unknown = features(history.relative(attempt_signals(FinishedAttempt("slow"), history.names), 1))
    assert unknown.tolist() == [0, 0, 0, 0, 1, 1]


def test_signals_that_never_vary_are_none() -> None:
    outcomes = OutcomeMatrix.build(["a", "b"], "mn", [[1, 0], [0, 1]], cost=[[1, 2], [1, 2]])
    assert not any_varies(outcomes, signal_names(outcomes))
    assert any_varies(recorded(20), ("calls",))
    assert not any_varies(outcomes, ())


def test_without_verdicts_there_is_nothing_to_learn() -> None:
    with pytest.raises(OutcomeError, match="verdicts"):
        Verifier().fit(OutcomeMatrix.build(["a"], ["m"], [[np.nan]]))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    right = [score for score, y in pairs if y]
    wrong = [score for score, y in pairs if not y]
    scores, y = np.array([s for s, _ in pairs], dtype=float), np.array([float(y) for _, y in pairs])
    expected = np.mean([(a > b) + (a == b) / 2 for a in right for b in wrong]) if right and wrong else np.nan
    assert auc(scores, y) == pytest.approx(expected, nan_ok=True)
    assert within_auc(scores[:, None], y[:, None]) == pytest.approx(expected, nan_ok=True)


def test_sums_per_model_find_the_weights_of_the_whole_design() -> None:
    rng = np.random.default_rng(2)
    n, m = 60, 5
    z = rng.normal(size=(4, n, m))
    z[2] = 0.0  # a signal that is never missing has such a column
    y = (rng.random((n, m)) < 0.6).astype(float)
    y[rng.random((n, m)) < 0.2] = np.nan
    design = with_constant(np.broadcast_to(np.eye(m), (n, m, m)), np.moveaxis(z, 0, -1)).reshape(n * m, -1)
    expected = fit_logistic(design, y.ravel(), penalty=2.0)
    found = fit_with_intercepts(z, y, penalty=2.0)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[1 + m + 2] == 0.0
    assert fit_with_intercepts(z[:0], y) == pytest.approx(fit_logistic(design[:, : 1 + m], y.ravel()), abs=1e-12)


def test_counted_samples_have_the_auc_of_samples_written_out() -> None:
    rng = np.random.default_rng(3)
    n, m = 40, 3
    predicted = rng.integers(0, 6, (n, m)) / 5  # many ties
    resolved = (rng.random((n, m)) < [0.5, 0.8, 1.0]).astype(float)  # the last has no pairs
    predicted[rng.random((n, m)) < 0.1] = np.nan
    resolved[rng.random((n, m)) < 0.1] = np.nan
    samples = [rng.integers(n, size=n) for _ in range(20)]
    counts = np.array([np.bincount(sample, minlength=n) for sample in samples])
    for sample, found in zip(samples, within_aucs(predicted, resolved, counts), strict=True):
        weighted, pairs = 0.0, 0.0
        for p, y in zip(predicted[sample].T, resolved[sample].T, strict=True):
            known = ~np.isnan(p) & ~np.isnan(y)
            weight = float((y[known] == 1).sum() * (y[known] == 0).sum())
            if weight:
                weighted += weight * auc(p[known], y[known])
                pairs += weight
        assert found == pytest.approx(weighted / pairs, abs=1e-12)
    assert np.isnan(within_auc(predicted[:, 2:], np.ones((n, 1))))


def test_what_escalates_is_counted_as_if_every_price_were_tried() -> None:
    rng = np.random.default_rng(4)
    gain = rng.integers(-3, 4, (5, 7)) / 4  # some gains equal a price: they stay
    better = rng.integers(-1, 2, (5, 7)).astype(float)
    for prices in (np.array([0.0, 0.25, 0.5, 2.0]), np.zeros(3)):
        added, times = _escalated(gain, prices, better)
        for k, price in enumerate(prices):
            goes = gain > price
            assert added[k] == (goes * better).sum()
            assert times[k].tolist() == goes.sum(axis=0).tolist()


def test_a_better_verifier_reaches_more_and_a_useless_one_the_best_single() -> None:
    rng = np.random.default_rng(1)
    right = (rng.random((200, 2)) < [0.6, 0.7]).astype(float)
    outcomes = OutcomeMatrix.build([str(i) for i in range(200)], "ab", right, np.tile([0.1, 1.0], (200, 1)))
    points = what_it_takes(outcomes, aucs=(0.5, 0.7, 0.9), budgets=(1.0, 1.5), draws=10)
    at_par = [point.resolved for point in points if point.budget == 1.0]
    assert at_par[0] == pytest.approx(right.sum(axis=0).max(), abs=3)
    assert at_par[0] < at_par[1] < at_par[2] < (right.max(axis=1)).sum()
    assert all(point.cost <= point.budget + 1e-9 for point in points)
    with pytest.raises(OutcomeError, match="every cost"):
        what_it_takes(OutcomeMatrix.build(["a"], "ab", [[1, 0]]))

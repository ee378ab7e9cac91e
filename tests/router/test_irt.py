import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from router.irt import Priors, fit_irt


def simulated(n: int = 400, m: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    ability, slope = rng.normal(0, 1.2, m), np.maximum(rng.normal(1, 0.3, n), 0.2)
    difficulty = rng.normal(0.3, 1.5, n)
    p = expit(np.outer(slope, ability) - difficulty[:, None])
    return ability, slope, difficulty, p, (rng.random((n, m)) < p).astype(float)


def test_recovers_the_parameters_it_was_simulated_from() -> None:
    ability, slope, difficulty, p, resolved = simulated()
    fit = fit_irt(resolved)
    assert np.corrcoef(fit.ability, ability)[0, 1] > 0.98
    assert np.corrcoef(fit.difficulty, difficulty)[0, 1] > 0.95
    assert np.corrcoef(fit.slope, slope)[0, 1] > 0.5
    assert np.abs(fit.probability() - p).mean() < 0.06


def test_slopes_shrink_to_the_common_one() -> None:
    resolved = simulated()[-1]
    free, tight = fit_irt(resolved, Priors(slope_sd=0.5)), fit_irt(resolved, Priors(slope_sd=0.05))
    assert tight.slope.std() < free.slope.std() / 3
    assert (fit_irt(resolved, Priors(slope_sd=0)).slope == 1).all()


def test_the_fit_is_a_maximum_and_deterministic() -> None:
    resolved = simulated(80, 20)[-1]
    priors = Priors()
    fit = fit_irt(resolved, priors, max_iterations=500, tolerance=1e-9)

    def log_posterior(ability, slope, difficulty) -> float:
        z = np.outer(slope, ability) - difficulty[:, None]
        penalty = (ability**2).sum() / priors.ability_sd**2 + ((slope - 1) ** 2).sum() / priors.slope_sd**2
        penalty += ((difficulty - difficulty.mean()) ** 2).sum() / priors.difficulty_sd**2
        return float((resolved * z - np.logaddexp(0, z)).sum() - penalty / 2)

    best = log_posterior(fit.ability, fit.slope, fit.difficulty)
    rng = np.random.default_rng(1)
    for _ in range(20):
        moved = [v + rng.normal(0, 0.01, v.shape) for v in (fit.ability, fit.slope, fit.difficulty)]
        assert log_posterior(*moved) < best
    assert np.array_equal(fit_irt(resolved).difficulty, fit_irt(resolved).difficulty)


def test_missing_cells_cost_precision_not_correctness() -> None:
    ability, _, difficulty, _, resolved = simulated()
    holes = np.random.default_rng(3).random(resolved.shape) < 0.5
    fit = fit_irt(np.where(holes, np.nan, resolved))
    assert np.corrcoef(fit.ability, ability)[0, 1] > 0.95
    assert np.corrcoef(fit.difficulty, difficulty)[0, 1] > 0.9


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 8), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_whatever_the_verdicts_parameters_stay_finite(n: int, m: int, rate: float, missing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    resolved = np.where(rng.random((n, m)) < missing, np.nan, (rng.random((n, m)) < rate).astype(float))
    resolved[0, 0] = 1.0
    fit = fit_irt(resolved)
    for values in (fit.ability, fit.slope, fit.difficulty):
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 50
    p = fit.probability()
    assert ((p >= 0) & (p <= 1)).all()


def test_rows_and_columns_of_one_kind_stay_finite_and_in_order() -> None:
    resolved = simulated(60, 10)[-1]
    resolved[0], resolved[1], resolved[:, 0], resolved[:, 1] = 0.0, 1.0, 0.0, 1.0
    fit = fit_irt(resolved)
    assert fit.difficulty[0] > np.median(fit.difficulty) > fit.difficulty[1]
    assert fit.ability[0] == fit.ability.min()
    assert fit.ability[1] == fit.ability.max()


def test_identical_models_are_equally_able() -> None:
    resolved = simulated(60, 6)[-1]
    fit = fit_irt(np.column_stack([resolved, resolved[:, 0]]))
    assert fit.ability[0] == pytest.approx(fit.ability[-1], abs=1e-9)


def test_senseless_verdicts_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        fit_irt(np.ones(3))
    with pytest.raises(ValueError, match="no verdict"):
        fit_irt(np.full((2, 2), np.nan))


def test_items_fitted_around_what_other_runs_told_are_those_of_all_runs_together() -> None:
    resolved = simulated(m=48)[-1]
    together = fit_irt(resolved)
    others = fit_irt(resolved[:, 8:])
    around = fit_irt(resolved[:, :8], around=others)
    assert np.corrcoef(around.difficulty, together.difficulty)[0, 1] > 0.995
    assert np.corrcoef(around.slope, together.slope)[0, 1] > 0.98
    assert np.corrcoef(around.ability, together.ability[:8])[0, 1] > 0.99
    assert around.iterations < 12
    with pytest.raises(ValueError, match="around 400 items"):
        fit_irt(resolved[:9, :8], around=others)

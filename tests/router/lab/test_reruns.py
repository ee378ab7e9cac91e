"""Simulated reruns flip as often as was recorded, and lose as much as they are told to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lab.reruns import Flips, RerunModel, Shape, measure_flips, worsen


def model(share: float = 0.13, rate: float = 0.7, n: int = 400) -> RerunModel:
    rng = np.random.default_rng(1)
    return RerunModel.fit(rng.uniform(0.3, 1.5, n), rng.normal(scale=2.0, size=n), Flips(rate, share))


def test_drawn_models_have_the_rate_and_flip_as_often_as_the_repeats_did() -> None:
    p = model().draw(0.7, models=400, seed=0)
    assert p.mean() == pytest.approx(0.7, abs=0.01)
    assert (2 * p * (1 - p)).mean() == pytest.approx(0.13, abs=0.005)


def test_the_more_verdicts_flip_the_less_of_a_models_strength_repeats() -> None:
    assert model(0.10).offset_sd > model(0.15).offset_sd > model(0.20).offset_sd


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 0.4), st.sampled_from(["shift", "lapse"]))
def test_a_worse_version_resolves_less_by_the_drop(drop: float, shape: Shape) -> None:
    rerun = model(n=60)
    before = rerun.draw(0.7, models=50, seed=3)
    after = worsen(before, rerun.slope, drop, shape)
    assert before.mean() - after.mean() == pytest.approx(drop, abs=1e-3)
    assert (after <= before + 1e-9).all()


@pytest.mark.parametrize("shape", ["shift", "lapse"])
def test_lost_and_gained_are_what_runs_of_the_two_show(shape: Shape) -> None:
    rerun = model(n=100)
    lost, gained = rerun.discordant(0.7, 0.1, shape)
    before = rerun.draw(0.7, models=20_000, seed=5)
    after = worsen(before, rerun.slope, 0.1, shape)
    assert (before * (1 - after)).mean() == pytest.approx(lost.mean(), abs=0.004)
    assert ((1 - before) * after).mean() == pytest.approx(gained.mean(), abs=0.004)


def test_flips_are_counted_over_all_pairs_of_runs() -> None:
    runs = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]], dtype=float)
    assert measure_flips(runs) == Flips(rate=6 / 12, share=pytest.approx((1 + 2 + 1) / 12))
    with pytest.raises(ValueError, match="2 runs"):
        measure_flips(runs[:, :1])

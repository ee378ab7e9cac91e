"""The gate raises false alarms as rarely as it says, whenever it is stopped, and sees what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.arrays import FloatArray
from router.lab.reruns import Flips, RerunModel, worsen
from router.lab.sequential import Decision, GateSettings, SequentialGate

N = 200


def rerun_model() -> RerunModel:
    rng = np.random.default_rng(0)
    return RerunModel.fit(rng.uniform(0.3, 1.5, N), rng.normal(scale=2.0, size=N), Flips(0.7, 0.13))


@pytest.fixture(scope="module")
def gate() -> SequentialGate:
    return SequentialGate(rerun_model(), np.arange(N), rate=0.7, settings=GateSettings(drop=0.05))


def ends(gate: SequentialGate, before: FloatArray, after: FloatArray, seed: int) -> list[Decision]:
    rng = np.random.default_rng(seed)
    found = []
    for p, q in zip(before, after, strict=True):
        base, new = (rng.random(N) < p).astype(float), (rng.random(N) < q).astype(float)
        looks = gate.looks(base, new, gate.schedule())
        found.append(next((one.decision for one in looks if one.decision is not Decision.OPEN), Decision.OPEN))
    return found


def test_false_alarms_at_any_look_are_rarer_than_alpha(gate: SequentialGate) -> None:
    p = rerun_model().draw(0.7, models=600, seed=1)
    rng = np.random.default_rng(2)
    alarms = 0
    for row in p:
        base, new = (rng.random(N) < row).astype(float), (rng.random(N) < row).astype(float)
        alarms += any(one.worse >= 1 / 0.05 for one in gate.looks(base, new, gate.schedule()))
    assert alarms / 600 <= 0.05 + 2 * (0.05 * 0.95 / 600) ** 0.5


def test_a_large_drop_is_seen_early_and_is_never_called_not_worse(gate: SequentialGate) -> None:
    before = rerun_model().draw(0.7, models=100, seed=3)
    after = worsen(before, gate_slope(), 0.25, "shift")
    found = ends(gate, before, after, seed=4)
    assert found.count(Decision.WORSE) >= 95
    assert Decision.NOT_WORSE not in found


@pytest.mark.parametrize("shape", ["shift", "lapse"])
def test_the_drop_asked_about_is_seldom_called_not_worse(gate: SequentialGate, shape: str) -> None:
    before = rerun_model().draw(0.7, models=200, seed=5)
    after = worsen(before, gate_slope(), 0.05, shape)  # type: ignore[arg-type]
    assert ends(gate, before, after, seed=6).count(Decision.NOT_WORSE) <= 0.05 * 200 + 6


def gate_slope() -> FloatArray:
    return rerun_model().slope


def test_the_test_may_end_after_every_ten_instances_and_after_the_last() -> None:
    def schedule(n: int) -> list[int]:
        return SequentialGate(rerun_model(), np.arange(n), rate=0.7).schedule()

    assert (schedule(4), schedule(10), schedule(25)) == ([4], [10], [10, 20, 25])


def test_what_is_unknown_or_equal_says_nothing(gate: SequentialGate) -> None:
    base = np.ones(20)
    assert gate.look(base, base).worse == 1.0
    assert gate.look(base, np.full(20, np.nan)).worse == 1.0
    assert gate.look(np.full(20, np.nan), np.zeros(20)).not_worse == 1.0


MIRROR = SequentialGate(rerun_model(), np.arange(N), rate=0.7)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=60))
def test_losses_and_gains_mirror_each_other(signs: list[int]) -> None:
    """One more loss is more evidence of a drop and less against it; the count is right at every look."""
    gate = MIRROR
    base = np.array([sign >= 0 for sign in signs], dtype=float)
    new = np.array([sign <= 0 for sign in signs], dtype=float)
    found = gate.look(base, new)
    assert (found.lost, found.gained) == (signs.count(1), signs.count(-1))
    more = gate.look(np.append(base, 1.0), np.append(new, 0.0))
    assert more.worse > found.worse
    assert more.not_worse < found.not_worse


def test_hopeless_is_said_when_the_rest_cannot_decide() -> None:
    gate = SequentialGate(rerun_model(), np.arange(N), rate=0.7, settings=GateSettings(drop=0.03))
    same = np.ones(N)
    at_once, at_last = gate.looks(same, same, [10, N])
    assert at_once.chance > at_last.chance == 0.0
    assert at_last.decision is Decision.HOPELESS

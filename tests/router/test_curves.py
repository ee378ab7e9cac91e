import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.curves import aiq, area, hull, pareto, qnc

points = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1)), min_size=1, max_size=15).map(
    lambda pairs: tuple(np.array(pairs).T)
)


@given(points)
def test_pareto_keeps_exactly_what_no_other_point_beats(curve) -> None:
    cost, quality = curve
    xs, ys = pareto(cost, quality)
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) > 0).all()
    for c, q in zip(cost, quality, strict=True):
        assert ((xs <= c) & (ys >= q)).any()


@given(points)
def test_figures_ignore_order_repeats_and_dominated_points(curve) -> None:
    cost, quality = curve
    worse = (np.append(cost[::-1], cost.max()), np.append(quality[::-1], 0.0))
    assert area(*worse) == pytest.approx(area(cost, quality))
    assert aiq(*worse) == pytest.approx(aiq(cost, quality))
    assert qnc(*worse, 1.0, 0.5) == pytest.approx(qnc(cost, quality, 1.0, 0.5))


@given(points, st.floats(0.1, 100))
def test_figures_do_not_depend_on_the_currency(curve, rate: float) -> None:
    cost, quality = curve
    assert area(cost * rate, quality) == pytest.approx(area(cost, quality))
    assert aiq(cost * rate, quality) == pytest.approx(aiq(cost, quality))
    assert qnc(cost * rate, quality, rate, 0.5) == pytest.approx(qnc(cost, quality, 1.0, 0.5))


@given(points)
def test_the_hull_lies_on_or_above_every_point_and_bends_down(curve) -> None:
    xs, ys = hull(*curve)
    assert (np.interp(curve[0], xs, ys) >= curve[1] - 1e-9).all()
    assert (np.diff(np.diff(ys) / np.diff(xs)) <= 1e-9).all()


@given(points, st.floats(0.01, 10), st.floats(0, 1))
def test_another_point_never_makes_a_curve_worse(curve, cost: float, quality: float) -> None:
    more = (np.append(curve[0], cost), np.append(curve[1], quality))
    assert aiq(*more, 0.01, 10) >= aiq(*curve, 0.01, 10) - 1e-9
    assert qnc(*more, 1.0, quality) <= cost * (1 + 1e-9)


@given(points)
def test_figures_stay_between_worst_and_best(curve) -> None:
    cost, quality = curve
    assert 0 <= area(cost, quality) <= quality.max() + 1e-9
    assert aiq(cost, quality) <= quality.max() + 1e-9
    # a mean over the hull is at least the mean over the cleaned curve it covers
    low, high = cost.min(), cost.max()
    if high > low:
        assert aiq(cost, quality) * (high - low) >= area(cost, quality) * high - 1e-9


def test_known_values() -> None:
    cost, quality = np.array([1.0, 2.0, 4.0]), np.array([0.4, 0.5, 0.8])
    # trapezoids 0.45·1 + 0.65·2 over c_max 4; the middle point is under the hull
    assert area(cost, quality) == pytest.approx(1.75 / 4)
    assert aiq(cost, quality) == pytest.approx(0.6)
    assert area(cost, quality, c_max=8.0) == pytest.approx((1.75 + 0.8 * 4) / 8)
    assert area(cost, quality, c_max=2.0) == pytest.approx(0.45 / 2)
    assert aiq(cost, quality, 4.0, 8.0) == pytest.approx(0.8)
    assert area(cost, quality, c_max=0.5) == 0


def test_a_single_model_is_quality_neutral_to_itself() -> None:
    cost, quality = np.array([0.2, 0.7]), np.array([0.6, 0.75])
    assert qnc(cost, quality, 0.7, 0.75) == pytest.approx(1)
    assert qnc(cost, quality, 0.7, 0.675) == pytest.approx(0.45 / 0.7)
    assert qnc(cost, quality, 0.7, 0.5) == pytest.approx(0.2 / 0.7)
    assert qnc(cost, quality, 0.7, 0.76) == float("inf")
    assert aiq(np.array([0.2]), np.array([0.6])) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: area(np.array([0.0]), np.array([0.5])), "c_max must be a positive cost"),
        (lambda: qnc(np.array([1.0]), np.array([0.5]), 0.0, 0.5), "single_cost must be a positive cost"),
        (lambda: aiq(np.array([1.0]), np.array([0.5]), 2.0, 1.0), "c_min=2.0 is above c_max=1.0"),
        (lambda: pareto(np.array([1.0, 2.0]), np.array([0.5])), "equally long"),
        (lambda: hull(np.array([np.nan]), np.array([0.5])), "unknown cost"),
    ],
)
def test_senseless_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Curves that agree with points: the arithmetic against brute force, and what is never drawn."""

import numpy as np
import pytest
from scipy import optimize

from tsugiki.measure.curve_shapes import (
    EXPONENT,
    FLAT,
    LATE,
    POWER,
    REACH,
    SATURATING,
    Curves,
    best_power_law,
    draw_curves,
)

SIZES = np.array([50.0, 100.0, 200.0, 400.0])


def one(family, top, gap, half, slope):
    return Curves(*(np.array([value]) for value in (family, top, gap, half, slope)))


@pytest.mark.parametrize(
    ("family", "law"),
    [
        (POWER, lambda n: 0.9 - 0.4 * (n / 50) ** -0.7),
        (LATE, lambda n: 0.9 - 0.4 / (1 + (n / 50) ** 0.7)),
        (SATURATING, lambda n: 0.9 - 0.4 * 2 ** -((n / 50) ** 0.7)),
    ],
)
def test_a_curve_and_its_inverse(family, law):
    curve = one(family, 0.9, 0.4, 50.0, 0.7)
    assert curve.at(SIZES)[0] == pytest.approx([law(n) for n in SIZES])
    for n in (60.0, 1234.0):
        assert curve.first_size(law(n), 50)[0] == pytest.approx(n)
    assert curve.first_size(0.9, 50)[0] == np.inf and curve.first_size(0.95, 50)[0] == np.inf
    assert curve.first_size(0.1, 50)[0] == 50


def test_a_flat_line_reaches_its_level_at_once_and_nothing_else_ever():
    curve = one(FLAT, 0.6, 0.0, 1.0, 1.0)
    assert curve.at(SIZES)[0] == pytest.approx([0.6] * 4)
    assert curve.first_size(0.6, 50)[0] == 50
    assert curve.first_size(0.61, 50)[0] == np.inf


@pytest.mark.parametrize(
    "values", [[0.2, 0.4, 0.55, 0.65], [0.6, 0.6, 0.6, 0.6], [0.0, 0.0, 0.1, 0.5], [0.7, 0.6, 0.5, 0.4]]
)
def test_what_is_drawn_rises_and_stays_between_nothing_and_everything(values):
    curves = draw_curves(SIZES, np.array(values), np.eye(4) * 0.03**2, seed=1)
    drawn = curves.at(np.geomspace(50, 4000, 20))
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (np.diff(drawn, axis=1) >= -1e-12).all()
    assert sum(curves.share(kind) for kind in range(4)) == pytest.approx(1)


def test_the_curves_are_the_posterior_of_a_brute_force_rejection():
    """Power laws alone: exponents and both ends drawn from the prior, kept by their likelihood."""
    rng = np.random.default_rng(0)
    values, deviation = np.array([0.3, 0.45, 0.5, 0.62]), 0.05
    count = 2_000_000
    exponent = np.exp(rng.uniform(np.log(EXPONENT[0]), np.log(EXPONENT[1]), count))
    first, last = rng.random((2, count))
    left = (400 / 50) ** -exponent
    gap = (last - first) / (1 - left)
    top = last + gap * left
    allowed = (gap >= 0) & (top - gap * (REACH * 400 / 50) ** -exponent <= 1)
    misfit = sum(
        ((top - gap * (n / 50) ** -exponent - value) / deviation) ** 2 for n, value in zip(SIZES, values, strict=True)
    )
    kept = allowed & (rng.random(count) < np.exp(-misfit / 2))
    expected = (top - gap * (800 / 50) ** -exponent)[kept]
    curves = draw_curves(SIZES, values, np.eye(4) * deviation**2, seed=3)
    found = curves.at(np.array([800.0]))[curves.family == POWER, 0]
    for level in (0.05, 0.5, 0.95):
        assert np.quantile(found, level) == pytest.approx(np.quantile(expected, level), abs=0.015)


def test_the_best_power_law_is_scipys():
    values, covariance = np.array([0.35, 0.5, 0.61, 0.66]), np.diag([0.03, 0.02, 0.02, 0.01]) ** 2
    found = best_power_law(SIZES, values, covariance)
    assert found is not None

    def misfit(law):
        floor, scale, exponent = law
        return float((((1 - values - floor - scale * SIZES**-exponent) ** 2) / np.diag(covariance)).sum())

    oracle = optimize.minimize(
        misfit, (0.2, 5.0, 0.5), bounds=[(0, 1), (0, 100), (0.1, 2.0)], method="L-BFGS-B", options={"maxiter": 10_000}
    )
    assert misfit(found) <= oracle.fun + 0.05
    assert found[2] == pytest.approx(oracle.x[2], rel=0.15)
    assert best_power_law(SIZES, values[::-1], covariance) is None


def test_points_that_share_their_luck_leave_less_of_it_in_the_rise():
    values = np.array([0.3, 0.4, 0.5, 0.6])
    apart = np.eye(4) * 0.04**2
    together = 0.04**2 * (0.1 * np.eye(4) + 0.9)

    def rises(covariance):
        drawn = draw_curves(SIZES, values, covariance, seed=0).at(SIZES)
        return np.std(drawn[:, -1] - drawn[:, 0])

    assert rises(together) < 0.7 * rises(apart)


@pytest.mark.parametrize("items", [500, 5_000, 500_000])
def test_points_that_no_form_passes_through_still_leave_a_width(items):
    sizes, values = np.array([50.0, 100.0, 200.0, 400.0]), np.array([0.600, 0.599, 0.677, 0.690])
    covariance = (0.1 * np.eye(4) + 0.1) / items
    forecasts = [draw_curves(sizes, values, covariance, seed=seed).at(np.array([1600.0]))[:, 0] for seed in range(3)]
    medians = [float(np.median(drawn)) for drawn in forecasts]
    assert max(medians) - min(medians) < 0.01
    for drawn in forecasts:
        low, high = np.quantile(drawn, [0.05, 0.95])
        assert high - low > 0.02 and low > 0.66

"""Learning curves: recovered where the law is known, honest where the points cannot tell."""

import numpy as np
import pytest
from scipy import optimize

from tsugiki.measure.curve import EXPONENTS, Point, _fit_all, fit_curve, least_data
from tsugiki.measure.stats import Estimate, mean_with_interval

SIZES = (50, 100, 200, 400, 800)


def law(n, floor=0.1, scale=4.0, exponent=0.6):
    return 1 - floor - scale * n**-exponent


def points(values, half=0.005, sizes=SIZES):
    return [
        Point(n, Estimate(value, value - half, value + half, 200, "x")) for n, value in zip(sizes, values, strict=True)
    ]


def test_recovers_a_known_law():
    curve = fit_curve("lora", points([law(n) for n in SIZES], half=0.001), confidence=0.95)
    assert curve.fit.exponent == pytest.approx(0.6, abs=0.03)
    assert curve.fit.floor == pytest.approx(0.1, abs=0.02)
    value, low, high = curve.fit.quality_at(1600, confidence=0.95)
    assert low <= law(1600) <= high
    assert value == pytest.approx(law(1600), abs=0.005)


def test_the_closed_form_agrees_with_scipys_nnls():
    rng = np.random.default_rng(0)
    sizes, weights = np.array(SIZES, dtype=float), rng.uniform(0.5, 2, 5)
    errors = rng.uniform(0, 1, (20, 5))
    found = _fit_all(sizes, errors, weights)
    for row, (floor, scale, exponent) in zip(errors, found, strict=True):
        ours = np.sum(weights * (row - floor - scale * sizes**-exponent) ** 2)
        root = np.sqrt(weights)
        designs = [np.stack([root, root * sizes**-each], axis=1) for each in EXPONENTS]
        assert ours == pytest.approx(min(optimize.nnls(design, root * row)[1] for design in designs) ** 2, abs=1e-9)


def test_least_data_with_its_interval():
    curve = fit_curve("lora", points([law(n) for n in SIZES]), confidence=0.95)
    least, reason = least_data(curve, law(500), confidence=0.95)
    assert reason is None
    assert least.n == pytest.approx(500, rel=0.1)
    assert 300 < least.low < 500 < least.high < 800


def test_least_data_covers():
    rng = np.random.default_rng(1)
    inside = []
    for run in range(60):
        noisy = [law(n) + rng.normal(0, 0.01) for n in SIZES]
        least, _ = least_data(
            fit_curve("lora", points(noisy, half=0.0196), confidence=0.95, seed=run), law(300), confidence=0.95
        )
        inside.append(least is not None and least.low <= 300 <= least.high)
    assert np.mean(inside) >= 0.88


def same_items(rng, items=200, seeds=2):
    """Every size answers the same items, hard ones for all sizes: right where the curve is above the difficulty."""
    difficulty = rng.random(items)
    found = []
    for n in SIZES:
        table = [(difficulty < law(n) + rng.normal(0, 0.01)).astype(float).tolist() for _ in range(seeds)]
        found.append(Point(n, mean_with_interval(table, confidence=0.95), table))
    return found


def test_least_data_covers_where_all_sizes_answer_the_same_items():
    """The whole curve is lifted or lowered with the luck of the test set, which no number of sizes averages out."""
    rng = np.random.default_rng(2)
    together, apart = [], []
    for run in range(40):
        measured = same_items(rng)
        for inside, given in ((together, measured), (apart, [Point(one.n, one.quality) for one in measured])):
            curve = fit_curve("lora", given, confidence=0.95, seed=run)
            _, low, high = curve.fit.quality_at(200, confidence=0.95)
            inside.append(low <= law(200) <= high)
    assert np.mean(together) >= 0.88 > np.mean(apart)


def test_a_target_met_at_the_smallest_size_is_not_extrapolated_downwards():
    least, _ = least_data(
        fit_curve("lora", points([0.9, 0.92, 0.93, 0.94, 0.95]), confidence=0.95), 0.5, confidence=0.95
    )
    assert (least.n, least.low, least.high) == (50, 50, 50)


@pytest.mark.parametrize(
    ("measured", "target", "reason"),
    [
        (points([0.5, 0.6], sizes=(50, 100)), 0.7, "too_few_sizes"),
        (points([0.5, 0.51, 0.6], sizes=(50, 50, 100)), 0.7, "too_few_sizes"),
        ([], 0.7, "too_few_sizes"),
        (points([0.7, 0.65, 0.6, 0.55, 0.5]), 0.8, "no_gain_from_data"),
        (points([law(n) for n in SIZES]), 0.95, "out_of_reach"),
        (points([0.4, 0.5, 0.55, 0.6, 0.62], half=0.15), 0.68, "cannot_tell"),
    ],
)
def test_none_with_a_reason(measured, target, reason):
    assert least_data(fit_curve("lora", measured, confidence=0.95), target, confidence=0.95) == (None, reason)


def test_json_is_the_contracts_learning_curve():
    found = fit_curve("lora", points([law(n) for n in SIZES]), confidence=0.95).as_json(
        "exact_match", law(500), confidence=0.95
    )
    assert set(found) >= {"method", "points", "fit", "least_data"}
    assert set(found["least_data"]) == {"n", "low", "high"}
    assert found["points"][0]["quality"]["metric"] == "exact_match"
    assert found["reason"] is None
    short = fit_curve("lora", points([0.5, 0.6], sizes=(50, 100)), confidence=0.95)
    assert short.as_json("chrf", 0.7, confidence=0.95)["fit"] is None
    assert short.as_json("chrf", 0.7, confidence=0.95)["reason"] == "too_few_sizes"

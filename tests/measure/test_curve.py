"""Learning curves: recovered where the law is known, honest where the points cannot tell, forecasts that hold."""

import math

import numpy as np
import pytest

from benchmarks.curve_worlds import SHAPES, worlds
from tsugiki.measure.curve import EXTRAPOLATION, Point, advice, backtest, fit_curve, forecast, least_data
from tsugiki.measure.stats import Estimate, mean_with_interval

SIZES = (50, 100, 200, 400, 800)


def law(n, floor=0.1, scale=4.0, exponent=0.6):
    return 1 - floor - scale * n**-exponent


def points(values, half=0.005, sizes=SIZES):
    return [
        Point(n, Estimate(value, value - half, value + half, 200, "x")) for n, value in zip(sizes, values, strict=True)
    ]


def fitted(values, **rest):
    return fit_curve("lora", points(values, **rest), confidence=0.95)


LAW = [law(n) for n in SIZES]


def test_recovers_a_known_law():
    curve = fitted(LAW, half=0.001)
    value, low, high = curve.quality_at(1600, confidence=0.95)
    assert low <= law(1600) <= high
    assert value == pytest.approx(law(1600), abs=0.01)
    fit = curve.as_json("exact_match", 0.7, confidence=0.95)["fit"]
    assert fit["exponent"] == pytest.approx(0.6, abs=0.04)
    assert fit["floor"] == pytest.approx(0.1, abs=0.03)
    assert fit["shares"]["flat"] == 0


def test_least_data_with_its_interval():
    least, reason = least_data(fitted(LAW), law(500), confidence=0.95)
    assert reason is None
    assert least.n == pytest.approx(500, rel=0.1)
    assert 300 < least.low < 500 < least.high < 800


def test_least_data_covers():
    rng = np.random.default_rng(1)
    inside = []
    for run in range(60):
        noisy = points([law(n) + rng.normal(0, 0.01) for n in SIZES], half=0.0196)
        least, _ = least_data(fit_curve("lora", noisy, confidence=0.95, seed=run), law(300), confidence=0.95)
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
            _, low, high = curve.quality_at(200, confidence=0.95)
            inside.append(low <= law(200) <= high)
    assert np.mean(together) >= 0.88 > np.mean(apart)


def test_a_target_met_at_the_smallest_size_is_not_extrapolated_downwards():
    least, _ = least_data(fitted([0.9, 0.92, 0.93, 0.94, 0.95]), 0.5, confidence=0.95)
    assert (least.n, least.low, least.high) == (50, 50, 50)


@pytest.mark.parametrize(
    ("measured", "target", "reason"),
    [
        (points([0.5, 0.6], sizes=(50, 100)), 0.7, "too_few_sizes"),
        (points([0.5, 0.51, 0.6], sizes=(50, 50, 100)), 0.7, "too_few_sizes"),
        ([], 0.7, "too_few_sizes"),
        (points([0.7, 0.65, 0.6, 0.55, 0.5]), 0.8, "no_gain_from_data"),
        (points(LAW), 0.95, "out_of_reach"),
        (points([0.4, 0.5, 0.55, 0.6, 0.62], half=0.15), 0.68, "cannot_tell"),
    ],
)
def test_none_with_a_reason(measured, target, reason):
    assert least_data(fit_curve("lora", measured, confidence=0.95), target, confidence=0.95) == (None, reason)


def test_a_forecast_for_twice_and_four_times_the_data():
    found = forecast(fitted(LAW), law(1500), confidence=0.9)
    assert [(one.n, one.factor) for one in found] == [(1600, 2), (3200, 4)]
    for one in found:
        assert one.quality.low <= law(one.n) <= one.quality.high
        assert one.quality.value == pytest.approx(law(one.n), abs=0.02)
    widths = [one.quality.high - one.quality.low for one in found]
    assert widths[0] < widths[1]
    assert found[0].reaches < found[1].reaches
    assert forecast(fitted([0.5, 0.6], sizes=(50, 100)), 0.7, confidence=0.9) is None


def test_nothing_is_forecast_beyond_the_reach():
    curve = fitted(LAW)
    curve.quality_at(EXTRAPOLATION * 800, confidence=0.9)
    with pytest.raises(AssertionError, match="10 times the largest"):
        curve.quality_at(EXTRAPOLATION * 800 + 1, confidence=0.9)


@pytest.mark.parametrize(
    ("measured", "target", "code"),
    [
        (points(LAW), law(400), "reached"),
        (points(LAW), law(1100), "collect"),
        (points(LAW, half=0.04), law(2400), "stages"),
        (points(LAW), 0.97, "unlikely"),
        (points([0.5] * 5), 0.7, "unlikely"),
        (points([0.60, 0.58, 0.57, 0.56, 0.55], half=0.12), 0.62, "unlikely"),
    ],
)
def test_advice_follows_the_chances(measured, target, code):
    found = advice(fit_curve("lora", measured, confidence=0.95), target)
    assert found["code"] == code
    assert [one["n"] for one in found["chances"]] == [800, 1600, 3200, 8000]
    reaches = [one["reaches"] for one in found["chances"]]
    assert reaches == sorted(reaches)  # no drawn curve falls
    assert advice(fitted([0.5, 0.6], sizes=(50, 100)), 0.7) is None


def test_the_smaller_sizes_forecast_the_largest_one():
    found = backtest(fitted(LAW), confidence=0.95)
    assert found.measured == LAW[-1] and found.holds
    assert found.forecast.value == pytest.approx(LAW[-1], abs=0.02)
    assert not backtest(fitted([*LAW[:-1], 0.5]), confidence=0.95).holds
    assert backtest(fitted(LAW[:3], sizes=SIZES[:3]), confidence=0.95) is None


def test_a_look_back_holds_as_often_as_it_says():
    """On known curves, with all noise of a measurement."""
    held = [backtest(fit_curve("lora", world.points, confidence=0.9, seed=number), confidence=0.9).holds
            for number, world in enumerate(worlds("power law", 80, seed=4, confidence=0.9))]  # fmt: skip
    assert np.mean(held) >= 0.82


def test_simulated_worlds_are_what_they_say():
    for shape in SHAPES:
        world = next(worlds(shape, 1, seed=0, confidence=0.9))
        assert len(world.points) == 4 and world.largest == 8 * world.smallest
        if math.isfinite(world.least) and world.least > world.smallest:
            assert world.quality(world.least) == pytest.approx(world.target, abs=1e-6)


# Who takes off late shows it late: four sizes foretell that worst.
@pytest.mark.parametrize(("shape", "least", "most"), [("power law", 0.8, 0.06), ("late", 0.65, 0.09)])
def test_forecasts_cover_the_truth(shape, least, most):
    inside, errors = [], []
    for number, world in enumerate(worlds(shape, 60, seed=5, confidence=0.9)):
        one = forecast(fit_curve("lora", world.points, confidence=0.9, seed=number), 0.5, confidence=0.9)[0]
        inside.append(one.quality.low <= world.quality(one.n) <= one.quality.high)
        errors.append(abs(one.quality.value - world.quality(one.n)))
    assert np.mean(inside) >= least
    assert np.mean(errors) <= most


def test_json_is_the_contracts_learning_curve():
    found = fitted(LAW).as_json("exact_match", law(500), confidence=0.95)
    assert set(found) >= {"method", "points", "fit", "least_data", "forecast"}
    assert set(found["least_data"]) == {"n", "low", "high"}
    assert found["points"][0]["quality"]["metric"] == "exact_match"
    assert found["reason"] is None and found["forecast_reason"] is None
    assert set(found["forecast"][0]) == {"n", "factor", "quality", "reaches"}
    assert found["forecast"][0]["quality"]["method"] == "learning curve"
    assert found["backtest"]["n"] == 800 and found["backtest"]["holds"] is True
    short = fitted([0.5, 0.6], sizes=(50, 100)).as_json("chrf", 0.7, confidence=0.95)
    assert short["fit"] is short["forecast"] is short["advice"] is short["backtest"] is None
    assert short["reason"] == short["forecast_reason"] == "too_few_sizes"

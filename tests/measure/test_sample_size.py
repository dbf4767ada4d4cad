"""Numbers of rows against the exact binomial distribution, statsmodels and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tsugiki.measure.sample_size import rows_for_interval, rows_for_margin, rows_to_reach
from tsugiki.measure.stats import non_inferiority


def width(n: int, value: float, confidence: float) -> float:
    low, high = proportion_confint(value * n, n, alpha=1 - confidence, method="wilson")
    return float(high - low)


@given(reach=st.floats(0.02, 0.3), value=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_is_no_wider_and_one_row_fewer_would_be(reach: float, value: float, confidence: float) -> None:
    n = rows_for_interval(reach, value=value, confidence=confidence)
    assert width(n, value, confidence) <= 2 * reach + 1e-9
    assert n == 1 or width(n - 1, value, confidence) > 2 * reach - 1e-9


@given(value=st.floats(0, 1), reach=st.floats(0.02, 0.3))
def test_one_half_is_the_worst_case(value: float, reach: float) -> None:
    assert rows_for_interval(reach, value=value, confidence=0.95) <= rows_for_interval(reach, confidence=0.95)


def test_known_numbers() -> None:
    assert rows_for_interval(0.10, confidence=0.95) == 93  # 1.96² · 0.25 / 0.1² less the square of 1.96
    assert rows_for_interval(0.05, confidence=0.95) == 381
    assert rows_for_margin(0.02, 0.10, confidence=0.95) == 1546


@pytest.mark.parametrize(("criterion", "value"), [(0.5, 0.65), (0.8, 0.9), (0.3, 0.4), (0.9, 1.0)])
def test_the_criterion_is_passed_with_the_power_asked_for(criterion: float, value: float) -> None:
    n = rows_to_reach(criterion, value, confidence=0.95)
    lows = [proportion_confint(right, n, alpha=0.05, method="wilson")[0] for right in range(n + 1)]
    passing = [right for right in range(n + 1) if lows[right] >= criterion]
    found = float(stats.binom.sf(min(passing) - 1, n, value)) if passing else 0.0
    assert 0.72 <= found <= 0.9 or value == 1.0, found  # whole rows move the power up and down around 0.8


def test_the_margin_is_shown_with_the_power_asked_for() -> None:
    n = rows_for_margin(0.05, 0.10, confidence=0.95)
    draw = np.random.default_rng(4)
    shown = 0
    for _ in range(400):
        kinds = draw.choice(3, size=n, p=(0.9, 0.05, 0.05))  # alike, ours alone right, theirs alone right
        ours = np.where(kinds == 1, 1.0, np.where(kinds == 2, 0.0, 1.0))
        theirs = np.where(kinds == 2, 1.0, np.where(kinds == 1, 0.0, 1.0))
        found = non_inferiority([ours.tolist()], [theirs.tolist()], 0.05, confidence=0.95)
        shown += found is not None and found.holds is True
    assert 0.74 <= shown / 400 <= 0.87, shown / 400


@pytest.mark.parametrize("reach", [0, 0.5, -0.1])
def test_an_interval_of_no_or_all_width_is_refused(reach: float) -> None:
    with pytest.raises(ValueError, match="reach of an interval"):
        rows_for_interval(reach, confidence=0.95)


@pytest.mark.parametrize(("criterion", "value"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_a_criterion_that_is_not_below_the_quality_is_refused(criterion: float, value: float) -> None:
    with pytest.raises(ValueError, match="must be above the criterion"):
        rows_to_reach(criterion, value, confidence=0.95)


@pytest.mark.parametrize(("margin", "differing"), [(0, 0.1), (1.5, 0.1), (0.02, 0), (0.02, 1.2)])
def test_margins_out_of_range_are_refused(margin: float, differing: float) -> None:
    with pytest.raises(ValueError, match="margin and differing"):
        rows_for_margin(margin, differing, confidence=0.95)

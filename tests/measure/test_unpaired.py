"""The difference of two intervals against statsmodels' Newcombe interval, and by its coverage."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from tsugiki.measure.unpaired import difference_of_intervals


def wilson(right: int, n: int) -> tuple[float, float, float]:
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    return right / n, float(low), float(high)


@given(n=st.integers(5, 400), m=st.integers(5, 400), data=st.data())
def test_it_is_newcombes_interval_where_both_sides_are_wilson(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    value, low, high = difference_of_intervals(wilson(a, n), wilson(b, m))
    expected = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff", alpha=0.05)
    assert abs(value - (a / n - b / m)) < 1e-12
    assert np.allclose((low, high), expected, atol=1e-9)


def test_it_covers_the_truth() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    for _ in range(2000):
        _, low, high = difference_of_intervals(wilson(draw.binomial(60, 0.8), 60), wilson(draw.binomial(60, 0.3), 60))
        covered += low <= 0.5 <= high
    assert covered / 2000 >= 0.94

"""Differences between different items: against statsmodels, by hand, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from tsugiki.measure.stats import Estimate, mean_with_interval, paired_difference
from tsugiki.measure.unpaired import difference_in_differences, unpaired_difference


def mean(scores: list[list[float]], **rest: object) -> Estimate:
    found = mean_with_interval(scores, confidence=0.95, **rest)  # type: ignore[arg-type]
    assert found is not None
    return found


def right(count: int, n: int) -> list[list[float]]:
    return [[1.0] * count + [0.0] * (n - count)]


@pytest.mark.parametrize(("ours", "theirs"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((1, 200), (150, 200))])
def test_of_right_and_wrong_it_is_newcombes_interval(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    found = unpaired_difference(mean(right(*ours)), mean(right(*theirs)))
    low, high = confint_proportions_2indep(*ours, *theirs, method="newcomb", compare="diff", alpha=0.05)
    assert found.value == pytest.approx(ours[0] / ours[1] - theirs[0] / theirs[1], abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.n == ours[1] + theirs[1]


def test_it_turns_round_with_its_sides() -> None:
    ours, theirs = mean(right(9, 12)), mean(right(2, 30))
    there, back = unpaired_difference(ours, theirs), unpaired_difference(theirs, ours)
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)


def test_two_sides_without_any_spread_still_have_a_width() -> None:
    found = unpaired_difference(mean(right(20, 20)), mean(right(20, 20)))
    assert found.value == 0 and found.low < -0.1 and found.high > 0.1


def test_differences_in_differences_by_hand() -> None:
    ours, theirs = (right(90, 100), right(60, 100)), (right(85, 100), right(80, 100))
    found = difference_in_differences(ours, theirs, confidence=0.95)
    on_test = paired_difference(ours[0], theirs[0], confidence=0.95)
    on_shift = paired_difference(ours[1], theirs[1], confidence=0.95)
    assert found is not None and on_test is not None and on_shift is not None
    assert found.value == pytest.approx((0.6 - 0.9) - (0.8 - 0.85))
    reach = math.hypot(on_shift.value - on_shift.low, on_test.high - on_test.value)
    assert found.low == pytest.approx(found.value - reach)
    assert found.high < 0


def test_a_set_that_cannot_tell_gives_nothing() -> None:
    few = right(2, 4)
    assert difference_in_differences((right(5, 9), few), (right(4, 9), few), confidence=0.95) is None
    broken = [[math.nan] * 9]
    assert difference_in_differences((right(5, 9), broken), (right(4, 9), right(4, 9)), confidence=0.95) is None


def test_of_groups_the_interval_is_that_of_the_groups() -> None:
    scores = [[float(group % 2) for group in range(10) for _ in range(8)]]
    groups = [group for group in range(10) for _ in range(8)]
    alone, grouped = mean(scores), mean(scores, groups=groups)
    other = mean(right(60, 80))
    wide, narrow = unpaired_difference(grouped, other), unpaired_difference(alone, other)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_the_change_between_two_sets_is_covered_at_its_confidence() -> None:
    """Three seeds, right and wrong answers, easy and hard items: 95 % intervals hold at least 93 %."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        test, shifted = rng.beta(4, 2, 60), rng.beta(3, 3, 40)
        luck = rng.normal(0, 0.03, 3)[:, None]  # of a seed, alike on both sets
        here, there = (rng.binomial(1, np.clip(items + luck, 0, 1)).astype(float) for items in (test, shifted))
        found = unpaired_difference(mean(there.tolist()), mean(here.tolist()))
        held += found.low <= 3 / 6 - 4 / 6 <= found.high
    assert held / 400 >= 0.93


def test_differences_in_differences_are_covered_and_no_difference_is_claimed_in_five_percent() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        sides = []
        for count, level in ((60, (4, 2)), (40, (2, 4))):
            items = rng.beta(*level, count)
            sides.append([rng.binomial(1, items, (3, count)).astype(float).tolist() for _ in range(2)])
        ours, theirs = zip(*sides, strict=True)
        found = difference_in_differences(ours, theirs, confidence=0.95)
        assert found is not None
        held += found.low <= 0 <= found.high
    assert held / 300 >= 0.94


def test_graded_scores_are_covered_too() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(60):
        here, there = rng.beta(5, 2, (1, 40)), rng.beta(2, 2, (1, 30))
        found = unpaired_difference(mean(there.tolist()), mean(here.tolist()))
        held += found.low <= 1 / 2 - 5 / 7 <= found.high
    assert held >= 54  # 57 expected; fewer than 54 in 1 % of all runs

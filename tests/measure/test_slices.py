"""Slices by hand, and by simulation: noise is not called a weakness."""

from __future__ import annotations

import numpy as np
import pytest

from tsugiki.measure.slices import FEWEST_GROUPS, SliceTable, compare_slices
from tsugiki.measure.stats import mean_with_interval
from tsugiki.measure.unpaired import unpaired_difference


def scores_of(*shares: tuple[int, int]) -> tuple[list[list[float]], list[range]]:
    """One seed; slices one after the other, each with so many of so many right."""
    row: list[float] = []
    slices = []
    for count, n in shares:
        slices.append(range(len(row), len(row) + n))
        row += [1.0] * count + [0.0] * (n - count)
    return [row], slices


def compare(*shares: tuple[int, int], **rest: object) -> SliceTable:
    scores, slices = scores_of(*shares)
    return compare_slices(scores, slices, confidence=0.95, **rest)  # type: ignore[arg-type]


def test_a_slice_by_hand() -> None:
    found = compare((8, 20), (54, 60), (18, 20))
    first = found.results[0]
    assert (first.n, first.groups, found.looked_at) == (20, 20, 3)
    assert found.confidence == pytest.approx(1 - 0.05 / 3)
    assert first.quality is not None and first.difference is not None
    assert first.quality.value == 0.4
    assert first.difference.value == pytest.approx(8 / 20 - 80 / 100), "to the whole, not to the rest"
    inside = mean_with_interval(scores_of((8, 20))[0], confidence=found.confidence)
    rest = mean_with_interval(scores_of((54, 60), (18, 20))[0], confidence=found.confidence)
    assert inside is not None and rest is not None
    apart = unpaired_difference(inside, rest)
    assert first.quality == inside
    assert (first.difference.low, first.difference.high) == (
        pytest.approx(0.8 * apart.low), pytest.approx(0.8 * apart.high),
    )  # fmt: skip
    assert found.worst == 0 and [one.surely_worse for one in found.results] == [True, False, False]


def test_the_weakest_is_the_lowest_of_those_that_are_surely_worse() -> None:
    """Four of ten is lower than 45 of 100, but of ten rows it is not sure."""
    found = compare((45, 100), (4, 10), (150, 200))
    assert found.results[1].quality is not None and found.results[1].quality.value == 0.4
    assert found.worst == 0 and not found.results[1].surely_worse


def test_equal_slices_have_no_weakest() -> None:
    assert compare((15, 20), (15, 20), (30, 40)).worst is None


def test_what_is_too_small_is_not_looked_at_and_widens_nothing() -> None:
    found, without = compare((0, 9), (40, 50), (45, 50)), compare((40, 50), (45, 50))
    small = found.results[0]
    assert (small.quality, small.difference, small.surely_worse) == (None, None, False) and small.n == 9
    assert found.looked_at == without.looked_at == 2 and found.confidence == without.confidence
    assert FEWEST_GROUPS == 10


def test_rows_of_one_group_count_once() -> None:
    scores, slices = scores_of((0, 20), (30, 40))
    groups = [0] * 20 + list(range(1, 41))
    found = compare_slices(scores, slices, confidence=0.95, groups=groups).results[0]
    assert (found.n, found.groups, found.quality) == (20, 1, None)


def test_a_slice_that_is_nearly_everything_has_a_quality_and_no_difference() -> None:
    found = compare((30, 40), (1, 5)).results[0]
    assert found.quality is not None and found.difference is None and not found.surely_worse


def test_an_empty_slice_and_no_slice() -> None:
    assert compare_slices([[1.0] * 20], [[]], confidence=0.95).results[0].n == 0
    none = compare_slices([[1.0] * 20], [], confidence=0.95)
    assert (none.results, none.looked_at, none.confidence, none.worst) == ((), 0, 0.95, None)


def test_with_equal_slices_a_weakest_one_is_claimed_in_at_most_five_percent() -> None:
    """120 items, three seeds, 13 slices that overlap, as labels, lengths and columns do; all equally hard."""
    rng = np.random.default_rng(0)
    runs, claims, uncorrected = 200, 0, 0
    for _ in range(runs):
        items = rng.beta(3, 1.5, 120)
        scores = rng.binomial(1, items, (3, 120)).astype(float).tolist()
        slices: list[list[int]] = []
        for parts in (2, 3, 3, 5):
            part_of = rng.integers(0, parts, 120)
            slices += [np.flatnonzero(part_of == part).tolist() for part in range(parts)]
        claims += compare_slices(scores, slices, confidence=0.95).worst is not None
        uncorrected += any(compare_slices(scores, [one], confidence=0.95).worst is not None for one in slices)
    assert claims / runs <= 0.05
    assert uncorrected / runs > 0.05, "without the correction noise would be called a weakness"


def test_a_slice_that_really_is_weak_is_found() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(60):
        scores = [np.concatenate([rng.binomial(1, 0.4, 30), rng.binomial(1, 0.9, 120)]).astype(float).tolist()]
        slices = [list(range(start, start + 30)) for start in range(0, 150, 30)]
        found += compare_slices(scores, slices, confidence=0.95).worst == 0
    assert found >= 54

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tsugiki.config import LEARNING_RATES, METHODS
from tsugiki.work.choose import (
    LOSS_TOLERANCE,
    SIMPLEST_FIRST,
    _noise,
    best_try,
    chosen_rank,
    chosen_rate,
    good_enough,
    learning_rates,
    ranks_to_try,
    simplest_method,
    sufficient_rank,
)


@given(method=st.sampled_from(METHODS), tries=st.integers(1, 8))
def test_every_method_gets_as_many_different_rates_as_asked_for(method, tries):
    rates = learning_rates(method, tries)
    assert len(set(rates)) == len(rates) == tries
    assert rates == learning_rates(method, 8)[:tries]
    assert rates[: len(LEARNING_RATES[method])] == LEARNING_RATES[method][:tries]
    assert all(0 < rate <= 0.1 for rate in rates)


def test_the_grid_is_widened_on_both_sides():
    assert learning_rates("full", 5) == (1e-4, 2e-4, 5e-5, 2.5e-5, 4e-4)


def test_the_best_try_has_the_lowest_loss_that_is_a_number():
    tries = [{"learning_rate": rate, "dev_loss": loss} for rate, loss in ((1, None), (2, math.nan), (3, 0.4), (4, 0.3))]
    assert best_try(tries) == tries[3]
    assert best_try(tries[:2]) is None


def test_without_a_search_the_first_of_the_grid_is_taken():
    rates = (3e-4, 1e-3)
    assert chosen_rate({"status": "done", "learning_rate": 0.002}, rates) == 0.002
    assert chosen_rate({"status": "failed"}, rates) == chosen_rate(None, rates) == 3e-4


def test_ranks_are_powers_of_two_and_the_largest_itself():
    assert ranks_to_try(1) == (1,)
    assert ranks_to_try(32) == (1, 2, 4, 8, 16, 32)
    assert ranks_to_try(48) == (1, 2, 4, 8, 16, 32, 48)


def losses(**by_rank):
    return [{"rank": int(name[1:]), "dev_loss": loss} for name, loss in by_rank.items()]


def test_the_smallest_rank_within_tolerance_suffices():
    curve = losses(r32=0.3, r16=0.301, r8=0.305, r4=0.32)
    assert sufficient_rank(curve) == 8
    assert sufficient_rank(losses(r32=0.3, r16=0.4)) == 32
    assert sufficient_rank(losses(r32=0.3, r16=math.nan)) == 32


def test_the_final_trials_get_twice_what_suffices():
    def chosen(**by_rank):
        return chosen_rank({"status": "done", "rank_losses": losses(**by_rank)}, 16)

    assert chosen(r32=0.3, r16=0.301, r8=0.305, r4=0.32) == 16
    assert chosen(r32=0.3, r16=0.4) == 32, "never more than was seen"
    assert chosen(r32=0.3, r16=0.3, r8=0.3, r4=0.3, r2=0.3, r1=0.3) == 4
    assert chosen_rank(None, 16) == chosen_rank({"status": "failed"}, 16) == 16
    assert chosen_rank({"status": "done", "rank_losses": None}, 8) == 8


def of_rows(*nats: float, tokens: int = 2) -> dict[str, Any]:
    """A try with these nats of its dev rows, all of so many tokens."""
    return {"dev_loss": sum(nats) / (tokens * len(nats)), "row_losses": list(nats)}


def test_the_noise_of_a_difference_is_that_of_its_mean_by_token():
    best, other = of_rows(1.0, 2.0, 4.0, 3.0), of_rows(1.5, 2.1, 3.9, 4.5)
    apart = np.array([0.5, 0.1, -0.1, 1.5]) / 2
    error = stats.sem(apart)
    assert _noise(other, best) == pytest.approx(error) and error > LOSS_TOLERANCE
    assert good_enough([other, best]) == [1], "0.25 nats worse with an error of 0.18"
    assert good_enough([of_rows(1.5, 2.1, 2.9, 4.5), best]) == [0, 1], "0.125 nats worse with an error of 0.26"


def test_one_row_shows_nothing_and_equal_rows_leave_the_tolerance():
    assert good_enough([of_rows(9.0), of_rows(1.0)]) == [0, 1]
    assert good_enough([of_rows(9.0, 9.0), of_rows(1.0, 1.0)]) == [1]
    assert good_enough([of_rows(0.001, 0.001), of_rows(0.0, 0.0)]) == [0, 1]


def test_the_simplest_method_within_tolerance_of_the_best_is_taken():
    def chosen(*losses: float | None) -> str | None:
        found = zip(SIMPLEST_FIRST, losses, strict=True)
        return simplest_method([{"method": name, "dev_loss": loss, "row_losses": [loss] * 9} for name, loss in found])

    assert chosen(0.5, 0.5 - LOSS_TOLERANCE / 2, 0.6) == "lora"
    assert chosen(0.5, 0.5 - 2 * LOSS_TOLERANCE, 0.5 - 2.5 * LOSS_TOLERANCE) == "adapter"
    assert chosen(None, float("nan"), 0.9) == "hybrid"
    assert chosen(None, None, None) is None

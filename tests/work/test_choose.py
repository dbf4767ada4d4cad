from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tsugiki.config import LEARNING_RATES, METHODS
from tsugiki.work.choose import best_try, chosen_rate, learning_rates


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
    assert chosen_rate({"status": "done", "learning_rate": 0.002}, "lora") == 0.002
    assert chosen_rate({"status": "failed"}, "full") == chosen_rate(None, "full") == LEARNING_RATES["full"][0]

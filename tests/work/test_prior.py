"""Rules where nothing is known; earlier studies where some are near: their rates first, and fewer tries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.work.test_lessons import HERE, LESSON
from tsugiki.config import LEARNING_RATES, METHODS, Design
from tsugiki.work.choose import learning_rates
from tsugiki.work.prior import held_out, make_prior, power_of_two, prior_from_json

DESIGN = Design(tries=3)


def lesson(study, rank=4, largest=32, features=HERE, **tries):
    return replace(LESSON, study=study, folder=study, features=features, tries=tries, rank=rank, largest_rank=largest)


def test_rules_alone_give_the_declared_grid():
    found = make_prior(DESIGN, HERE, capacity=300_000, lessons=())
    assert found.rates == {method: LEARNING_RATES[method] for method in METHODS}
    assert (found.rank, found.largest_rank, found.lessons) == (16, 32, ())


def test_more_information_than_a_small_rank_can_hold_wants_a_larger_one():
    much = replace(HERE, rows=100_000, completion_tokens=200.0)  # 20 million tokens, 33 times the capacity of a rank
    found = make_prior(DESIGN, much, capacity=300_000, lessons=())
    assert (found.rank, found.largest_rank) == (64, 256)


def test_the_rate_that_lost_least_nearby_comes_first():
    first = lesson("1", lora={1e-3: 0.5, 2e-3: 0.4, 5e-4: 0.6}, full={1e-4: 0.3, 2e-4: 0.5})
    second = lesson("2", lora={1e-3: 0.7, 2e-3: 0.6, 5e-4: 0.9}, full={1e-4: 0.2, 2e-4: 0.3})
    found = make_prior(DESIGN, HERE, capacity=1, lessons=(first, second))
    assert found.rates == {"lora": (2e-3,), "adapter": (1e-3,), "hybrid": (1e-3,), "full": (1e-4,)}
    assert [one["study"] for one in found.lessons] == ["1", "2"]


def test_rates_that_studies_disagree_on_are_all_tried():
    lessons = [lesson(str(rate), lora={rate: 0.4, 1e-3: 0.5}) for rate in (2e-3, 5e-4)]
    found = make_prior(DESIGN, HERE, capacity=1, lessons=lessons)
    assert set(found.rates["lora"]) == {2e-3, 5e-4} and found.tries == 2
    assert {len(rates) for rates in found.rates.values()} == {2}, "every method gets as many"


def test_a_distant_study_saves_nothing():
    far = replace(HERE, rows=500 * 64)
    found = make_prior(DESIGN, HERE, capacity=1, lessons=[lesson("1", features=far, lora={2e-3: 0.1, 1e-3: 0.9})])
    assert found.lessons == () and found.rates["lora"] == LEARNING_RATES["lora"]


def test_ranks_follow_what_sufficed_before():
    small = make_prior(DESIGN, HERE, capacity=300_000, lessons=[lesson("1", rank=1), lesson("2", rank=2)])
    assert (small.rank, small.largest_rank) == (4, 8)
    at_limit = make_prior(DESIGN, HERE, capacity=300_000, lessons=[lesson("1", rank=8, largest=8)])
    assert at_limit.largest_rank == 32, "a search that was cut off by its own limit limits nobody else"


lessons = st.lists(
    st.builds(
        lambda study, rates, losses, rank: lesson(str(study), rank, lora=dict(zip(rates, losses, strict=False))),
        st.integers(0, 99),
        st.lists(st.sampled_from(learning_rates("lora", 8)), min_size=2, max_size=4, unique=True),
        st.lists(st.floats(0.01, 5), min_size=4, max_size=4),
        st.sampled_from([None, 1, 2, 8, 32]),
    ),
    max_size=6,
)


@given(lessons, st.integers(1, 8))
def test_whatever_was_learned_the_study_can_follow(found, tries):
    design = Design(tries=tries)
    prior = make_prior(design, HERE, capacity=1000, lessons=found)
    for rates in prior.rates.values():
        assert 1 <= len(rates) == len(set(rates)) <= tries
    assert 4 <= prior.rank <= prior.largest_rank <= 256
    assert prior_from_json(prior.as_json()) == prior


@pytest.mark.parametrize(("value", "power"), [(0.0, 1), (1, 1), (2, 2), (2.1, 4), (33, 64)])
def test_powers_of_two(value, power):
    assert power_of_two(value) == power


def test_each_study_is_judged_by_the_others():
    lessons = [lesson(str(at), lora={2e-3: 0.4, 1e-3: 0.5}) for at in range(3)]
    found = held_out(lessons)
    assert [(one["suggested"], one["from"], one["learned"], round(one["rules"], 6)) for one in found] == [
        (2e-3, 2, 0.0, 0.1)
    ] * 3
    alone = held_out(lessons[:1])
    assert alone[0]["from"] == 0 and alone[0]["learned"] == alone[0]["rules"]


def test_methods_that_do_not_take_part_ask_for_no_tries():
    earlier = [
        lesson(str(number), lora={1e-3: 0.5, 2e-3: 0.9, 5e-4: 0.8}, adapter={rate: 0.1, 9e-9: 0.9})
        for number, rate in enumerate((1e-3, 3e-3, 5e-4))
    ]
    alone = make_prior(Design(methods=("lora", "full")), HERE, capacity=1000, lessons=earlier)
    beside = make_prior(Design(methods=("lora", "adapter")), HERE, capacity=1000, lessons=earlier)
    assert alone.tries < beside.tries == 3

import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tsugiki.data.check import check
from tsugiki.data.shapes import Example
from tsugiki.data.split import (
    Leak,
    Splits,
    given_splits,
    leakage,
    nested_subsets,
    split,
    split_by_column,
)
from tsugiki.errors import DataError


def rows(count: int, *, labels: int = 4, group_of: int = 1) -> list[Example]:
    return [Example(n, f"q{n}", f"label {n % labels}", group=f"g{n // group_of}") for n in range(1, count + 1)]


def drawn(examples: Sequence[Example], **changes: object) -> Splits:
    settings_ = {"test_share": 0.25, "dev_share": 0.15, "seed": 0, "closed": False, **changes}
    return split(examples, check(examples).groups, **settings_)  # type: ignore[arg-type]


@st.composite
def data(draw: st.DrawFn) -> list[Example]:
    """Rows with repeated prompts (in both widths), some customer groups, few labels."""
    count = draw(st.integers(20, 60))
    made = []
    for number in range(1, count + 1):
        prompt = draw(st.sampled_from([f"q{number}", f"q{number % 17}", f"ｑ{number % 17}"]))
        group = draw(st.sampled_from([None, None, f"g{number % 9}"]))
        made.append(Example(number, prompt, f"label {draw(st.integers(0, 3))}", group=group))
    return made


@given(data(), st.integers(0, 5), st.booleans())
@settings(deadline=None)
def test_no_group_crosses_and_nothing_is_lost(examples: list[Example], seed: int, closed: bool) -> None:
    findings = check(examples)
    try:
        parts = split(findings.examples, findings.groups, test_share=0.25, dev_share=0.15, seed=seed, closed=closed)
    except DataError as error:
        assert re.search(r"usable examples, at least 20|rows form \d+ groups?", error.problem), error.problem
        assume(False)
    assert Counter(parts.train + parts.dev + parts.test) == Counter(findings.examples)
    group = dict(zip((example.row for example in findings.examples), findings.groups, strict=True))
    sides = [{group[example.row] for example in part} for part in (parts.train, parts.dev, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert leakage(parts.train, parts.test) == leakage(parts.dev, parts.test) == ()
    assert parts.train_groups == tuple(group[example.row] for example in parts.train)


@given(st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_file_does_not_matter(seed: int, shuffler: random.Random) -> None:
    examples = rows(40)
    shuffled = list(examples)
    shuffler.shuffle(shuffled)
    first, second = drawn(examples, seed=seed, closed=True), drawn(shuffled, seed=seed, closed=True)
    assert {example.row for example in first.test} == {example.row for example in second.test}
    assert {example.row for example in first.dev} == {example.row for example in second.dev}


def test_the_same_seed_gives_this_very_split_on_every_platform() -> None:
    assert [example.row for example in drawn(rows(24)).test] == [1, 4, 5, 7, 12, 13]
    assert drawn(rows(24)) == drawn(rows(24))
    assert drawn(rows(24)) != drawn(rows(24), seed=1)


def test_shares_are_met_where_groups_are_small() -> None:
    parts = drawn(rows(200))
    assert (len(parts.test), len(parts.dev), len(parts.train)) == (50, 30, 120)


def test_closed_labels_keep_their_shares() -> None:
    examples = [Example(n, f"q{n}", "rare" if n % 10 == 0 else "common") for n in range(1, 401)]
    for seed in range(5):
        parts = drawn(examples, closed=True, seed=seed)
        for part, share in ((parts.test, 10), (parts.dev, 6), (parts.train, 24)):
            assert abs(sum(example.completion == "rare" for example in part) - share) <= 1


def test_a_label_with_one_row_is_learned_not_tested() -> None:
    for seed in range(10):
        parts = drawn([*rows(40), Example(99, "single", "only once")], closed=True, seed=seed)
        assert 99 in {example.row for example in parts.train}


def test_too_few_rows_say_what_is_needed() -> None:
    with pytest.raises(DataError, match=r"There is 1 usable example, at least 20.*Add at least 19 rows"):
        drawn(rows(1))
    with pytest.raises(DataError, match=r"12 usable examples, at least 20.*Add at least 8 rows"):
        drawn(rows(12))


@pytest.mark.parametrize("size", [15, 30])
def test_groups_too_large_to_split_are_an_error_with_numbers(size: int) -> None:
    examples = [Example(n, f"q{n}", "a", group=str(n // size)) for n in range(30)]
    with pytest.raises(
        DataError, match=r"part would hold 0 instead of about .* rows form .* groups?, the largest with"
    ):
        drawn(examples)


@given(data(), st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 3), st.booleans())
@settings(deadline=None)
def test_subsets_nest_and_have_their_size(examples: list[Example], sizes: list[int], seed: int, closed: bool) -> None:
    subsets = nested_subsets(examples, sizes, seed=seed, closed=closed)
    assert sorted(subsets) == sorted(set(sizes))
    smaller: set[int] = set()
    for size, subset in subsets.items():
        taken = {example.row for example in subset}
        assert len(subset) == len(taken) == size
        assert smaller <= taken
        smaller = taken
    assert subsets == nested_subsets(examples, sizes, seed=seed, closed=closed)


def test_subsets_keep_groups_whole_but_for_one() -> None:
    examples = rows(40, group_of=5)
    subset = nested_subsets(examples, [13], seed=0)[13]
    sizes = Counter(example.group for example in examples)
    taken = Counter(example.group for example in subset)
    assert sum(taken[group] < sizes[group] for group in taken) <= 1


def test_subsets_are_stratified() -> None:
    subset = nested_subsets(rows(100, labels=5), [10], seed=0, closed=True)[10]
    assert Counter(example.completion for example in subset) == {f"label {n}": 2 for n in range(5)}


@pytest.mark.parametrize("size", [0, 11])
def test_subsets_of_impossible_size(size: int) -> None:
    with pytest.raises(DataError, match=f"subset of {size} rows was asked for, but there are 10"):
        nested_subsets(rows(10), [size], seed=0)


def test_leakage_sees_width_white_space_and_groups() -> None:
    train = [Example(1, "部品Ａ１", "a"), Example(2, "x", "b", group="g")]
    test = [Example(7, "部品A1 ", "c"), Example(8, "y", "b", group="g"), Example(9, "z", "b")]
    assert leakage(train, test) == (Leak(1, 7, "same prompt"), Leak(2, 8, "same group 'g'"))


def test_given_parts_that_leak_name_both_rows() -> None:
    train, dev, test = [Example(2, "q", "a")], [Example(2, "d", "a")], [Example(5, "ｑ", "a")]
    with pytest.raises(DataError, match="stands in train and in test: train row 2 and test row 5"):
        given_splits(train, dev, test)
    with pytest.raises(DataError, match="stands in train and in dev: train row 2 and dev row 5"):
        given_splits(train, test, dev)
    with pytest.raises(DataError, match="dev part has no usable rows"):
        given_splits(train, [], dev)
    clean = given_splits(train, dev, [Example(5, "t", "a")])
    assert (clean.train, clean.dev) == (tuple(train), tuple(dev))


def test_a_split_column_in_both_languages() -> None:
    examples = rows(4)
    parts = split_by_column(examples, range(len(examples)), {1: "学習", 2: "Train", 3: "validation", 4: "ＴＥＳＴ"})
    assert [[example.row for example in part] for part in (parts.train, parts.dev, parts.test)] == [[1, 2], [3], [4]]
    with pytest.raises(DataError, match="Row 2 says 'holdout' in the split column"):
        split_by_column(examples, range(len(examples)), {1: "train", 2: "holdout"})
    with pytest.raises(DataError, match="Row 1 says nothing"):
        split_by_column(examples, range(len(examples)), {1: None})


def test_groups_that_do_not_belong_to_the_examples_are_found_out() -> None:
    examples = [Example(n, f"q{n % 2}", f"a{n}") for n in range(40)]
    with pytest.raises(DataError, match="the split would leak"):
        split(examples, list(range(40)), test_share=0.25, dev_share=0.15, seed=0, closed=False)


def test_similar_rows_that_the_users_split_puts_on_both_sides_are_named() -> None:
    examples = [Example(row, f"prompt {row}", "a") for row in range(1, 7)]
    cells = dict(enumerate(["train", "train", "dev", "test", "test", "test"], start=1))
    found = split_by_column(examples, (0, 1, 2, 0, 3, 2), cells)
    assert found.crossing == (4, 6)
    assert split_by_column(examples, range(6), cells).crossing == ()


def test_a_share_of_nothing_is_no_part_even_of_large_groups() -> None:
    examples = [Example(row, f"prompt {row}", "a") for row in range(40)]
    found = split(examples, [row // 5 for row in range(40)], test_share=0.15, dev_share=0.0, seed=0, closed=True)
    assert len(found.dev) == 0 and len(found.test) == 5 and len(found.train) == 35

"""A split by time: whole groups, the newest rows last, ties on one side, every exception named."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tsugiki.data.check import check
from tsugiki.data.shapes import Example
from tsugiki.data.split import leakage
from tsugiki.data.time_split import time_split
from tsugiki.errors import DataError

START = datetime(2026, 1, 1)
SHARES = {"test_share": 0.25, "dev_share": 0.15}


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@st.composite
def data(draw: st.DrawFn) -> tuple[list[Example], dict[int, datetime]]:
    """Rows with repeated prompts and some groups, on few or many days, in any order."""
    count, days = draw(st.integers(20, 70)), draw(st.integers(1, 60))
    examples, moments = [], {}
    for row in range(1, count + 1):
        prompt = draw(st.sampled_from([f"q{row}", f"q{row % 17}"]))
        group = draw(st.sampled_from([None, None, None, f"g{row % 9}"]))
        examples.append(Example(row, prompt, f"label {draw(st.integers(0, 3))}", group=group))
        moments[row] = day(draw(st.integers(0, days)))
    return examples, moments


@given(data())
@settings(deadline=None, max_examples=200)
def test_no_group_crosses_and_train_is_older_but_for_what_is_named(
    found: tuple[list[Example], dict[int, datetime]],
) -> None:
    examples, moments = found
    findings = check(examples)
    try:
        parts = time_split(findings.examples, findings.groups, moments, **SHARES)
    except DataError as error:
        assert re.search(r"usable examples, at least 20|part would hold \d+ instead of about", error.problem)
        assume(False)
    assert Counter(parts.train + parts.dev + parts.test) == Counter(findings.examples)
    group = dict(zip((example.row for example in findings.examples), findings.groups, strict=True))
    sides = [{group[example.row] for example in part} for part in (parts.train, parts.dev, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert leakage(parts.train, parts.test) == leakage(parts.dev, parts.test) == ()
    assert parts.train_groups == tuple(group[example.row] for example in parts.train)
    newest = Counter[int]()
    ends: dict[int, datetime] = {}
    for example in findings.examples:
        ends[group[example.row]] = max(moments[example.row], ends.get(group[example.row], START))
        newest[group[example.row]] += 1
    assert parts.timeline is not None
    assert max(ends[one] for one in sides[0]) < min(ends[one] for one in sides[1]) == parts.timeline.dev_from
    assert max(ends[one] for one in sides[1]) < min(ends[one] for one in sides[2]) == parts.timeline.test_from
    last = max(moments[example.row] for example in parts.train)
    older = {example.row for example in (*parts.dev, *parts.test) if moments[example.row] <= last}
    assert older == set(parts.timeline.older)
    assert all(newest[group[row]] > 1 for row in older), "only a group with a newer row goes with it"
    assert len(parts.test) <= 2 * round(0.25 * len(findings.examples))


def rows(moments: list[datetime], **groups: str) -> tuple[list[Example], dict[int, datetime]]:
    examples = [Example(row, f"q{row}", "a", group=groups.get(f"r{row}")) for row in range(len(moments))]
    return examples, dict(enumerate(moments))


def split(found: tuple[list[Example], dict[int, datetime]]) -> list[list[int]]:
    examples, moments = found
    parts = time_split(examples, check(examples).groups, moments, **SHARES)
    return [[example.row for example in part] for part in (parts.train, parts.dev, parts.test)]


def test_the_oldest_train_and_the_newest_test_whatever_the_order_of_the_file() -> None:
    forwards = split(rows([day(number) for number in range(20)]))
    assert forwards == [list(range(12)), [12, 13, 14], list(range(15, 20))]
    backwards = split(rows([day(-number) for number in range(20)]))
    assert backwards == [list(range(8, 20)), [5, 6, 7], list(range(5))]


def test_rows_of_one_moment_stay_together_and_the_border_moves_to_the_nearest() -> None:
    assert split(rows([day(number // 4) for number in range(40)]))[2] == list(range(32, 40))  # 8 of 10 wanted, not 12
    assert split(rows([day(number // 7) for number in range(42)]))[2] == list(range(35, 42))


def test_a_group_goes_by_its_newest_row_and_its_older_rows_are_named() -> None:
    found = rows([day(number) for number in range(20)], r0="g", r19="g")
    train, dev, test = split(found)
    assert test == [0, 16, 17, 18, 19] and 0 not in train and dev == [13, 14, 15]
    parts = time_split(found[0], check(found[0]).groups, found[1], **SHARES)
    assert parts.timeline is not None and parts.timeline.older == (0,)


@pytest.mark.parametrize(
    ("moments", "says"),
    [
        (
            [day(0)] * 30,
            r"test part would hold 30 instead of about 8.*1 moment in all, 2026-01-01 alone with 30 rows",
        ),
        ([day(0)] * 10 + [day(1)] * 20, r"test part would hold 20 instead of about 8 rows"),
        ([day(0)] * 22 + [day(1)] * 8, r"dev part would hold 22 instead of about 4 rows.*--split-column"),
        ([day(number) for number in range(12)], r"There are 12 usable examples, at least 20"),
    ],
)
def test_moments_too_lumpy_to_cut_are_an_error_with_numbers(moments: list[datetime], says: str) -> None:
    with pytest.raises(DataError, match=says):
        split(rows(moments))


def test_many_moments_are_cut_in_no_time() -> None:
    assert len(split(rows([day(0) + timedelta(minutes=number) for number in range(3000)]))[2]) == 750

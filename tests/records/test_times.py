from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.errors import RecordsError
from tsugiki.records.times import is_stored, now, utc

AWARE = st.datetimes(
    datetime(2, 1, 1),
    datetime(9998, 1, 1),
    timezones=st.integers(-840, 840).map(lambda m: timezone(timedelta(minutes=m))),
)


@given(AWARE, AWARE)
def test_stored_times_sort_as_they_were(one: datetime, other: datetime) -> None:
    assert is_stored(utc(one))
    assert (utc(one) < utc(other)) == (one < other)
    assert datetime.fromisoformat(utc(one)) == one
    assert utc(utc(one)) == utc(one)


def test_now_is_stored_and_later() -> None:
    assert is_stored(now())
    assert utc("2026-01-01T00:00Z") < now() < utc(datetime.now(UTC) + timedelta(minutes=1))


@pytest.mark.parametrize(
    "text", ["2026-11-02T05:05:12Z", "2026-11-02T05:05:12.123456+00:00", "2026-13-02T05:05:12.123456Z", "", "x" * 27]
)
def test_another_form_is_not_a_stored_time(text: str) -> None:
    assert not is_stored(text)


def test_a_time_outside_the_calendar_is_refused() -> None:
    with pytest.raises(RecordsError, match="lies outside the years 1 to 9999"):
        utc("0001-01-01T00:00+09:00")

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from tsugiki.errors import UsageError
from tsugiki.records.moments import asked, later, shown

TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("text", "at", "zone"),
    [
        ("2026-11-02 14:05", "2026-11-02T05:05:00.000000Z", "UTC+09:00 (local)"),
        ("2026-11-02T14:05:12", "2026-11-02T05:05:12.000000Z", "UTC+09:00 (local)"),
        ("2026-11-02", "2026-11-02T14:59:59.999999Z", "UTC+09:00 (local)"),
        ("2026-11-02 14:05Z", "2026-11-02T14:05:00.000000Z", "UTC"),
        (" 2026-11-02 14:05 +01:00 ", "2026-11-02T13:05:00.000000Z", "UTC+01:00"),
        ("2026-11-02 14:05-0330", "2026-11-02T17:35:00.000000Z", "UTC-03:30"),
    ],
)
def test_a_moment_is_local_unless_it_names_its_zone(text: str, at: str, zone: str):
    found = asked(text, TOKYO)
    assert (found.at, found.zone) == (at, zone)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-02 25:00", "02.11.2026", "2026-11-02 14"])
def test_anything_else_is_refused(text: str):
    with pytest.raises(UsageError, match="is no moment"):
        asked(text)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31"])
def test_a_day_that_its_zone_moves_out_of_the_calendar_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo" if text.startswith("0") else "America/New_York")
    time.tzset()
    try:
        with pytest.raises(UsageError, match=f"'{text}' lies outside the calendar"):
            asked(text)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_machine_s_own_zone_is_taken(monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert asked("2026-11-02 14:05").at == "2026-11-02T05:05:00.000000Z"
        assert shown("2026-11-02T05:05:12.123456Z") == "2026-11-02 14:05:12 +09:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_days_are_counted_and_shown_in_a_zone():
    assert later("2026-12-31T05:05:00.000000Z", days=90) == "2027-03-31T05:05:00.000000Z"
    assert shown("2026-11-02T05:05:12.123456Z", TOKYO) == "2026-11-02 14:05:12 +09:00"

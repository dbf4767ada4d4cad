"""Times as the registry writes them: UTC text with microseconds, `2026-11-02T05:05:12.123456Z`, which sorts as it was.

Every file of `records/` that stores or asks for a time comes here. Never guesses a time zone: a time without one is
refused, because a time in the ledger is evidence.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tsugiki.errors import RecordsError

STORED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def now() -> str:
    """This machine's clock."""
    return _written(datetime.now(UTC))


def utc(time: str | datetime) -> str:
    """A time with any offset as the registry writes it.

    Raises RecordsError for text that is no ISO 8601 time and for a time without a zone.
    """
    moment = time if isinstance(time, datetime) else _parsed(time)
    if moment.utcoffset() is None:
        raise RecordsError(
            f"The time {time} has no time zone.", fix=f"Add one, for example {moment.isoformat()}+09:00, or Z for UTC."
        )
    try:
        return _written(moment.astimezone(UTC))
    except OverflowError:
        raise RecordsError(f"The time {time} lies outside the years 1 to 9999.", fix="Name another time.") from None


def is_stored(text: str) -> bool:
    """Whether `text` is a real time exactly as the registry writes it."""
    if STORED.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RecordsError(
            f"{text!r} is no time.", fix="Write it as 2026-11-02T14:05+09:00 (ISO 8601 with a time zone)."
        ) from None


def _written(moment: datetime) -> str:
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S.%f}Z"  # %Y pads on some systems only

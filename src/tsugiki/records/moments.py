"""Moments as people type and read them, and the counting of days; how a registry stores them is in records/times.py.

Called by the lifecycle and by the command line. A moment that a person types is local unless it names its zone; which
zone was taken is handed back, so that the answer can say it. Never reads a clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from tsugiki.errors import UsageError
from tsugiki.records.times import utc

_TYPED = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
)


def moment_of(text: str) -> datetime:
    """A stored moment; ValueError for any other text, since no user wrote it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def later(text: str, *, days: int) -> str:
    """The stored moment so many days after a stored one."""
    return utc(moment_of(text) + timedelta(days=days))


@dataclass(frozen=True)
class Asked:
    """A moment that somebody typed, and the zone it was read in, such as `UTC+09:00 (local)`."""

    at: str  # as it is stored
    zone: str


def asked(text: str, local: tzinfo | None = None) -> Asked:
    """Read `2026-11-02 14:05`, with seconds or a zone (`Z`, `+09:00`) if wanted; a date alone means its last moment.

    `local` is the zone for a moment without one; left out, that of this machine at that moment (daylight saving
    included). Raises UsageError.
    """
    found = _TYPED.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        zone = found["zone"] or ""
        parsed = datetime.fromisoformat(f"{found['date']}T{found['time'] or '23:59:59.999999'}{zone}")
    except ValueError:
        raise UsageError(
            f"{text!r} is no moment.", fix="Write it as 2026-11-02 14:05, with +09:00 behind it for another time zone."
        ) from None
    if parsed.tzinfo is not None:
        return Asked(utc(parsed), _zone_name(parsed))
    try:
        parsed = parsed.replace(tzinfo=local) if local is not None else parsed.astimezone()
    except (ValueError, OverflowError):  # the first or the last day there is, moved out of the calendar by its zone
        raise UsageError(f"{text!r} lies outside the calendar.", fix="Name a moment in the years 2 to 9998.") from None
    return Asked(utc(parsed), f"{_zone_name(parsed)} (local)")


def shown(text: str, local: tzinfo | None = None) -> str:
    """A stored moment for people, in the zone of this machine: `2026-11-02 14:05:12 +09:00`."""
    moment = moment_of(text).astimezone(local)
    return f"{moment:%Y-%m-%d %H:%M:%S} {_offset(moment)}"


def _zone_name(moment: datetime) -> str:
    return "UTC" if not moment.utcoffset() else f"UTC{_offset(moment)}"


def _offset(moment: datetime) -> str:
    offset = moment.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"

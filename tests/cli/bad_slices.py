"""Columns of dates, shifted rows and slices that cannot be used, as cases for the table of bad inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.cli.bad_inputs import Case, Kit
from tests.cli.bad_studies import poc

ROWS = 40


def dated(*cells: str) -> str:
    """A file whose first rows have these cells in the column `received`, the others a day each."""
    days = [*cells, *(f"2026-{1 + row // 28:02}-{1 + row % 28:02}" for row in range(len(cells), ROWS))]
    lines = [f"question {row * 7919},answer {row % 3},{day}\n" for row, day in enumerate(days)]
    return "".join(["prompt,completion,received\n", *lines])


def with_data(content: str, *options: str) -> Callable[[Kit], Sequence[str]]:
    def prepare(kit: Kit) -> Sequence[str]:
        command = list(poc(*options)(kit))
        command[1] = kit.file("dated.csv", content)
        return command

    return prepare


def by_time(*cells: str) -> Callable[[Kit], Sequence[str]]:
    return with_data(dated(*cells), "--time-column", "received")


def in_parts(*parts: str, twice: bool = False) -> Callable[[Kit], Sequence[str]]:
    texts = [f"question {row * 7919}" for row in range(len(parts))]
    if twice:
        texts[-1] = texts[0]
    lines = [f"{text},answer {row},{part}\n" for row, (text, part) in enumerate(zip(texts, parts, strict=True))]
    return with_data("".join(["prompt,completion,part\n", *lines]), "--split-column", "part")


GIVEN = ("train",) * 20 + ("dev",) * 6 + ("test",) * 8

CASES = (
    Case("dates", "a split column beside a time column", with_data(dated(), "--split-column", "prompt", "--time-column",
         "received"), 2, ("'prompt'", "'received'", "both say")),
    Case("dates", "a missing time column", with_data(dated(), "--time-column", "when"), 1, ("no column 'when'",)),
    Case("dates", "a year of two digits", by_time("26/11/02"), 1, ("Row 2", "'26/11/02'", "two digits", "2026-04-03")),
    Case("dates", "a year behind day and month", by_time("03/04/2026"), 1, ("'03/04/2026'", "could mean two days")),
    Case("dates", "a row without a date", by_time("2026-01-01", "", ""), 1, ("Row 3 has no date", "1 other row")),
    Case("dates", "a word", by_time("yesterday"), 1, ("'yesterday'", "no date")),
    Case("dates", "a day that does not exist", by_time("2026-02-30"), 1, ("'2026-02-30'", "no calendar")),
    Case("dates", "a weekday that contradicts its date", by_time("2026年11月2日(火)"), 1, ("was a Monday",)),
    Case("dates", "an era that contradicts the year", by_time("令和8年(2025年)1月1日"), 1, ("2026 and 2025",)),
    Case("dates", "a placeholder", by_time("9999-12-31"), 1, ("'9999-12-31'", "placeholder")),
    Case("dates", "months beside days", by_time("2026-01"), 1, ("a month alone in row 2", "a day in row 3")),
    Case("dates", "offsets from UTC in some rows", by_time("2026-01-01T08:00Z"), 1, ("offset from UTC in row 2",)),
    Case("dates", "one day for all rows", by_time(*["2026-01-01"] * ROWS), 1, ("1 moment", "instead of about 10")),
    Case("shift", "four shifted rows", in_parts(*GIVEN, *["shift"] * 4), 1, ("The shift part has 4 rows", "5 groups")),
    Case("shift", "a prompt in train and in shift", in_parts(*GIVEN, *["シフト"] * 6, twice=True), 1,
         ("in train and in shift", "train row 2 and shift row 41")),
    Case("slices", "a missing column", poc("--slice-column", "prompt,region"), 1, ("no column 'region'",)),
)  # fmt: skip

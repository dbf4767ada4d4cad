"""Price tables and business cases that cannot be used, as cases for the table of bad inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.cli.bad_inputs import Case, Kit
from tests.cli.bad_studies import line, poc

HEAD = "currency: JPY\ndate: 2026-11\nsource: quotation 7\n"


def table(content: str | bytes) -> Callable[[Kit], Sequence[str]]:
    return lambda kit: ["prices", kit.file("prices.yaml", content)]


def priced(text: str) -> Callable[[Kit], Sequence[str]]:
    return table(f"{HEAD}{text}\n")


def case(text: str) -> Callable[[Kit], Sequence[str]]:
    return priced(f"business_case: {text}")


def no_table(kit: Kit) -> Sequence[str]:
    return ["prices", str(kit.folder / "no.yaml")]


def for_a_study(kit: Kit) -> Sequence[str]:
    return [*poc()(kit), "--prices", kit.file("prices.yaml", f"{HEAD}cpu_hour: -1\n")]


def starter_over_a_file(kit: Kit) -> Sequence[str]:
    return ["prices", "--write", kit.file("prices.yaml", HEAD)]


def no_study(kit: Kit) -> Sequence[str]:
    return ["money", str(kit.folder), "--prices", kit.file("prices.yaml", f"{HEAD}cpu_hour: 30\n")]


BOUGHT = "{purchase: 600000, years: 5, power_kw: 0.3, kwh: 30, utilisation: %s}"

CASES = (
    Case("prices", "neither a table nor a file to write", line("prices"), 2, ("--write prices.yaml",)),
    Case("prices", "a table that does not exist", no_table, 2, ("no price table", "no.yaml")),
    Case("prices", "a starter over a file", starter_over_a_file, 2, ("exists already",)),
    Case("prices", "JSON of a starter", line("prices", "--write", "a.yaml", "--json"), 2, ("--json", "--write")),
    Case("prices", "text that is not YAML", table("currency: [JPY\n"), 2, ("line 2 is no YAML",)),
    Case(
        "prices",
        "a currency that is no code",
        table("currency: 円\ndate: 2026-11\nsource: q\ncpu_hour: 60\n"),
        2,
        ("currency must be three capital letters such as JPY, EUR or USD, got '円'",),
    ),
    Case(
        "prices",
        "a price given twice",
        table("currency: JPY\ncpu_hour: 60\ncpu_hour: 6000\n"),
        2,
        ("line 3 is no YAML: cpu_hour is there twice (first in line 2)",),
    ),
    Case(
        "prices", "Shift_JIS", table("source: 見積書".encode("cp932")), 2, ("is not UTF-8 (byte 8)", "Save it as UTF-8")
    ),
    Case("prices", "a list", table("- 1\n"), 2, ("holds no keys", "--write")),
    Case("prices", "an empty file", table(""), 2, ("holds no keys",)),
    Case("prices", "a table that holds itself", table("a: &a {b: *a}\n"), 2, ("refers to another place",)),
    Case("prices", "no date", table("currency: JPY\nsource: a list\ncpu_hour: 30\n"), 2, ("date is missing",)),
    Case("prices", "no source", table("currency: JPY\ndate: 2026-11\n"), 2, ("source is missing",)),
    Case("prices", "a month that is not there", table(HEAD.replace("-11", "-13")), 2, ("2026-13", "month or a day")),
    Case("prices", "an unknown key", priced("tpu_hour: 3"), 2, ("tpu_hour is not a known key",)),
    Case("prices", "a negative price", priced("cpu_hour: -1"), 2, ("cpu_hour", "got -1")),
    Case("prices", "a negative price for a study", for_a_study, 2, ("cpu_hour", "got -1")),
    Case("prices", "a price with a comma", priced("cpu_hour: '1,200'"), 2, ("'1,200'", "Write 1200.")),
    Case("prices", "a price with a sign", priced("cpu_hour: ￥１２０円"), 2, ("plain number", "Write 120.")),
    Case("prices", "a word for a price", priced("cpu_hour: cheap"), 2, ("cpu_hour", "'cheap'")),
    Case("prices", "a time of day for a number", case("{minutes_saved: 1:30}"), 2, ("minutes_saved", "'1:30'")),
    Case("prices", "percent for a share", priced(f"gpu_on_premises: {BOUGHT % '60%'}"), 2, ("'60%'", "Write 0.6.")),
    Case("prices", "a share above one", priced(f"gpu_on_premises: {BOUGHT % 60}"), 2, ("utilisation", "got 60")),
    Case(
        "prices", "half of a way to pay", priced("cpu_reserved: {month: 9000}"), 2, ("cpu_reserved.hours is missing",)
    ),
    Case(
        "prices", "more hours than a month has", priced("cpu_reserved: {month: 9, hours: 800}"), 2, ("744", "got 800")
    ),
    Case(
        "prices",
        "a range the wrong way round",
        case("{minutes_saved: {value: 3, low: 4, high: 2}}"),
        2,
        ("between low and high", "'low': 4"),
    ),
    Case("prices", "a range with one end", case("{minutes_saved: {value: 3, low: 2}}"), 2, ("both low and high",)),
    Case("prices", "no cases", case("{cases_per_month: 0}"), 2, ("cases_per_month", "greater than 0")),
    Case("prices", "an unknown way of serving", case("{serving: always}"), 2, ("serving", "as_needed")),
    Case("money", "a folder without a study", no_study, 1, ("no study",)),
)

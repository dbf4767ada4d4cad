"""The price table as a file: the starter in both languages, blanks, and numbers as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.config import Knobs, LanguageName
from tsugiki.errors import UsageError
from tsugiki.measure.prices import BusinessCase, OnPremises, Prices, Reserved
from tsugiki.work.price_table import QUESTIONS_JA, SECTIONS, read_prices, starter, summary_of

KINDS: tuple[type[Knobs], ...] = (Prices, Reserved, OnPremises, BusinessCase)
HEAD = "currency: JPY\ndate: 2026-11\nsource: quotation 7\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "prices.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_plain_case_is_a_price_of_an_hour(tmp_path: Path) -> None:
    found = read_prices(
        write(tmp_path, b"\xef\xbb\xbf" + b"currency: EUR\ndate: 2026-10-01\nsource: q\ngpu_hour: 2.5\n")
    )
    assert (found.currency, found.date, found.cpu_hour) == ("EUR", "2026-10-01", None)
    assert found.gpu_hour is not None and found.gpu_hour.value == 2.5


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_starter_asks_for_everything_and_invents_no_price(language: LanguageName, tmp_path: Path) -> None:
    text = starter(language)
    for kind in KINDS:
        for name, field in kind.model_fields.items():
            assert f"# {QUESTIONS_JA[name] if language == 'ja' else field.description}\n" in text
            assert f"{name}:" in text
    blank = yaml.safe_load(text)
    defaults = {"right_score", "serving", "training_paid", "serving_paid", "horizon_months"}
    filled = {key for key, value in blank["business_case"].items() if value is not None}
    assert filled == defaults
    for name, value in blank.items():
        assert all(one is None for one in value.values()) if name in SECTIONS and name != "business_case" else (
            value is None or name == "business_case"
        )  # fmt: skip
    with pytest.raises(UsageError) as error:
        read_prices(write(tmp_path, text))
    for name in ("currency", "date", "source"):
        assert f"{name} is missing" in error.value.problem
    assert error.value.problem.count("missing") == 3


def test_the_japanese_starter_is_in_japanese() -> None:
    assert set(QUESTIONS_JA) == {name for kind in KINDS for name in kind.model_fields}
    lines = [line for line in starter("ja").splitlines() if line.lstrip().startswith("# ") and line.isascii()]
    assert lines == ["#   tsugiki poc DATA --base BASE --out STUDY --prices THIS_FILE"]


def test_a_starter_that_is_partly_filled_in_counts_what_is_there(tmp_path: Path) -> None:
    text = starter()
    for name, value in {"currency": "JPY", "date": "2026-11", "source": "a list", "cpu_hour": "30"}.items():
        text = text.replace(f"\n{name}:\n", f"\n{name}: {value}\n")
    text = text.replace("\n  cases_per_month:\n", "\n  cases_per_month: {value: 900, low: 800, high: 1000}\n")
    found = read_prices(write(tmp_path, text))
    assert found.cpu_reserved is None and found.gpu_on_premises is None and found.wage_hour is None
    assert found.case.cases_per_month is not None and found.case.cases_per_month.high == 1000
    assert found.case.minutes_saved is None and found.case.serving == "as_needed"
    summary = summary_of(found)
    assert summary["machines"] == {"cpu": [{"way": "hour", "hour": 30.0, "month": 30 * 730.5}], "gpu": []}
    assert summary["lacks"] == ["minutes_saved", "wage_hour"]


@pytest.mark.parametrize("blank", ["", "~", "null", "''", "   "])
def test_a_blank_is_an_amount_that_was_not_given(blank: str, tmp_path: Path) -> None:
    assert read_prices(write(tmp_path, f"{HEAD}cpu_hour: {blank}\ncpu_reserved:\n  month: {blank}\n")).cpu_hour is None


@pytest.mark.parametrize(
    ("written", "advice"),
    [("1,200", "1200"), ("60%", "0.6"), ("６０％", "0.6"), ("¥1,200", "1200"), ("１２０円", "120"), ("$3.50", "3.5")],
)
def test_a_number_that_is_dressed_up_is_refused_with_the_plain_one(written: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_prices(write(tmp_path, f"{HEAD}cpu_hour: '{written}'\n"))
    assert f"cpu_hour must be a plain number, got '{written}'" in error.value.problem
    assert error.value.fix == f"Write {advice}."


def test_an_amount_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    for line in (
        "cpu_hour: 1e308",
        "business_case:\n  cases_per_month: 1e16",
        "cpu_hour: {value: 1, low: 0, high: 1e300}",
    ):
        with pytest.raises(UsageError, match="less than or equal to 1000000000000000"):
            read_prices(write(tmp_path, f"{HEAD}{line}\n"))


def test_numbers_are_those_that_were_typed(tmp_path: Path) -> None:
    found = read_prices(write(tmp_path, f"{HEAD}cpu_hour: 010\nbusiness_case:\n  training_rows: 500\n"))
    assert found.cpu_hour is not None and found.cpu_hour.value == 10  # YAML 1.1 alone would say 8
    assert found.case.training_rows == 500


@given(price=st.floats(0, 1e12, allow_subnormal=False))
def test_any_price_survives_the_file(price: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("table")
    found = read_prices(write(folder, f"{HEAD}cpu_hour: {price!r}\n"))
    assert found.cpu_hour is not None and found.cpu_hour.value == price


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_in_a_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "prices.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        read_prices(path)
    except UsageError as error:
        assert str(error)


def test_a_way_of_paying_without_its_price_is_lacking(tmp_path: Path) -> None:
    def lacks(text: str) -> list[str]:
        found: list[str] = summary_of(read_prices(write(tmp_path, f"{HEAD}{text}")))["lacks"]
        return found

    assert "machine_price" in lacks("wage_hour: 3000\n")
    assert "machine_price" in lacks("cpu_hour: 60\nbusiness_case:\n  serving_paid: reserved\n")
    assert "machine_price" not in lacks("gpu_hour: 60\n")

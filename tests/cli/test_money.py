"""`tsugiki prices` and `tsugiki money`: what they print, what they write, and what they leave alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.work.test_money import study
from tsugiki.cli.main import status_of

TABLE = """\
currency: JPY
date: 2026-11
source: 見積書7
wage_hour: 3000
cpu_hour: 3600
business_case: {cases_per_month: 1000, minutes_saved: 3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "study"
    study(path, prices=None, methods=("lora", "full"))
    return path


@pytest.fixture
def prices(tmp_path: Path) -> str:
    path = tmp_path / "prices.yaml"
    path.write_text(TABLE, encoding="utf-8")
    return str(path)


def test_a_starter_is_written_once_and_says_how_to_go_on(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "new" / "prices.yaml"
    assert status_of(["prices", "--write", str(path), "--language", "ja"]) == 0
    assert capsys.readouterr().err == f"Fill in {path}, then pass it with --prices.\n"
    assert "単価表" in path.read_text(encoding="utf-8")
    assert status_of(["prices", "--write", str(path)]) == 2


def test_a_table_is_read_back(prices: str, capsys: Any) -> None:
    assert status_of(["prices", prices, "--language", "ja"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("単価: 2026-11時点、見積書7（JPY）\n") and "使用1時間 ¥3,600" in said
    assert status_of(["prices", prices, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machines"]["cpu"] == [{"way": "hour", "hour": 3600.0, "month": 3600 * 730.5}]
    assert found["lacks"] == []


def test_a_finished_study_is_reckoned_with_any_table(folder: Path, prices: str, tmp_path: Path, capsys: Any) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert status_of(["money", str(folder), "--prices", prices, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "Prices of 2026-11, 見積書7, in JPY" in said and "¥113,840" in said  # 114,000 saved, 160 of machine time
    assert said.endswith(f"{tmp_path / 'out' / 'scorecard.html'}\n")
    assert status_of(["money", str(folder), "--prices", prices, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "scorecard.json").read_text(encoding="utf-8"))["money"]
    assert status_of(["money", str(folder), "--prices", prices, "--language", "ja"]) == 0
    assert "差し引き（月）" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_study_without_prices_needs_some(folder: Path, prices: str, capsys: Any) -> None:
    assert status_of(["money", str(folder)]) == 1
    assert "was started without prices" in capsys.readouterr().err
    assert status_of(["money", str(folder), "--prices", prices, "--out", str(folder)]) == 2
    assert "keeps its own scorecard" in capsys.readouterr().err

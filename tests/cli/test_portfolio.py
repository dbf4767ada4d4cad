from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.work.workspaces import workspace
from tsugiki.cli.main import status_of


def test_lines_page_and_json_say_the_same(capsys: Any, tmp_path: Path):
    place, page = workspace(tmp_path / "studies"), tmp_path / "new" / "portfolio.html"
    assert status_of(["portfolio", str(place), "--out", str(page), "--language", "ja"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.splitlines()[0] == "検証4件：拡大1件、保留2件、中止1件"
    assert said.out.endswith(f"\n{page}\n")
    assert "検証4件：拡大1件、保留2件、中止1件" in page.read_text(encoding="utf-8")
    written = page.read_bytes()
    assert status_of(["portfolio", str(place), "--out", str(page), "--language", "ja", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"] == {"expand": 1, "hold": 2, "stop": 1} and len(found["unusable"]) == 2
    assert page.read_bytes() == written


def test_the_language_is_that_of_the_cards(capsys: Any, tmp_path: Path):
    assert status_of(["portfolio", str(workspace(tmp_path))]) == 0
    assert capsys.readouterr().out.startswith("Studies: 4.")


def test_only_a_page_of_its_own_is_written_over(capsys: Any, tmp_path: Path):
    place, mine = workspace(tmp_path / "studies"), tmp_path / "rows.csv"
    mine.write_text("prompt,completion\n", encoding="utf-8")
    assert status_of(["portfolio", str(place), "--out", str(mine)]) == 2
    assert "exists already, and is no page that tsugiki portfolio wrote" in capsys.readouterr().err
    assert mine.read_text(encoding="utf-8") == "prompt,completion\n"

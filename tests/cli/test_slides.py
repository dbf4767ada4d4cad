"""`tsugiki slides` through the command line: the file, its language, what is said about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pptx import Presentation

from tests.report.test_retold import coded_card
from tsugiki.cli.main import status_of
from tsugiki.report.scorecard import scorecard_bytes


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "scorecard.json").write_bytes(scorecard_bytes(coded_card("ja")))
    return tmp_path / "study"


def first_title(path: Path) -> str:
    return Presentation(str(path)).slides[0].shapes.title.text_frame.text


def test_slides_come_in_the_scorecard_s_language(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "deck.pptx"
    assert status_of(["slides", str(study), "--out", str(out)]) == 0
    assert first_title(out) == "結論\n見送り"
    assert capsys.readouterr().out == f"{out}\n"


def test_or_in_the_other_one_and_say_so_to_a_program(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deck.pptx"
    assert status_of(["slides", str(study / "scorecard.json"), "--out", str(out), "--language", "en", "--json"]) == 0
    assert first_title(out) == "Verdict\nStop"
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "language": "en", "verdict": "stop"}

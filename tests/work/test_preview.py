from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.work.fakes import FakeTrials, make_study, write_data
from tsugiki.config import Design
from tsugiki.data.shapes import Example
from tsugiki.errors import DataError
from tsugiki.work.prepare import DataSpec, read_source
from tsugiki.work.preview import Preview, preview
from tsugiki.work.study import run_study


def seen(path: Path, *, split_column: str | None = None, tokens: Sequence[int] | None = None) -> Preview:
    def count(examples: Sequence[Example]) -> list[tuple[int, int]]:
        return [(number, 2) for number in (tokens or [])[: len(examples)]]

    source = read_source(DataSpec(path, split_column=split_column))
    return preview(source, Design(), 512, None if tokens is None else count)


def test_a_sound_file_has_nothing_to_say(tmp_path: Path):
    found = seen(write_data(tmp_path / "a.csv"))
    assert (found.warnings, found.train_rows, found.too_long, found.lengths) == ((), 60, 0, ())


def test_what_a_study_would_refuse_is_said_in_its_own_words(tmp_path: Path):
    path = write_data(tmp_path / "few.csv", rows=12)
    found = seen(path)
    with pytest.raises(DataError) as error:
        run_study(make_study(path), tmp_path / "study", lambda event: None, run_trial=FakeTrials())
    assert str(error.value) in found.warnings[0] and found.train_rows is None
    assert found.warnings[1] == "A study takes 20 usable rows at least, 50 are recommended; there are 12."
    assert [concern.kind for concern in found.findings.concerns][:2] == ["refused", "few"]


def test_a_file_without_a_usable_row_is_refused_in_the_same_words(tmp_path: Path):
    path = tmp_path / "none.csv"
    path.write_text("prompt,completion\n,a\nb,\n", encoding="utf-8")
    assert "None of the 2 rows of none.csv can be used: row 2: the prompt is empty." in seen(path).warnings[0]


def test_between_twenty_and_fifty_rows_the_number_is_said_and_nothing_refused(tmp_path: Path):
    found = seen(write_data(tmp_path / "a.csv", rows=30))
    assert len(found.warnings) == 1 and "there are 30" in found.warnings[0] and found.train_rows == 18


def test_rows_that_are_too_long_are_not_counted_as_usable(tmp_path: Path):
    path = write_data(tmp_path / "a.csv", rows=100)
    found = seen(path, tokens=[600] * 10 + [8] * 90)
    assert (found.findings.used, found.too_long, len(found.lengths)) == (90, 10, 90)
    assert found.train_rows is not None and found.train_rows < 60
    refused = seen(path, tokens=[600] * 90 + [8] * 10)
    assert "longer than 512 tokens (up to 602). Pass --max-length 602" in refused.warnings[0]


def test_a_split_column_decides_how_many_rows_are_trained_on(tmp_path: Path):
    path = tmp_path / "a.csv"
    names = ["train"] * 40 + ["dev"] * 6 + ["test"] * 6
    rows = [f"unlike {place * 7919},answer,{name}" for place, name in enumerate(names)]
    path.write_text("\n".join(["prompt,completion,part", *rows]) + "\n", encoding="utf-8")
    assert seen(path, split_column="part").train_rows == 40
    path.write_text("\n".join(["prompt,completion,part", *rows, "x,y,elsewhere"]) + "\n", encoding="utf-8")
    assert "Row 54 says 'elsewhere' in the split column." in seen(path, split_column="part").warnings[0]

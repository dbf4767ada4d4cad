"""The templates as data: complete in both languages, fit for config, and with example rows that a study would take."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from tsugiki.config import Criteria, Design, KindName, LanguageName, parse
from tsugiki.data.check import check
from tsugiki.data.split import FEWEST_ROWS
from tsugiki.report.words import LANGUAGES, placeholders
from tsugiki.work import kinds
from tsugiki.work.kinds import KINDS, example_rows, read_kind, sizes_of
from tsugiki.work.prepare import DataSpec, read_source, study_examples
from tsugiki.work.preview import preview

SAYS = {"title", "summary", "purpose", "row", "metric", "right", "success", "withdraw", "margin", "rows"}
JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
EACH_FILE = pytest.mark.parametrize(("name", "language"), [(name, one) for name in KINDS for one in LANGUAGES])


def test_every_name_of_config_has_its_files_and_no_other_is_there() -> None:
    folder = Path(kinds.__file__).parent / "templates"
    wanted = {f"{name}.toml" for name in get_args(KindName)}
    wanted |= {f"{name}.{language}.csv" for name in get_args(KindName) for language in LANGUAGES}
    found = {path.name for path in folder.iterdir() if path.suffix in (".toml", ".csv")}
    assert found == wanted


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_whole_in_both_languages(name: KindName) -> None:
    kind = read_kind(name)
    assert set(kind.says) == SAYS
    assert len(kind.traps) >= 4 and len(kind.reading) >= 3
    for text in (*kind.says.values(), *kind.traps, *kind.reading):
        assert set(text) == set(LANGUAGES)
        assert placeholders(text["ja"]) == placeholders(text["en"])
        assert set(placeholders(text["en"])) <= {"per_label", "review"}
        assert JAPANESE.search(text["ja"]) and not JAPANESE.search(text["en"])


@pytest.mark.parametrize("name", KINDS)
def test_the_defaults_pass_the_criteria(name: KindName) -> None:
    kind = read_kind(name)
    found = parse(Criteria, {**kind.criteria, "success": 0.8, "withdraw": 0.4}, source=name)
    assert all(getattr(found, key) == value for key, value in kind.criteria.items())
    assert {"metric", "margin_points"} <= set(kind.criteria)


@EACH_FILE
def test_the_example_rows_pass_check_and_a_study_would_take_them(
    name: KindName, language: LanguageName, tmp_path: Path
) -> None:
    path = tmp_path / "examples.csv"
    path.write_text("\ufeff" + example_rows(name, language), encoding="utf-8")
    source = read_source(DataSpec(path))
    found = check(source.examples, excluded=source.guess.excluded)
    assert found.rows == found.used >= FEWEST_ROWS
    assert found.excluded == () and found.sensitive == ()
    assert not {concern.kind for concern in found.concerns} & {
        "contradiction",
        "constant",
        "control-character",
        "formula",
    }
    assert found.closed == (name in ("classification", "question-answering"))
    assert max(found.languages, key=lambda one: found.languages[one]) == language
    seen = preview(source, Design(), 512)
    assert seen.train_rows is not None, seen.warnings
    assert [warning for warning in seen.warnings if "recommended" not in warning] == []
    assert len(study_examples(source, Design(), read_kind(name).criteria["metric"])) == found.used


@pytest.mark.parametrize("language", LANGUAGES)
def test_extraction_rows_follow_the_advice_of_their_own_template(language: LanguageName) -> None:
    rows = list(csv.reader(io.StringIO(example_rows("extraction", language))))[1:]
    answers = [json.loads(answer) for _, answer in rows]
    assert len({tuple(answer) for answer in answers}) == 1  # the same fields in the same order
    assert sum(value is None for answer in answers for value in answer.values()) >= 4
    assert {type(answer[key]) for answer in answers for key in list(answer)[1:2]} == {int, type(None)}
    for (text, _), answer in zip(rows, answers, strict=True):
        part = next(iter(answer.values()))
        assert part in text  # what the text does not hold cannot be extracted


@pytest.mark.parametrize("language", LANGUAGES)
def test_normalisation_rows_hold_terms_that_are_right_already_and_a_group(language: LanguageName) -> None:
    head, *rows = csv.reader(io.StringIO(example_rows("normalisation", language)))
    assert head[2] == "group"
    assert 2 <= sum(prompt == completion for prompt, completion, _ in rows) <= len(rows) / 4
    assert all(group == completion for _, completion, group in rows)


def test_sizes_are_those_of_the_formulas() -> None:
    sizes = sizes_of(read_kind("classification"))
    assert (sizes.start.test, sizes.start.all) == (93, 372)
    assert [rows.test for rows in sizes.intervals] == sorted(rows.test for rows in sizes.intervals)
    assert [rows.test for rows in sizes.leads] == sorted(rows.test for rows in sizes.leads)
    assert [rows.test for rows in sizes.margins] == sorted((rows.test for rows in sizes.margins), reverse=True)
    assert sizes.per_label == 7 and sizes.confidence == 0.95
    assert all(rows.all * Design().test_share >= rows.test for rows in (*sizes.intervals, *sizes.margins))

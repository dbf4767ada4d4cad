"""The papers of each kind: an intake that is refused blank and passes filled in, a plan and a guide that say it all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tsugiki.config import KindName, LanguageName
from tsugiki.errors import UsageError
from tsugiki.report.words import LANGUAGES
from tsugiki.work.intake import QUESTIONS_JA, read_intake, starter
from tsugiki.work.kinds import KINDS, read_kind, sizes_of
from tsugiki.work.papers import as_json, evaluation_plan, guide, kind_starter, listing, write_papers

EACH = pytest.mark.parametrize(("name", "language"), [(name, one) for name in KINDS for one in LANGUAGES])
BLANKS = {"purpose": "p", "owner": "o", "reviewer": "r", "  success": "0.7", "  withdraw": "0.2"}


def written(folder: Path, text: str) -> Path:
    path = folder / "intake.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@EACH
def test_a_blank_intake_names_what_is_missing(name: KindName, language: LanguageName, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_intake(written(tmp_path, kind_starter(name, language)))
    for field in ("purpose", "owner", "reviewer", "criteria.success", "criteria.withdraw"):
        assert f"{field} is missing" in error.value.problem
    assert "metric" not in error.value.problem


@EACH
def test_a_filled_intake_passes_with_the_defaults_of_the_kind(
    name: KindName, language: LanguageName, tmp_path: Path
) -> None:
    text = kind_starter(name, language)
    for key, value in BLANKS.items():
        assert text.count(f"\n{key}:\n") == 1
        text = text.replace(f"\n{key}:\n", f"\n{key}: {value}\n")
    found = read_intake(written(tmp_path, text))
    assert found.language == language
    for key, value in read_kind(name).criteria.items():
        assert getattr(found.criteria, key) == value


@EACH
def test_an_intake_holds_advice_traps_and_computed_numbers(name: KindName, language: LanguageName) -> None:
    text = kind_starter(name, language)
    kind = read_kind(name)
    flat = "".join(text.replace("#", "").split())
    for advice in ("purpose", "row", "metric", "success", "withdraw", "margin"):
        assert "".join(kind.says[advice][language].split()) in flat
    for trap in kind.traps:
        assert "".join(trap[language].split()) in flat
    start = sizes_of(kind).start
    assert f"{start.test:,}" in text and f"{start.all:,}" in text
    assert text.count("start with these" if language == "en" else "まずはこの件数から") == 1
    if language == "en":
        assert max(map(len, text.splitlines())) <= 120
    else:
        assert all(f"# {question}" in text for question in QUESTIONS_JA.values())


def test_the_starter_without_a_kind_stays_as_it_is() -> None:
    assert "Kind of work" not in starter() and starter().count("#") < 25


@EACH
def test_a_plan_has_blanks_numbers_and_every_check(name: KindName, language: LanguageName) -> None:
    text = evaluation_plan(name, language)
    kind, sizes = read_kind(name), sizes_of(read_kind(name))
    assert text.startswith("# ") and kind.says["title"][language] in text.splitlines()[0]
    assert [line[3] for line in text.splitlines() if line.startswith("## ")] == list("1234567")
    assert text.count("- [ ] ") == len(kind.traps) + len(kind.reading)
    assert "{" not in text
    for rows in (*sizes.intervals, *sizes.leads, *sizes.margins):
        assert f"{rows.test:,}" in text
    assert ("＿" if language == "ja" else "____") in text
    assert f"| {kind.criteria['margin_points']:g}" in text


@EACH
def test_a_guide_shows_rows_and_how_to_get_the_files(name: KindName, language: LanguageName) -> None:
    text = guide(name, language)
    first = as_json(name, language)["examples"][0]
    assert all(value.split()[0] in text for value in first.values())
    assert f"tsugiki templates {name} --language {language} --out FOLDER" in text.replace("\n", " ")
    assert "{per_label}" not in text


def test_the_listing_names_every_kind_in_both_languages() -> None:
    for language in LANGUAGES:
        lines = dict(listing(language))
        assert tuple(lines) == KINDS
        assert all(read_kind(name).says["title"][language] in about for name, about in lines.items())  # type: ignore[index]


def test_the_json_is_plain_and_blanks_are_null() -> None:
    found = json.loads(json.dumps(as_json("extraction", "ja"), allow_nan=False))
    assert found["criteria"]["metric"] == "json_fields"
    assert found["criteria"]["success"] is None and found["criteria"]["withdraw"] is None
    assert found["criteria"]["confidence"] == 0.95
    assert len(found["examples"]) == 24 and found["rows"]["start"]["test"] == 93


def test_papers_are_written_once(tmp_path: Path) -> None:
    paths = write_papers("classification", "ja", tmp_path / "new")
    assert [path.name for path in paths] == ["intake.yaml", "examples.csv", "evaluation.md"]
    assert paths[1].read_bytes().startswith(b"\xef\xbb\xbf")  # Excel in Japanese reads UTF-8 only with it
    with pytest.raises(UsageError, match=r"intake\.yaml exists already"):
        write_papers("classification", "ja", tmp_path / "new")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "evaluation.md").write_text("mine")
    with pytest.raises(UsageError, match=r"evaluation\.md exists already"):
        write_papers("classification", "ja", tmp_path / "half")
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["evaluation.md"]

"""The demonstration data: real, the same on every run, and refused with the install line when its package is absent."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tsugiki.errors import DataError
from tsugiki.work import demo


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_english_file_maps_findings_to_linter_families(tmp_path: Path) -> None:
    study = demo.demo_study("en", tmp_path)
    rows = read(study.data.path)
    assert study.base == "smollm2-135m"
    assert {"prompt": "Finding: Docstring is over-indented\nTool: ", "completion": "pydocstyle"} in rows
    assert 300 <= len(rows) <= 450
    families = Counter(row["completion"] for row in rows)
    assert set(families) == set(demo.FAMILIES)
    assert max(families.values()) <= 3 * min(families.values())
    assert len({row["prompt"] for row in rows}) == len(rows)
    assert study.intake.criteria.withdraw < study.intake.criteria.success
    assert study.design.budget_minutes <= 10


def test_the_japanese_file_maps_variants_to_standard_forms(tmp_path: Path) -> None:
    study = demo.demo_study("ja", tmp_path)
    rows = read(study.data.path)
    assert study.base == "gemma3-270m"
    assert study.intake.language == "ja"
    assert len(rows) == 2 * demo.VARIANTS_PER_KIND
    for row in rows:
        surface = row["prompt"].removeprefix("用語: ").removesuffix("\n標準表記: ")
        assert surface != row["completion"]  # copying the input must score nothing
        assert row["group"] == row["completion"]
    assert sum(demo.KATAKANA.fullmatch(row["completion"]) is not None for row in rows) == demo.VARIANTS_PER_KIND


@pytest.mark.parametrize("language", ["en", "ja"])
def test_two_runs_write_the_same_bytes(language: str, tmp_path: Path) -> None:
    first, second = (demo.demo_study(language, tmp_path / name) for name in ("first", "second"))  # type: ignore[arg-type]
    assert first.data.path.read_bytes() == second.data.path.read_bytes()


@pytest.mark.parametrize(
    ("surface", "standard", "expected"),
    [
        ("取付", "取り付け", True),
        ("押え", "押さえ", True),
        ("いぬ", "犬", False),  # needs knowledge of the kanji, not a rule
        ("附属", "付属", False),  # another kanji
        ("サーバ", "サーバー", False),
    ],
)
def test_okurigana_pairs_keep_their_kanji(surface: str, standard: str, expected: bool) -> None:
    assert demo._differ_in_okurigana(surface, standard) is expected


def test_a_text_of_two_families_and_a_bare_placeholder_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = """[
      {"linter": "Pyflakes", "summary": "Shared  text"}, {"linter": "pycodestyle", "summary": "Shared text"},
      {"linter": "Pyflakes", "summary": "{message}"}, {"linter": "isort", "summary": "Not a family of the demo"},
      {"linter": "Pyflakes", "summary": "Unused import"}, {"linter": "Pyflakes", "summary": "Unused import"}
    ]"""
    monkeypatch.setattr(demo, "_ruff", lambda *arguments: catalogue)
    assert demo.finding_rows() == [("Finding: Unused import\nTool: ", "Pyflakes")]


def test_a_missing_ruff_names_the_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise demo.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(demo.metadata, "distribution", absent)
    with pytest.raises(DataError, match=r"ruff, which is not installed.*pip install 'tsugiki\[demo\]'"):
        demo.demo_study("en", tmp_path)


def test_a_missing_dictionary_names_the_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sudachipy", None)
    with pytest.raises(DataError, match=r"SudachiDict, which is not installed.*pip install 'tsugiki\[demo-ja\]'"):
        demo.demo_study("ja", tmp_path)


def test_an_unknown_catalogue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_ruff", lambda *arguments: "[]")
    with pytest.raises(DataError, match="none of the linter families"):
        demo.finding_rows()

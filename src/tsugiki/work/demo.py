"""The demonstration study: real data and a real base that travel in installed packages, so that nothing is downloaded.

Called by `tsugiki demo`, which hands the result to the same study that `tsugiki poc` runs. English: the rule catalogue
of the ruff wheel, from the text of a finding to the linter family it comes from. Japanese: SudachiDict, from a spelling
variant to the standard form. This file only builds the data file and the settings; it trains and measures nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tsugiki.config import Criteria, Design, Intake, LanguageName, Recipe
from tsugiki.errors import DataError
from tsugiki.files import make_folder, write_text
from tsugiki.fingerprint import digest_bytes
from tsugiki.work.prepare import DataSpec
from tsugiki.work.study import Study

# The families with 30 rules or more, less three that have no subject of their own: Pylint and refurb overlap with the
# others, and ruff's own rules are a mixture.
FAMILIES = (
    "Pyflakes",
    "flake8-bandit",
    "flake8-bugbear",
    "flake8-pyi",
    "flake8-pytest-style",
    "flake8-use-pathlib",
    "pycodestyle",
    "pydocstyle",
    "pyupgrade",
)

VARIANTS_PER_KIND = 250
KATAKANA = re.compile(r"[ァ-ヴー]{3,12}")
KANJI_WITH_KANA = re.compile(r"[一-鿿々ぁ-ん]{2,12}")
KANA = re.compile(r"[ぁ-ん]")


def demo_study(language: LanguageName, folder: Path) -> Study:
    """Write the demonstration's data file into `folder`; return the study of it.

    More tokens per pass than the default: a seventh faster on two cores, for a few hundred megabytes more.
    """
    make_folder(folder, "--out")
    rows: list[tuple[str, ...]]
    if language == "ja":
        path, columns, rows = folder / "hyoki.csv", "prompt completion group", variant_rows()
        base, intake, minutes = "gemma3-270m", _intake_ja(), 20
    else:
        path, columns, rows = folder / "findings.csv", "prompt completion", finding_rows()
        base, intake, minutes = "smollm2-135m", _intake_en(), 8
    _write(path, tuple(columns.split()), rows)
    return Study(
        data=DataSpec(path),
        base=base,
        intake=intake,
        design=Design(seeds=3, curve_sizes=2, tries=1, budget_minutes=minutes, test_share=0.25, dev_share=0.15),
        recipe=Recipe(micro_tokens=512),
    )


def finding_rows() -> list[tuple[str, ...]]:
    """One row per distinct finding text of the installed ruff's catalogue, for the families in FAMILIES."""
    families: dict[str, set[str]] = defaultdict(set)
    for rule in catalogue():
        if rule["linter"] in FAMILIES:
            families[" ".join(rule["summary"].split())].add(rule["linter"])
    texts = {text: found.pop() for text, found in families.items() if len(found) == 1 and not _says_nothing(text)}
    if not texts:
        raise DataError(
            "The rule catalogue of the installed ruff names none of the linter families that the demo uses.",
            fix="Install the pinned version: pip install ruff -c constraints.txt.",
        )
    return [(f"Finding: {text}\nTool: ", texts[text]) for text in sorted(texts)]


def catalogue() -> list[dict[str, Any]]:
    """Every rule of the installed ruff, as it describes them itself."""
    rules: list[dict[str, Any]] = json.loads(_ruff("rule", "--all", "--output-format", "json"))
    return rules


def variant_rows() -> list[tuple[str, ...]]:
    """Katakana and okurigana variants of SudachiDict's common nouns with their standard form, half of each kind.

    Pairs that need the reader to know the kanji for a kana word are left out: no rule could be learned for them.
    The standard form is the group, so that two variants of one word never stand in both train and test.
    """
    katakana: dict[str, set[str]] = defaultdict(set)
    okurigana: dict[str, set[str]] = defaultdict(set)
    for surface, standard in _common_nouns():
        if surface == standard:
            continue
        if KATAKANA.fullmatch(surface) and KATAKANA.fullmatch(standard):
            katakana[surface].add(standard)
        elif _differ_in_okurigana(surface, standard):
            okurigana[surface].add(standard)
    chosen = {**_first_by_digest(katakana), **_first_by_digest(okurigana)}
    return [(f"用語: {surface}\n標準表記: ", chosen[surface], chosen[surface]) for surface in sorted(chosen)]


def _ruff(*arguments: str) -> str:
    """The output of the ruff that is installed beside this package, not of another one on the search path."""
    try:
        files = metadata.distribution("ruff").files or []
    except metadata.PackageNotFoundError:
        files = []
    binary = next((Path(file.locate()) for file in files if file.name in ("ruff", "ruff.exe")), None)
    if binary is None or not binary.is_file():
        raise DataError(
            "The English demo reads the rule catalogue of the package ruff, which is not installed.",
            fix="Install it: pip install 'tsugiki[demo]'.",
        )
    return subprocess.run([binary, *arguments], check=True, capture_output=True, encoding="utf-8").stdout


def _says_nothing(text: str) -> bool:
    """A message that is one placeholder holds no words to learn from."""
    return re.fullmatch(r"\{\w+\}", text) is not None


def _common_nouns() -> Iterable[tuple[str, str]]:
    """(surface, normalised form) of every common noun in the dictionary."""
    try:
        from sudachipy import Dictionary

        dictionary = Dictionary(dict="small")
    except ImportError as error:  # sudachipy itself raises this kind too when the dictionary package is missing
        raise DataError(
            f"The Japanese demo reads SudachiDict, which is not installed ({error}).",
            fix="Install it: pip install 'tsugiki[demo-ja]'.",
        ) from None
    for entry in dictionary.entries():
        if entry.part_of_speech()[:2] == ("名詞", "普通名詞"):
            yield entry.surface(), entry.normalized_form()


def _differ_in_okurigana(surface: str, standard: str) -> bool:
    kanji = KANA.sub("", surface)
    both = KANJI_WITH_KANA.fullmatch(surface) and KANJI_WITH_KANA.fullmatch(standard)
    return bool(both) and kanji != "" and kanji == KANA.sub("", standard)


def _first_by_digest(variants: dict[str, set[str]]) -> dict[str, str]:
    """A fixed choice of VARIANTS_PER_KIND surfaces with one standard form each.

    Ordered by digest, a newer dictionary exchanges a few rows instead of shifting all of them.
    """
    single = {surface: next(iter(forms)) for surface, forms in variants.items() if len(forms) == 1}
    order = sorted(single, key=lambda surface: digest_bytes(surface.encode()))
    return {surface: single[surface] for surface in order[:VARIANTS_PER_KIND]}


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _intake_en() -> Intake:
    return Intake(
        purpose="Name the tool that reported a static-analysis finding, so that it reaches the team owning the tool.",
        owner="tsugiki demo",
        reviewer="reader of this scorecard",
        criteria=Criteria(metric="exact_match", success=0.6, withdraw=0.3),
        language="en",
    )


def _intake_ja() -> Intake:
    return Intake(
        purpose="技術文書の表記ゆれ(長音、ヴ、送り仮名)を標準表記にそろえ、校閲の手間を減らす。",
        owner="tsugiki デモ",
        reviewer="このスコアカードの読み手",
        criteria=Criteria(metric="exact_match", success=0.5, withdraw=0.2),
        language="ja",
    )

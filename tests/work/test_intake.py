from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tsugiki.config import Criteria, Intake
from tsugiki.errors import UsageError
from tsugiki.work.intake import QUESTIONS_JA, ask_intake, intake_needed, read_intake, starter

FILLED = {
    "purpose": "部品の分類",
    "owner": "Sato",
    "reviewer": "Takahashi",
    "criteria": {"metric": "exact_match", "success": 0.65, "withdraw": 0.4},
    "language": "ja",
}


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "intake.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_reads_a_filled_file(tmp_path: Path):
    found = read_intake(write(tmp_path, yaml.safe_dump(FILLED, allow_unicode=True)))
    assert found == Intake(
        purpose="部品の分類",
        owner="Sato",
        reviewer="Takahashi",
        criteria=Criteria(metric="exact_match", success=0.65, withdraw=0.4),
        language="ja",
    )


def test_the_starter_asks_every_question_and_refuses_to_be_used_empty(tmp_path: Path):
    text = starter()
    for field in (*Intake.model_fields.values(), *Criteria.model_fields.values()):
        assert f"# {field.description}" in text
    with pytest.raises(UsageError) as error:
        read_intake(write(tmp_path, text))
    for name in ("purpose", "owner", "reviewer", "criteria.success", "criteria.withdraw"):
        assert f"{name} is missing" in error.value.problem


def test_the_japanese_starter_asks_every_question_in_japanese(tmp_path: Path):
    text = starter("ja")
    assert set(QUESTIONS_JA) == {*Intake.model_fields, *Criteria.model_fields}
    assert all(f"# {question}\n" in text for question in QUESTIONS_JA.values())
    assert not [line for line in text.splitlines() if line.lstrip().startswith("# ") and line.isascii()][1:]
    for name, value in {
        "purpose": "仕分け",
        "owner": "a",
        "reviewer": "b",
        "  success": 0.7,
        "  withdraw": 0.2,
    }.items():
        text = text.replace(f"\n{name}:\n", f"\n{name}: {value}\n")
    found = read_intake(write(tmp_path, text))
    assert found.language == "ja" and found.criteria == Criteria(success=0.7, withdraw=0.2)


@pytest.mark.parametrize(("written", "share"), [("80%", "0.8"), ("８０％", "0.8"), ("62.5 %", "0.625")])
def test_a_percentage_is_answered_with_the_number_to_write(tmp_path: Path, written: str, share: str):
    content = yaml.safe_dump({**FILLED, "criteria": {"success": written, "withdraw": 0.4}}, allow_unicode=True)
    with pytest.raises(UsageError, match=rf"criteria\.success must be .*, got '{written}'\. Write {share}\."):
        read_intake(write(tmp_path, content))


def test_the_filled_starter_keeps_the_defaults(tmp_path: Path):
    text = starter()
    for name, value in {"purpose": "p", "owner": "o", "reviewer": "r", "  success": "0.7", "  withdraw": "0.2"}.items():
        text = text.replace(f"\n{name}:\n", f"\n{name}: {value}\n")
    found = read_intake(write(tmp_path, text))
    assert found.criteria == Criteria(success=0.7, withdraw=0.2) and found.language == "en"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("purpose: [", "line 1 is no YAML"),
        ("- a\n- b\n", "must hold keys and values, got list"),
        ("", "must hold keys and values, got NoneType"),
        ("目的".encode("cp932"), "is not UTF-8 (byte 0)"),
        (yaml.safe_dump({**FILLED, "goal": "x"}), "goal is not a known key"),
        (yaml.safe_dump({**FILLED, "owner": 7}), "owner: input should be a valid string, got 7"),
        (yaml.safe_dump({**FILLED, "criteria": {"success": 0.2, "withdraw": 0.4}}), "must not be above success"),
        (yaml.safe_dump({**FILLED, "criteria": {"success": 65, "withdraw": 0.4}}), "criteria.success: input should be"),
        (yaml.safe_dump({**FILLED, "criteria": {"metric": "bleu", "success": 1, "withdraw": 0}}), "criteria.metric"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, content: str | bytes, words: str):
    with pytest.raises(UsageError) as error:
        read_intake(write(tmp_path, content))
    assert words in error.value.problem and "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read: No such file"):
        read_intake(tmp_path / "none.yaml")


def test_asks_again_after_a_refused_answer_and_keeps_the_others():
    answers = iter(
        ["sort parts", "Sato", "Takahashi", "en", "exact_match", "high", "0.3"]
        + ["keep"] * 5
        + ["60%", "keep"]
        + ["keep"] * 5
        + ["0.6", "keep"]
    )
    asked: list[tuple[str, str | None]] = []
    told: list[str] = []

    def ask(question: str, default: str | None) -> str:
        asked.append((question, default))
        answer = next(answers)
        return default if answer == "keep" and default is not None else answer

    found = ask_intake(ask, told.append)
    assert (found.purpose, found.criteria.success, found.criteria.withdraw) == ("sort parts", 0.6, 0.3)
    assert told == [
        "success must be a number from 0 to 1, got 'high'. Answer again.",
        "success must be a number from 0 to 1, got '60%'. Write 0.6.",
    ]
    assert asked[0] == ("purpose (what the adapted model is for)", None)
    assert asked[7][1] == "sort parts"


def test_without_a_terminal_it_says_what_to_pass():
    assert "--write-intake" in intake_needed().fix and "--intake" in intake_needed().fix

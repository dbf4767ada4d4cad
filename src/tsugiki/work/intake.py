"""The intake: purpose, criteria, owner and reviewer, asked before anything is trained.

Called by the `poc` command: read from a YAML file, or asked for one question at a time; `starter` is the file to fill
in. The questions and the comments of the English starter are the descriptions of the fields in `config`; a `Form` adds
to them what a kind of work needs. Never invents an answer that has no default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tsugiki.config import Criteria, Intake, LanguageName, parse
from tsugiki.errors import UsageError
from tsugiki.yaml_once import read_yaml

Ask = Callable[[str, str | None], str]  # question, default -> answer
Tell = Callable[[str], None]

PERCENT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*[%％]")

STARTER_HEAD = """\
# The intake of a study. Fill in every line without a value, then run:
#   tsugiki poc DATA --base BASE --out FOLDER --intake THIS_FILE
# It is locked into the study: what counts as success is fixed before anything is trained.
"""

STARTER_HEAD_JA = """\
# スタディの記入票です。値のない行をすべて埋めてから、次のように実行してください。
#   tsugiki poc DATA --base BASE --out FOLDER --intake THIS_FILE
# 内容はスタディに固定されます。成功の基準は、学習を始める前に決まります。
"""
QUESTIONS_JA = {  # what config says about these fields in English
    "purpose": "適応したモデルを何に使うか",
    "owner": "このスタディの責任者",
    "reviewer": "結論を確認する人",
    "criteria": "成功基準と撤退基準",
    "language": "スコアカードの言語（ja または en）",
    "metric": "結論に使う指標（exact_match、macro_f1、chrf、character_accuracy、json_fields）",
    "success": "品質がこの値に届いたときだけ採用とする（0〜1。80% は 0.8 と書く）",
    "withdraw": "品質がこの値を確かに下回れば見送りとする（0〜1）",
    "margin_points": "フルファインチューニングに対する非劣性の許容差（ポイント）",
    "margin_gain_share": "フルファインチューニングによる向上幅に対する許容差の割合。大きいほうを使う",
    "retention_loss": "一般的な文章での損失の増加の上限（トークンあたりの nat）",
    "confidence": "すべての区間と検定の信頼度",
}


@dataclass(frozen=True)
class Form:
    """What a kind of work adds to the starter: lines for its head, notes under its questions, other defaults."""

    head: Sequence[str]
    notes: Mapping[str, Sequence[str]]  # by the name of a field
    values: Mapping[str, Any]


def read_intake(path: Path) -> Intake:
    values = _without_blanks(_read_yaml(path))
    criteria = values.get("criteria")
    for name, value in criteria.items() if isinstance(criteria, dict) else ():
        _refuse_percent(f"{path}: criteria.{name}", value)
    return parse(Intake, values, source=str(path))


def starter(language: LanguageName = "en", form: Form | None = None) -> str:
    """A YAML file with every question as a comment; what has a default shows it."""
    form = form or Form((), {}, {})
    lines = [STARTER_HEAD_JA if language == "ja" else STARTER_HEAD]
    lines += [*(f"# {line}".rstrip() for line in form.head), ""] if form.head else []
    for name, asked in Intake.model_fields.items():
        lines += _comments(name, asked, language, form)
        if name == "criteria":
            lines.append("criteria:")
            for key, inner in Criteria.model_fields.items():
                lines += [f"  {line}" for line in (*_comments(key, inner, language, form), _answer(key, inner, form))]
        else:
            lines.append(f"{name}: {language}" if name == "language" else _answer(name, asked, form))
    return "\n".join(lines) + "\n"


def ask_intake(ask: Ask, tell: Tell) -> Intake:
    """One question per field of the intake and of what decides; a refused set is asked again, answers kept."""
    answers: dict[str, str] = {}
    while True:
        for name, field in _questions().items():
            answers[name] = ask(f"{name} ({field.description})", answers.get(name, _default(field)))
        try:
            return parse(Intake, _nested(answers), source="intake")
        except UsageError as error:
            tell(str(error))


def intake_needed() -> UsageError:
    """What to pass when nobody is there to be asked."""
    return UsageError(
        "The intake (purpose, criteria, owner, reviewer) is needed and there is no terminal to ask for it.",
        fix="Write a starter with `tsugiki poc --write-intake intake.yaml`, fill it in and pass --intake intake.yaml.",
    )


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        value = read_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(
            f"The intake {path} cannot be read: {error.strerror}.", fix="Pass an existing YAML file to --intake."
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"The intake {path} is not UTF-8 (byte {error.start}).", fix="Save it as UTF-8.") from None
    except ValueError as error:
        raise UsageError(
            f"The intake {path}{error}.", fix="Compare it with `tsugiki poc --write-intake FILE`."
        ) from None
    if not isinstance(value, dict):
        raise UsageError(
            f"The intake {path} must hold keys and values, got {type(value).__name__}.",
            fix="Write a starter with `tsugiki poc --write-intake FILE` and fill it in.",
        )
    return value


def _without_blanks(value: Mapping[str, Any]) -> dict[str, Any]:
    """A line left empty is a missing answer, not an answer of null."""
    kept = {key: _without_blanks(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
    return {str(key): inner for key, inner in kept.items() if inner is not None}


def _refuse_percent(where: str, value: Any) -> None:
    found = PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        share = float(found["number"]) / 100
        raise UsageError(f"{where} must be a number from 0 to 1, got {value!r}.", fix=f"Write {share:g}.")


def _comments(name: str, asked: FieldInfo, language: LanguageName, form: Form) -> list[str]:
    return [f"# {line}" for line in (_question(name, asked, language), *form.notes.get(name, ()))]


def _answer(name: str, asked: FieldInfo, form: Form) -> str:
    return f"{name}: {form.values[name]}" if name in form.values else f"{name}:{_default_text(asked)}"


def _question(name: str, field: FieldInfo, language: LanguageName) -> str:
    return QUESTIONS_JA[name] if language == "ja" else str(field.description)


def _default_text(field: FieldInfo) -> str:
    return "" if field.default is PydanticUndefined else f" {field.default}"


def _questions() -> dict[str, FieldInfo]:
    """The other criteria keep their defaults unless a file says otherwise."""
    asked = {name: field for name, field in Intake.model_fields.items() if name != "criteria"}
    return asked | {name: Criteria.model_fields[name] for name in ("metric", "success", "withdraw")}


def _nested(answers: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: _number(name, answers[name]) for name in ("success", "withdraw")}
    outer = {name: answer for name, answer in answers.items() if name in Intake.model_fields}
    return {**outer, "criteria": {"metric": answers["metric"], **numbers}}


def _default(field: FieldInfo) -> str | None:
    return None if field.default is PydanticUndefined else str(field.default)


def _number(name: str, answer: str) -> float:
    _refuse_percent(name, answer)
    try:
        return float(answer)
    except ValueError:
        raise UsageError(f"{name} must be a number from 0 to 1, got {answer!r}.", fix="Answer again.") from None

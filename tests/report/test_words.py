"""Both languages say the same with the same numbers, and nothing that a verdict can say is left without words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tsugiki.report
from tsugiki.config import Criteria, MethodName
from tsugiki.data.check import check
from tsugiki.report.figures import FORMS, Language
from tsugiki.report.words import (
    LANGUAGES,
    name_of,
    placeholders,
    reason_sentence,
    rule_sentence,
    say,
    table,
    translated,
)
from tsugiki.work import ruling
from tsugiki.work.prepare import DataSpec, read_source

JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
SAMPLES = {
    "method": "lora",
    "reference": "k-shot",
    "name": "majority",
    "p": 0.012,
    "seeds": 2,
    "required": 3,
    "examples": 1240,
    "test_items": 310,
}
CRITERIA = Criteria(success=0.65, withdraw=0.4)
RULES = {rule: value for *_, value, rule in ruling.TABLE} | {"nothing_to_judge": "undecidable"}
# Looked up by a key that is put together from a value: a verdict, a metric, the reason of a row.
FAMILIES = {
    *("verdict", "headline", "tile", "cost", "chart", "curve", "level", "risk", "next", "method"),
    *("reference", "short", "metric", "setting", "cut", "check", "concern", "sensitive", "exclusion", "reason", "rule"),
    *("missing", "interval", "text", "advice", "backtest", "slice", "shift", "input", "way", "money", "basis"),
    *("allocation", "lacks", "unusable", "recommend", "slide", "card"),
}
SAME_IN_BOTH = {
    "method.lora",
    "metric.chrf",
    "short.lora",
    "measure.quality",
    "measure.of",
    "forecast.joint",
    "slide.parts_value",
    "slide.to_succeed_value",
}


@pytest.mark.parametrize("key", table())
def test_an_entry_has_both_languages_and_one_set_of_numbers(key: str) -> None:
    entry = table()[key]
    assert set(entry) == set(LANGUAGES)
    assert placeholders(entry["ja"]) == placeholders(entry["en"])
    assert set(placeholders(entry["en"]).values()) <= set(FORMS)
    assert not JAPANESE.search(entry["en"])
    assert JAPANESE.search(entry["ja"]) or key in SAME_IN_BOTH


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", ruling.REASON_CODES)
def test_every_reason_of_a_verdict_becomes_a_sentence(code: str, language: Language) -> None:
    values = {key: SAMPLES.get(key, 0.123) for key in ruling.REASON_CODES[code]}
    sentence = reason_sentence(code, values, language)
    assert "{" not in sentence and "–" not in sentence and len(sentence) > 10
    assert "lora" not in sentence and "k-shot" not in sentence.replace("k-shot prompt", "")
    assert set(placeholders(table()[f"reason.{code}"]["en"])) <= set(values)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_becomes_a_sentence_that_names_its_verdict(rule: str, language: Language) -> None:
    sentence = rule_sentence(rule, CRITERIA.model_dump(mode="json"), language)
    word = {"ja": say(f"verdict.{RULES[rule]}", "ja"), "en": RULES[rule]}[language]
    assert word in sentence.lower()
    assert "{" not in sentence


def test_numbers_in_a_sentence_are_those_given() -> None:
    values = {"method": "lora", "value": 0.785, "low": 0.723, "high": 0.836, "success": 0.65}
    assert reason_sentence("success_reached", values, "ja") == (
        "LoRAの品質は78.5%（区間 72.3〜83.6%）で、成功基準65.0%を区間の下限でも満たしました。"
    )
    assert "78.5% (interval 72.3 to 83.6%)" in reason_sentence("success_reached", values, "en")


def test_reasons_of_the_data_floor_are_told_in_japanese() -> None:
    assert translated("exclusion", "the completion is empty", "ja") == "正解が空です"
    assert (
        translated("exclusion", "1,024 tokens, the limit is 512", "ja")
        == "1,024トークンあり、上限の512トークンを超えています"
    )
    assert translated("exclusion", "same as row 8", "ja") == "8行目と同じ内容です"
    assert translated("exclusion", "same as row 8", "en") == "same as row 8"
    assert translated("exclusion", "same as row 8 up to width and spaces", "ja").startswith("8行目と、全角半角")
    assert translated("exclusion", "something new (.*)", "ja") == "something new (.*)"
    assert translated("interval", "Wilson, over items and 3 seeds", "ja") == "Wilson法、評価事例単位・3シード"


def test_every_name_in_the_program_has_a_display_name() -> None:
    for method in MethodName.__args__:
        assert name_of("method", method, "ja") != method or method == "lora"
    assert name_of("metric", "macro_f1", "en") == "Macro F1"
    assert name_of("metric", "unheard_of", "ja") == "unheard_of"


def test_a_missing_value_is_our_own_bug() -> None:
    with pytest.raises(KeyError):
        say("headline.adopt", "ja")
    with pytest.raises(KeyError):
        say("no.such.key", "ja")


def test_every_entry_is_used() -> None:
    """A sentence that nothing says is dead; a family that is looked up by a computed key counts as used."""
    package = Path(tsugiki.report.__file__).parents[1]
    sources = "\n".join(path.read_text() for path in [*package.rglob("*.py"), *package.rglob("*.j2")])
    for key in table():
        section, _, name = key.partition(".")
        assert key in sources or f'"{name}"' in sources or section in FAMILIES, key


TURNS = '{"messages": %s}'
SYSTEM, USER, ANSWER = (json.dumps({"role": role, "content": "x"}) for role in ("system", "user", "assistant"))
UNUSABLE = {  # what the data floor leaves out: a table, and rows beside a good one
    "a.csv": [
        "prompt,completion", "q,a", ",a", "q2,", " ,a", "q3, ", "q,a", "ｑ,a", "#N/A,a", "q4,#REF!", ",",
        "prompt,completion",
    ],
    "b.jsonl": [
        TURNS % f'[{USER}, {ANSWER}]',
        *(TURNS % turns for turns in ("[]", "null", "5", '"x"', '["x"]', '[{"role": "robot", "content": "q"}]')),
        *(TURNS % turns for turns in ('[{"role": "user"}]', '[{"role": "user", "content": 5}]')),
        *(TURNS % turns for turns in (f"[{USER}]", f"[{ANSWER}]", f"[{USER}, {USER}, {ANSWER}]")),
        *(TURNS % turns for turns in (f"[{USER}, {SYSTEM}, {ANSWER}]", f"[{USER}, {ANSWER}, {ANSWER}]")),
    ],
    "c.jsonl": [
        '{"prompt": "q", "completion": "a"}', '{"prompt": ["q"], "completion": "a"}',
        '{"prompt": "q", "completion": {"x": "a"}}', '{"prompt": "q\\ud800", "completion": "a"}',
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_every_reason_of_an_excluded_row_has_its_japanese(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n".join(UNUSABLE[name]) + "\n", encoding="utf-8")
    source = read_source(DataSpec(tmp_path / name))
    reasons = [one.reason for one in check(source.examples, excluded=source.guess.excluded).excluded]
    assert len(reasons) >= len(UNUSABLE[name]) - 3
    for reason in reasons:
        assert translated("exclusion", reason, "ja") != reason, reason

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data import duplicates
from tsugiki.data.check import Findings, Limits, check
from tsugiki.data.shapes import Example, Exclusion


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(number, prompt, completion) for number, (prompt, completion) in enumerate(pairs, start=2)]


def concern(findings: Findings, kind: str) -> tuple[int, ...] | None:
    return next((concern.rows for concern in findings.concerns if concern.kind == kind), None)


def test_rows_that_teach_nothing_are_excluded_with_their_reason() -> None:
    findings = check(
        rows(
            ("q", "a"),
            ("", "a"),
            ("q2", " \n"),
            ("x" * 21, "a"),
            ("q3", "half \ud83d"),
            ("Q", "b"),
            ("ｑ ", "a"),
            ("q", "a"),
        ),
        excluded=[Exclusion(10, "turn 1 is not an object")],
        limits=Limits(characters=20),
    )
    assert findings.excluded == (
        Exclusion(3, "the prompt is empty"),
        Exclusion(4, "the completion is white space only"),
        Exclusion(5, "the prompt has 21 characters, the limit is 20"),
        Exclusion(6, "the completion holds half a character (U+D83D)"),
        Exclusion(8, "same as row 2 up to width and spaces"),
        Exclusion(9, "same as row 2"),
        Exclusion(10, "turn 1 is not an object"),
    )
    assert (findings.rows, findings.used) == (9, 2)
    assert [example.prompt for example in findings.examples] == ["q", "Q"]


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"])
def test_error_values_of_a_spreadsheet_are_excluded_by_name(error: str) -> None:
    findings = check(rows((error, "a"), ("q", f" {error}"), (f"what is {error}", "a")))
    assert findings.excluded == (
        Exclusion(2, f"the prompt is the spreadsheet error {error}"),
        Exclusion(3, f"the completion is the spreadsheet error {error}"),
    )


def test_labels_that_look_like_personal_data_are_masked() -> None:
    labels = ["taro@example.com", "03-1234-5678", "軸受"]
    findings = check(rows(*((f"q{number}", labels[number % 3]) for number in range(12))))
    assert findings.labels is not None
    assert findings.labels.counts == (("[phone]", 4), ("[e-mail]", 4), ("軸受", 4))
    assert set(findings.labels.rare) == {"[phone]", "[e-mail]", "軸受"}
    assert "taro@" not in json.dumps(findings.as_json(), ensure_ascii=False)


def test_tokens_are_counted_over_both_fields_and_limited() -> None:
    findings = check(rows(("abc", "de"), ("abcdef", "ghijk"), ("a", "b")), limits=Limits(tokens=10), count_tokens=len)
    assert findings.excluded == (Exclusion(3, "11 tokens, the limit is 10"),)
    assert findings.tokens is not None
    assert (findings.tokens.minimum, findings.tokens.maximum, findings.tokens.n) == (2, 5, 2)
    assert check(rows(("abc", "de"))).tokens is None


def test_the_text_itself_is_never_altered() -> None:
    examples = rows(("Ａ\ufeff １ ", " ﾎﾟﾝﾌﾟ\r\n"))
    assert check(examples).examples == tuple(examples)


def test_contradictions_stay_together_and_are_named() -> None:
    findings = check(rows(("q", "a"), ("r", "a"), ("ｑ", "b")))
    assert findings.used == 3
    assert concern(findings, "contradiction") == (2, 4)
    assert findings.groups == (0, 1, 0)


def test_contradictions_are_paired_and_grouped() -> None:
    pairs = [(f"q{number}", answer) for number in range(5) for answer in ("A", "B")]
    findings = check(rows(("q0", "call 090-1234-5678 and ask for the very long answer"), ("ｑ0", "X"), *pairs))
    found = next(concern for concern in findings.concerns if concern.kind == "contradiction")
    assert found.message == (
        "5 prompts with several different answers; correct or merge them (row 2 and row 3: same prompt, answers "
        "'call [phone] and ask…' / 'X'; row 6 and row 7: same prompt, answers 'A' / 'B'; row 8 and row 9: same prompt, "
        "answers 'A' / 'B'; and 2 more prompts)."
    )
    assert found.groups == ((2, 3, 4, 5), (6, 7), (8, 9), (10, 11), (12, 13))
    told = next(each for each in findings.as_json()["concerns"] if each["kind"] == "contradiction")
    assert told["groups"] == found.groups


def test_groups_close_over_likeness_prompts_and_the_owners_groups() -> None:
    examples = [
        Example(1, "第二工場のコンプレッサーから異音がする件", "a", group="A"),
        Example(2, "第三工場のコンプレッサーから異音がする件", "b"),
        Example(3, "別の話", "c", group="A"),
        Example(4, "もう一つ", "d", group="B"),
    ]
    findings = check(examples)
    assert findings.groups == (0, 0, 0, 3)
    assert concern(findings, "near-duplicate") == (1, 2)


def test_every_other_concern_names_its_rows() -> None:
    findings = check(
        rows(
            ("same", "ｓａｍｅ"),
            ("esc \x1b[31m", "a"),
            ("sum", "=SUM(A1:A3)"),
            ("-5", "-40℃"),
            ("mail a@example.com", "b"),
        )
    )
    assert concern(findings, "copy") == (2,)
    assert concern(findings, "control-character") == (3,)
    assert concern(findings, "formula") == (4,)
    assert [(finding.row, finding.kind, finding.field) for finding in findings.sensitive] == [(6, "e-mail", "prompt")]


def test_private_characters_are_named_with_their_rows() -> None:
    findings = check(rows(("高\ue000橋", "a"), ("soft\u00adhyphen", "b"), ("plain", "c")))
    assert concern(findings, "control-character") == (2, 3)
    assert "private or damaged characters (U+E000, U+00AD)" in findings.concerns[0].message
    many = check(rows(*((chr(0xE000 + number), f"a{number}") for number in range(20))))
    assert "U+E00B, 8 more)" in next(each.message for each in many.concerns if each.kind == "control-character")


def test_constant_and_unbalanced_answers() -> None:
    constant = check(rows(*((f"question {n}", "ok") for n in range(10))))
    assert concern(constant, "constant") == ()
    unbalanced = check(rows(*((f"question {n}", "ok" if n else "ng") for n in range(30))))
    assert unbalanced.closed
    assert concern(unbalanced, "imbalance") == ()
    assert unbalanced.labels is not None
    assert unbalanced.labels.counts == (("ok", 29), ("ng", 1))
    assert unbalanced.labels.rare == ("ng",)


def test_free_text_has_no_labels() -> None:
    findings = check(rows(*((f"question {n}", f"answer {n}") for n in range(10))))
    assert not findings.closed
    assert findings.labels is None


def test_a_search_that_was_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_TEXTS", 1)
    assert concern(check(rows(("q", "a"), ("r", "b"))), "near-duplicates-not-searched") == ()


def test_nothing_at_all() -> None:
    findings = check([])
    assert (findings.rows, findings.used, findings.prompt_characters) == (0, 0, None)
    json.dumps(findings.as_json(), allow_nan=False)


TEXT = st.text(st.sampled_from("ab \n設ａ\x1b\ud800=1"), max_size=5)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=12))
def test_every_row_is_used_or_excluded_once(pairs: list[tuple[str, str]]) -> None:
    examples = rows(*pairs)
    findings = check(examples)
    used = [example.row for example in findings.examples]
    excluded = [exclusion.row for exclusion in findings.excluded]
    assert sorted(used + excluded) == [example.row for example in examples]
    assert findings.rows == len(examples)
    assert len(findings.groups) == findings.used
    json.dumps(findings.as_json(), allow_nan=False).encode()


def test_many_rows_in_sane_time() -> None:
    examples = [Example(n, f"part number BZM{n}B{n % 97}", f"class {n % 7}") for n in range(100_000)]
    begin = time.process_time()
    findings = check(examples)
    assert findings.used == 100_000
    assert time.process_time() - begin < 20

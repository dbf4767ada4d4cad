from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.shapes import Example
from tsugiki.work.assess import AnswerShape, answer_all, answer_shape, facts, general_losses, scored, scores


class Words:
    """A tokenizer with one token per character."""

    eos_token_id = 0

    def __call__(self, text: str, **_: Any) -> Any:
        return type("Encoding", (), {"input_ids": [ord(character) for character in text]})


@pytest.mark.parametrize(
    ("completions", "answer", "kept"),
    [
        (["one", "two"], "\n one \n\nReport: more", "one"),
        (["one\n", "two"], "one\ntwo", "one"),
        (["one\nmore"], "one\nmore\n\nReport", "one\nmore"),
        (["one\n\nmore"], "one\n\nmore ", "one\n\nmore"),
        (["one"], "", ""),
    ],
)
def test_an_answer_ends_where_the_training_answers_end(completions: list[str], answer: str, kept: str):
    train = [Example(row, "p", completion) for row, completion in enumerate(completions)]
    shape = answer_shape(Words(), train)
    assert shape.end(answer) == kept
    assert shape.max_new_tokens == max(map(len, completions)) + 1 + 8


@given(st.lists(st.sampled_from(["\n", "one", " ", "\u3000", "more"])), st.sampled_from(["\n", "\n\n", None]))
def test_an_answer_that_is_done_never_changes_again(parts: list[str], separator: str | None):
    shape = AnswerShape(9, separator)
    for place in range(len(parts)):
        text = "".join(parts[:place])
        if shape.done(text):
            assert shape.end("".join(parts)) == shape.end(text)


def test_a_model_that_talks_on_is_stopped_at_the_end_of_its_answer(tiny_base: Any):
    prompts = ["Class: ", "The bearing of pump P-101 is worn. Class: "]
    free = answer_all(tiny_base.model, tiny_base.tokenizer, prompts, AnswerShape(16, None))
    separator = free[1][2]
    calls: list[int] = []
    tiny_base.model.register_forward_hook(lambda *_: calls.append(1))
    shape = AnswerShape(16, separator)
    assert answer_all(tiny_base.model, tiny_base.tokenizer, prompts[1:], shape) == [shape.end(free[1])]
    assert len(calls) < 16


def test_every_answer_is_kept_with_its_row_and_scores():
    found = scored([Example(7, "p", "30分"), Example(9, "q", "停止しない")], ["3分", "停止しない"])
    assert found["predictions"] == [
        {"row": 7, "expected": "30分", "predicted": "3分"},
        {"row": 9, "expected": "停止しない", "predicted": "停止しない"},
    ]
    assert found["scores"]["exact_match"] == [0.0, 1.0]
    assert found["facts"] == {"n": 2, "numbers_wrong": 1, "units_wrong": 0, "negation_wrong": 0}


def test_json_fields_only_where_the_references_are_json():
    assert "json_fields" not in scores(["a"], ["a"])
    assert scores(['{"a": 1}'], ['{"a": 1}'])["json_fields"] == [1.0]


def test_facts_count_negations_and_units():
    assert facts(["5 mm", "do it"], ["5 cm", "do not do it"]) == {
        "n": 2, "numbers_wrong": 0, "units_wrong": 1, "negation_wrong": 1,
    }  # fmt: skip


def test_the_loss_on_general_text_is_taken_in_both_languages(tiny_base: Any):
    found = general_losses(tiny_base.model, tiny_base.tokenizer, micro_tokens=4096)
    again = general_losses(tiny_base.model, tiny_base.tokenizer, micro_tokens=512)
    assert set(found) == {"en", "ja"} and all(1 < loss < 20 for loss in found.values())
    assert again == pytest.approx(found, rel=1e-4)

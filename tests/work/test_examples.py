from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.shapes import Example
from tsugiki.errors import StudyError
from tsugiki.work.examples import pairs, read_examples, shots, with_shots, write_examples

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
turns = st.none() | st.lists(st.tuples(st.sampled_from(["system", "user"]), texts), max_size=3).map(tuple)
examples = st.builds(
    Example, row=st.integers(1, 10**6), prompt=texts, completion=texts, messages=turns, group=st.none() | texts
)


@given(some=st.lists(examples, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, some: list[Example]):
    path = tmp_path_factory.mktemp("examples") / "a.jsonl"
    write_examples(path, some)
    assert read_examples(path) == tuple(some)


@pytest.mark.parametrize("content", ["{", "[]", '{"row": 1}', '{"row": 1, "messages": null, "other": 2}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str):
    path = tmp_path / "a.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=r"a\.jsonl cannot be read"):
        read_examples(path)
    with pytest.raises(StudyError):
        read_examples(tmp_path / "none.jsonl")


def test_the_shots_are_one_decision():
    train = [Example(row, f"p{row}", f"c{row}") for row in range(50)]
    chosen = shots(train, 4, seed=0)
    assert len(chosen) == len(set(chosen)) == 4 and set(chosen) <= set(train)
    assert shots(train, 4, seed=0) == chosen != shots(train, 4, seed=1)
    assert len(shots(train[:2], 4, seed=0)) == 2


def test_solved_examples_stand_before_the_prompt_as_text_and_as_turns():
    chosen = [Example(1, "a: ", "A"), Example(2, "b", "B", (("system", "s"), ("user", "b")))]
    found = with_shots(chosen, Example(3, "c: ", "C", group="g"))
    assert found.prompt == "a: A\n\nbB\n\nc: "
    assert found.messages == (
        ("system", "s"), ("user", "a: "), ("assistant", "A"), ("user", "b"), ("assistant", "B"), ("user", "c: "),
    )  # fmt: skip
    own = with_shots(chosen, Example(3, "c: ", "C", (("system", "mine"), ("user", "c: ")))).messages
    assert own is not None and own[0] == ("system", "mine") and [role for role, _ in own].count("system") == 1
    assert (found.row, found.completion, found.group) == (3, "C", "g")


def test_pairs_hold_what_the_model_sees():
    assert pairs([Example(1, "p", "c")], lambda example: f"<{example.prompt}>") == [("<p>", "c")]

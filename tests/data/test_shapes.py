import json
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tsugiki.data.read import read_table
from tsugiki.data.shapes import ASK, Columns, Example, Exclusion, Guess, to_examples
from tsugiki.errors import DataError


def shaped(folder: Path, rows: list[dict[str, Any]], **columns: str) -> tuple[tuple[Example, ...], Guess]:
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return to_examples(read_table(path), Columns(**columns))


def test_a_named_pair_is_taken_and_the_rest_is_said_to_be_unused(tmp_path: Path) -> None:
    examples, guess = shaped(tmp_path, [{"id": "7", "question": "q", "answer": "a", "category": "c"}])
    assert examples == (Example(1, "q", "a"),)
    assert guess.columns == ("question", "answer")
    assert guess.unused == ("id", "category")
    assert guess.sentence == (
        "Prompt is the column 'question', completion is 'answer' (by their names). Not used: id, category."
    )


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("質問", "回答"),
        ("入力", "出力"),
        ("本文", "分類"),
        ("Prompt", "Completion "),
        ("Ｔｅｘｔ", "ラベル"),
        ("現象", "対策"),
        ("input", "label"),
        ("source", "target"),
        ("description", "class"),
        ("問い合わせ内容", "対応"),
        ("お問い合わせ内容", "回答内容"),
        ("問合せ内容", "対応内容"),
        ("Q", "A"),
    ],
)
def test_names_in_both_languages_and_widths(tmp_path: Path, prompt: str, completion: str) -> None:
    examples, _ = shaped(tmp_path, [{completion: "a", "番号": "1", prompt: "q"}])
    assert examples == (Example(1, "q", "a"),)


def test_with_two_columns_one_known_name_is_enough(tmp_path: Path) -> None:
    examples, guess = shaped(tmp_path, [{"部品": "q", "分類": "a"}])
    assert examples == (Example(1, "q", "a"),)
    assert "the only two columns" in guess.sentence
    examples, _ = shaped(tmp_path, [{"question": "q", "区": "a"}])
    assert examples == (Example(1, "q", "a"),)


def test_the_group_is_not_one_of_the_two(tmp_path: Path) -> None:
    examples, guess = shaped(tmp_path, [{"機種": "A", "部品": "q", "分類": "a"}], group="機種")
    assert examples == (Example(1, "q", "a", group="A"),)
    assert "the only two columns beside the group '機種'" in guess.sentence


def test_columns_asked_for_win_over_any_shape(tmp_path: Path) -> None:
    rows = [{"instruction": "i", "output": "o", "x1": "q", "x2": "a"}]
    examples, guess = shaped(tmp_path, rows, prompt="x1", completion="x2")
    assert examples == (Example(1, "q", "a"),)
    assert "as asked" in guess.sentence
    assert shaped(tmp_path, [{"x1": "q", "label": "a"}], prompt="x1")[0] == (Example(1, "q", "a"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q", "answer": "a", "input": "i", "output": "o"}, "more than one way: 'input' and 'output' or"),
        (
            {"body": "b", "label": "a", "id": "1", "class": "c"},
            "several columns that may be the completion",
        ),
        ({"a": "1", "b": "2"}, "None of the column names .* 'a', 'b'"),
        ({"prompt": "1"}, "one column only"),
    ],
)
def test_ambiguity_is_a_question_with_the_next_step(tmp_path: Path, row: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        shaped(tmp_path, [row])
    assert "--prompt-column" in caught.value.fix or "column" in caught.value.fix


@pytest.mark.parametrize(
    ("names", "columns", "problem", "fix"),
    [
        (
            ("No", "お客様の声", "対応"),
            {},
            "In a.jsonl '対応' is taken as the completion; which column is the prompt?",
            "Say so with --prompt-column; the other columns are: 'No', 'お客様の声'.",
        ),
        (
            ("No", "質問", "備考"),
            {},
            "In a.jsonl '質問' is taken as the prompt; which column is the completion?",
            "Say so with --completion-column; the other columns are: 'No', '備考'.",
        ),
        (
            ("No", "声", "備考"),
            {"prompt": "声"},
            "In a.jsonl '声' is given as the prompt; which column is the completion?",
            "Say so with --completion-column; the other columns are: 'No', '備考'.",
        ),
        (
            ("No", "質問", "対応"),
            {"group": "質問"},
            "In a.jsonl '対応' is taken as the completion; which column is the prompt? '質問' is used as the group.",
            "Say so with --prompt-column; the other columns are: 'No'.",
        ),
        (
            ("質問", "分類"),
            {"group": "分類"},
            "In a.jsonl '質問' is taken as the prompt; which column is the completion? '分類' is used as the group.",
            "Say so with --completion-column; there is no other column.",
        ),
        (
            ("質問", "分類", "コード"),
            {},
            "a.jsonl has several columns that may be the completion: '分類', 'コード'. '質問' is taken as the prompt.",
            "Say which with --completion-column.",
        ),
        (
            ("甲", "乙", "A"),
            {},
            "None of the column names of a.jsonl tells prompt from completion: '甲', '乙', 'A'.",
            f"{ASK} If the first row already is data, put a header above it.",
        ),
    ],
)
def test_what_was_recognised_is_said_and_what_is_missing_asked(
    tmp_path: Path, names: tuple[str, ...], columns: dict[str, str], problem: str, fix: str
) -> None:
    with pytest.raises(DataError) as caught:
        shaped(tmp_path, [dict.fromkeys(names, "text")], **columns)
    assert (caught.value.problem, caught.value.fix) == (problem, fix)


def test_one_column_asks_for_the_separator_or_for_another_sheet(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    for others, fix in (
        ((), "Add the second column to the sheet."),
        (("表", "二"), "Choose another sheet with --sheet: '表', '二'."),
    ):
        with xlsxwriter.Workbook(path) as book:
            book.add_worksheet("表紙").write_column(0, 0, ["不具合一覧", "2024年度"])
            for title in others:
                book.add_worksheet(title).write_row(0, 0, ["質問", "回答"])
        with pytest.raises(DataError, match="one column only") as caught:
            to_examples(read_table(path))
        assert caught.value.fix == fix
    path = tmp_path / "a.csv"
    path.write_text("prompt\nq\n", encoding="utf-8")
    with pytest.raises(DataError, match="check the separator"):
        to_examples(read_table(path))


def test_wrong_column_names_list_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'x'.*'prompt', 'completion'"):
        shaped(tmp_path, [{"prompt": "q", "completion": "a"}], prompt="x")
    with pytest.raises(DataError, match="cannot be prompt and completion at once"):
        shaped(tmp_path, [{"prompt": "q", "completion": "a"}], prompt="prompt", completion="prompt")


def test_groups_are_carried_and_empty_ones_are_none(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a", "機種": "A"}, {"prompt": "r", "completion": "a", "機種": ""}]
    examples, guess = shaped(tmp_path, rows, group="機種")
    assert [example.group for example in examples] == ["A", None]
    assert guess.unused == ()


def test_empty_cells_become_empty_texts_for_check_to_name(tmp_path: Path) -> None:
    examples, _ = shaped(tmp_path, [{"prompt": None, "completion": "a"}, {"prompt": "q"}])
    assert examples == (Example(1, "", "a"), Example(2, "q", ""))


def test_alpaca_with_and_without_input(tmp_path: Path) -> None:
    rows = [
        {"instruction": "訳せ", "input": "dog", "output": "犬"},
        {"instruction": "挨拶せよ", "input": "", "output": "こんにちは"},
    ]
    examples, guess = shaped(tmp_path, rows)
    assert examples == (Example(1, "訳せ\n\ndog", "犬"), Example(2, "挨拶せよ", "こんにちは"))
    assert guess.shape == "alpaca"


def test_chats_in_both_dialects_and_as_text_in_a_csv(tmp_path: Path) -> None:
    openai = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    sharegpt = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    expected = (Example(1, "q", "a", messages=(("user", "q"),)),)
    assert shaped(tmp_path, [{"messages": openai}])[0] == expected
    examples, guess = shaped(tmp_path, [{"conversations": sharegpt, "id": "1"}])
    assert examples == expected
    assert guess.shape == "sharegpt"
    path = tmp_path / "a.csv"
    path.write_text('messages\n"' + json.dumps(openai).replace('"', '""') + '"\n', encoding="utf-8")
    assert to_examples(read_table(path))[0] == (Example(2, "q", "a", messages=(("user", "q"),)),)


def test_malformed_rows_are_listed_never_silent(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    examples, guess = shaped(tmp_path, [good, {"messages": []}, {"messages": "hello"}, good])
    assert [example.row for example in examples] == [1, 4]
    assert guess.excluded == (
        Exclusion(2, "the chat in 'messages' has no turns"),
        Exclusion(3, "column 'messages' holds text that is not a JSON list of turns"),
    )


def test_a_list_where_text_should_be_excludes_the_row(tmp_path: Path) -> None:
    _, guess = shaped(tmp_path, [{"prompt": ["q"], "completion": "a"}])
    assert guess.excluded == (Exclusion(1, "column 'prompt' holds a list, not text"),)


def test_a_blank_row_is_called_blank(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,note\nq,a,\n\n,,\n,,only a note\nr,b,\n", encoding="utf-8")
    examples, guess = to_examples(read_table(path))
    assert guess.excluded == (Exclusion(3, "the row is blank"), Exclusion(4, "the row is blank"))
    assert [example.row for example in examples] == [2, 5, 6]


def test_a_header_in_the_middle_of_joined_files_is_no_example(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion\nq,a\nprompt,completion\nr,b\n", encoding="utf-8")
    examples, guess = to_examples(read_table(path))
    assert [example.row for example in examples] == [2, 4]
    assert guess.excluded == (Exclusion(3, "repeats the header"),)

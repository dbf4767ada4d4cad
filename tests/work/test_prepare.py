from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.work.fakes import write_data
from tsugiki.config import Design
from tsugiki.data.shapes import Columns, Example
from tsugiki.data.split import Splits
from tsugiki.errors import DataError
from tsugiki.measure.stats import FEWEST_UNITS
from tsugiki.work.examples import read_examples, with_shots
from tsugiki.work.prepare import (
    FEWEST_TEST_GROUPS,
    DataSpec,
    blaming_length,
    checked,
    divided,
    read_check,
    read_source,
    study_examples,
    subset_name,
    usable_findings,
    write_parts,
    write_subsets,
)


def table(folder: Path, header: str, rows: list[str]) -> DataSpec:
    path = folder / "data.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return DataSpec(path)


def parts(spec: DataSpec, folder: Path, **lengths: Any) -> dict[str, set[int]]:
    source = read_source(spec)
    usable = usable_findings(source).examples
    findings = checked(source, usable, lengths.get("lengths", [(1, 1)] * len(usable)), 10)
    write_parts(source, folder, findings, divided(source, findings, Design()))
    return {
        name: {one.row for one in read_examples(folder / f"data/{name}.jsonl")} for name in ("train", "dev", "test")
    }


def test_a_group_column_is_used_without_being_asked_for(tmp_path: Path):
    letters = "abcdefghijklmnopqrst"
    rows = [f"question {letter}{number},answer {number},{letter}" for letter in letters for number in range(2)]
    found = parts(table(tmp_path, "prompt,completion,group", rows), tmp_path)
    for letter in range(len(letters)):
        members = {2 + 2 * letter, 3 + 2 * letter}
        assert sum(bool(members & part) for part in found.values()) == 1
    assert read_source(DataSpec(tmp_path / "data.csv")).as_lock()["columns"] == ["prompt", "completion", "group"]


def test_a_split_column_is_kept_to(tmp_path: Path):
    names = ["train"] * 10 + ["dev"] * 4 + ["test"] * 6
    rows = [f"unlike the others {place * 7919},answer,{name}" for place, name in enumerate(names)]
    spec = table(tmp_path, "prompt,completion,part", rows)
    found = parts(DataSpec(spec.path, split_column="part"), tmp_path)
    assert found == {"train": set(range(2, 12)), "dev": set(range(12, 16)), "test": set(range(16, 22))}


def test_too_long_rows_are_left_out_and_every_row_is_accounted_for(tmp_path: Path):
    lengths = [(10, 1) if place == 3 else (9, 1) for place in range(30)]
    found = parts(DataSpec(write_data(tmp_path / "a.csv", rows=30)), tmp_path, lengths=lengths)
    check = read_check(tmp_path)
    assert check is not None
    assert check["excluded"] == [{"row": 5, "reason": "11 tokens, the limit is 10"}]
    assert set().union(*found.values()) == set(range(2, 32)) - {5}
    assert check["parts"] == {name: len(rows) for name, rows in found.items()}
    assert check["tokens"]["maximum"] == 10


def test_subsets_are_nested_and_differ_between_seeds(tmp_path: Path):
    parts(DataSpec(write_data(tmp_path / "a.csv", rows=100)), tmp_path)
    check = read_check(tmp_path)
    assert check is not None
    write_subsets(tmp_path, check, [(8, 0), (20, 0), (8, 1), (20, 1)])
    rows = {
        (size, seed): {one.row for one in read_examples(tmp_path / subset_name(size, seed))}
        for size in (8, 20)
        for seed in (0, 1)
    }
    assert rows[8, 0] < rows[20, 0] and rows[8, 1] < rows[20, 1] and rows[20, 0] != rows[20, 1]
    assert {size: len(found) for (size, _), found in rows.items()} == {8: 8, 20: 20}


def test_faults_that_a_study_would_meet_late_are_met_at_once(tmp_path: Path):
    few = read_source(DataSpec(write_data(tmp_path / "few.csv", rows=10)))
    with pytest.raises(DataError, match="10 usable examples"):
        study_examples(few, Design(), "exact_match")
    many = read_source(DataSpec(write_data(tmp_path / "many.csv", rows=40)))
    with pytest.raises(DataError, match="A reference answer is not JSON"):
        study_examples(many, Design(), "json_fields")
    assert len(study_examples(many, Design(), "macro_f1")) == 40


def test_a_file_without_a_usable_row_names_the_first_reason(tmp_path: Path):
    source = read_source(table(tmp_path, "prompt,completion", [",a", "b,"]))
    with pytest.raises(DataError, match=r"None of the 2 rows of data\.csv can be used: row 2: the prompt is empty\."):
        usable_findings(source)


def test_a_column_that_is_not_there_is_an_error(tmp_path: Path):
    spec = table(tmp_path, "prompt,completion", ["a,b"])
    with pytest.raises(DataError, match="no column 'x'"):
        read_source(DataSpec(spec.path, columns=Columns(group="x")))


def test_a_refusal_of_rows_that_were_too_long_names_tokens_and_not_more_rows():
    refusal = DataError("There are 5 usable examples, at least 20 are needed.", fix="Add at least 15 rows.")
    with pytest.raises(DataError) as error, blaming_length([(400, 200), (8, 2), (500, 200)], 512):
        raise refusal
    assert error.value.problem.endswith("needed. 2 rows are left out for being longer than 512 tokens (up to 700).")
    assert error.value.fix == "Pass --max-length 700, which needs more memory, or shorten them."
    with pytest.raises(DataError, match="Add at least 15 rows"), blaming_length([(8, 2)], 512):
        raise refusal


@pytest.mark.parametrize("name", ["Group", "ＧＲＯＵＰ", "group "])
def test_a_group_column_is_known_by_its_name_in_any_case_and_width(tmp_path: Path, name: str):
    found = read_source(table(tmp_path, f"prompt,completion,{name}", ["a,b,x", "c,d,x"]))
    assert {example.group for example in found.examples} == {"x"}
    used = read_source(DataSpec(tmp_path / "data.csv", columns=Columns(prompt=name.strip(), completion="completion")))
    assert {example.group for example in used.examples} == {None}


def test_a_split_column_that_is_not_there_is_an_error_at_once(tmp_path: Path):
    spec = table(tmp_path, "prompt,completion", ["a,b"])
    with pytest.raises(DataError, match="no column 'part'"):
        read_source(DataSpec(spec.path, split_column="part"))


def test_a_prompt_without_white_space_at_its_end_gets_a_line_end(tmp_path: Path):
    source = read_source(table(tmp_path, "prompt,completion", ["AB-0000-0,締結", "Class: ,P", ",empty"]))
    assert [example.prompt for example in source.examples] == ["AB-0000-0\n", "Class: ", ""]
    assert "1 of 3 prompts end without white space; a line end was put behind each" in source.guess.sentence
    shot, item = source.examples[0], source.examples[1]
    assert with_shots([shot], item).prompt == "AB-0000-0\n締結\n\nClass: "
    assert "line end" not in read_source(table(tmp_path, "prompt,completion", ["Class: ,P"])).guess.sentence


def test_a_line_end_changes_neither_rows_nor_duplicates_nor_the_split(tmp_path: Path):
    rows = [f"question {number * 7919},answer {number % 3}" for number in range(40)]
    bare = [*rows, rows[0]]
    spaced = [row.replace(",", " ,") for row in bare]
    found = []
    for lines in (bare, spaced):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        source = read_source(table(folder, "prompt,completion", lines))
        findings = usable_findings(source)
        splits = divided(source, findings, Design())
        found.append((findings.excluded, findings.groups, [[one.row for one in part] for part in splits_of(splits)]))
    assert found[0] == found[1]
    assert [one.row for one in found[0][0]] == [42]


def splits_of(splits: Splits) -> tuple[tuple[Example, ...], ...]:
    return splits.train, splits.dev, splits.test


def test_chats_keep_their_prompts(tmp_path: Path):
    path = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "弁が固い"}, {"role": "assistant", "content": "注油"}]
    path.write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    assert read_source(DataSpec(path)).examples[0].prompt == "弁が固い"


def test_a_copy_of_a_row_that_is_too_long_is_too_long(tmp_path: Path):
    source = read_source(table(tmp_path, "prompt,completion", ["a long one,x", "a  long one,x", "short,y"]))
    findings = checked(source, usable_findings(source).examples, [(9, 4), (2, 1)], 10)
    assert [(one.row, one.reason) for one in findings.excluded] == [
        (2, "13 tokens, the limit is 10"),
        (3, "13 tokens, the limit is 10"),
    ]


def test_a_test_part_of_too_few_groups_is_refused_before_anything_is_trained(tmp_path: Path):
    rows = [f"question {letter}{number},answer {number},{letter}" for letter in "abcdefgh" for number in range(5)]
    source = read_source(table(tmp_path, "prompt,completion,group", rows))
    with pytest.raises(DataError, match=r"10 rows in 2 groups that stay together.*at least 5.*finer group column"):
        study_examples(source, Design(), "exact_match")
    assert FEWEST_TEST_GROUPS == FEWEST_UNITS


def test_similar_rows_on_both_sides_of_a_given_split_are_a_concern_of_their_own(tmp_path: Path):
    rows = [f"unlike the others {number * 7919},answer,train" for number in range(14)]
    rows += ["the belt of the conveyor in hall four has come off its roller,answer,train", "cable cut,answer,dev"]
    rows += [f"{word} broken,answer,test" for word in ("valve", "motor", "gear", "crane", "fan")]
    rows += ["the belt of the conveyor in hall four has come off its rollers,answer,test"]
    spec = table(tmp_path, "prompt,completion,part", rows)
    source = read_source(DataSpec(spec.path, split_column="part"))
    findings = usable_findings(source)
    write_parts(source, tmp_path, findings, divided(source, findings, Design()))
    kinds = {one["kind"]: one["rows"] for one in (read_check(tmp_path) or {})["concerns"]}
    assert kinds["crossing"] == [23] and "near-duplicate" not in kinds

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tsugiki.config import PlanSpec, Recipe
from tsugiki.errors import StudyError
from tsugiki.work.spec import (
    TrialSpec,
    is_finished,
    read_result,
    read_spec,
    result,
    result_path,
    write_result,
)


def spec(**changed: Any) -> TrialSpec:
    values = {"id": "lora-s0", "kind": "train", "base": "b", "base_digest": "sha256:1", "template": "plain"}
    return TrialSpec(**{**values, "plans": (PlanSpec(),), "recipe": Recipe(), **changed})


def test_a_spec_survives_its_file(tmp_path: Path):
    path = tmp_path / "spec.json"
    path.write_text(spec(learning_rates=(1e-3, 5e-5), measurements=("latency",)).model_dump_json(), encoding="utf-8")
    assert read_spec(path) == spec(learning_rates=(1e-3, 5e-5), measurements=("latency",))


@pytest.mark.parametrize("content", ["", "{}", "{not json", '{"id": "../../etc"}'])
def test_a_broken_spec_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "spec.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match="cannot be read"):
        read_spec(path)


@pytest.mark.parametrize(
    "changed",
    [{"recipe": Recipe(seed=1)}, {"plans": (PlanSpec(rank=8),)}, {"base_digest": "sha256:2"}, {"train": "data/other"}],
)
def test_whatever_decides_the_outcome_is_in_the_digest(changed: dict[str, Any]):
    assert spec(**changed).digest != spec().digest


def test_where_the_base_lies_is_not():
    assert spec(base="elsewhere").digest == spec().digest


@pytest.mark.parametrize(
    ("status", "finished"), [("done", True), ("does_not_fit", True), ("failed", False), ("skipped", False)]
)
def test_only_what_ended_counts_as_finished(tmp_path: Path, status: Any, finished: bool):
    assert not is_finished(tmp_path, spec())
    write_result(tmp_path, result(spec(), status))
    assert is_finished(tmp_path, spec()) == finished
    assert not is_finished(tmp_path, spec(recipe=Recipe(seed=1)))


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1, "id": "other"}', '{"schema": 2, "id": "lora-s0"}'])
def test_a_file_that_is_no_result_is_refused_with_its_name(tmp_path: Path, content: str):
    path = result_path(tmp_path, "lora-s0")
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=r"lora-s0\.json is not the result of trial lora-s0"):
        read_result(tmp_path, "lora-s0")

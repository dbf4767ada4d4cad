"""A lesson is what was tried, is read back as it was written, and is a hint: broken or hostile ones are passed over."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.work.lessons import (
    FARTHEST,
    FILE,
    Features,
    Lesson,
    features_of,
    lesson_of,
    nearby,
    read_lessons,
    unreadable_lessons,
    write_lesson,
)

HERE = Features(500, 40.0, 4.0, closed=True, parameters=135_000_000, base="sha256:aa")
LESSON = Lesson("sha256:01", "one", HERE, {"lora": {1e-3: 0.5, 2e-3: 0.4}, "full": {1e-4: 0.6, 2e-4: 0.7}}, 4, 32)


def test_what_is_written_is_read(tmp_path):
    (tmp_path / "one").mkdir()
    write_lesson(tmp_path / "one", LESSON)
    assert read_lessons(tmp_path) == (LESSON,) and unreadable_lessons(tmp_path) == []
    assert read_lessons(tmp_path, without=tmp_path / "one") == ()


def test_a_study_that_was_copied_counts_once(tmp_path):
    for name in ("one", "copy"):
        (tmp_path / name).mkdir()
        write_lesson(tmp_path / name, LESSON)
    assert len(read_lessons(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"features": {"rows": 0}},
        {"features": None},
        {"tries": {"lora": [{"learning_rate": 5.0, "dev_loss": 0.1}]}},
        {"tries": {"lora": [{"learning_rate": 0.001, "dev_loss": float("nan")}]}},
        {"tries": {"magic": [{"learning_rate": 0.001, "dev_loss": 0.1}]}},
        {"tries": 3},
        {"rank": -1},
        {"extra": 1},
    ],
)
def test_a_broken_lesson_is_passed_over(tmp_path, change):
    (tmp_path / "one").mkdir()
    write_lesson(tmp_path / "one", LESSON)
    path = tmp_path / "one" / FILE
    value = json.loads(path.read_text(encoding="utf-8"))
    features = change.get("features")
    value |= change if not isinstance(features, dict) else {"features": value["features"] | features}
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_lessons(tmp_path) == ()
    assert unreadable_lessons(tmp_path) == [path], "and named where lessons are shown"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_a_file_that_is_no_lesson_is_passed_over(tmp_path, text):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / FILE).write_text(text, encoding="utf-8")
    assert read_lessons(tmp_path) == ()


def test_only_what_was_tried_is_taught(tmp_path):
    tried = {"tries": [{"learning_rate": 1e-3, "dev_loss": 0.5}, {"learning_rate": 2e-3, "dev_loss": None}]}
    assert lesson_of(tmp_path, "sha256:01", HERE, {"lora": tried}) is None, "one number compares nothing"
    curve = [{"rank": 32, "dev_loss": 0.5}, {"rank": 16, "dev_loss": 0.505}, {"rank": 8, "dev_loss": 0.6}]
    found = lesson_of(tmp_path, "sha256:01", HERE, {"lora": tried | {"rank_losses": curve}})
    assert found is not None and (found.rank, found.largest_rank, found.tries) == (16, 32, {})


def test_features_are_means_of_tokens():
    base = {"parameters": 7, "digest": "sha256:aa"}
    found = features_of([[10, 2], [30, 4]], 5, closed=False, base=base)
    assert found == Features(5, 20.0, 3.0, closed=False, parameters=7, base="sha256:aa")


numbers = st.integers(1, 10**6)
features = st.builds(
    Features, rows=numbers, prompt_tokens=st.floats(1, 1e4), completion_tokens=st.floats(1, 1e4), closed=st.booleans(),
    parameters=st.integers(10**5, 10**11), base=st.sampled_from(["a", "b"]),
)  # fmt: skip


@given(features, features)
def test_distance_is_one(one, other):
    assert one.distance(one) == 0
    assert one.distance(other) == pytest.approx(other.distance(one))


def test_what_is_far_says_nothing_and_the_nearest_comes_first():
    near, same, far = (
        replace(LESSON, study=str(rows), features=replace(HERE, rows=rows)) for rows in (2000, 500, 500 * 4**3)
    )
    found = nearby(HERE, [far, near, same])
    assert [(one.lesson.study, one.distance) for one in found] == [("500", 0.0), ("2000", 1.0)]
    assert found[0].weight == 1 and 0.6 < found[1].weight < 0.61
    assert far.features.distance(HERE) > FARTHEST

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tsugiki.errors import StudyError
from tsugiki.work.lock import lock_study, locked_intake, only_one, read_lock, study_file

VALUES: dict[str, Any] = {
    "tsugiki": "0.1.0",
    "intake": {
        "purpose": "仕分け", "owner": "A", "reviewer": "B", "language": "ja",
        "criteria": {"metric": "exact_match", "success": 0.8, "withdraw": 0.2},
    },
    "design": {"methods": ["lora", "full"], "seeds": 3},
    "base": {"name": "tiny", "digest": "sha256:aa"},
    "data": {"file": "a.csv", "digest": "sha256:bb"},
}  # fmt: skip
CREATED = "2026-11-23T09:30:00+00:00"


def test_what_is_locked_is_read_back(tmp_path: Path):
    lock_study(tmp_path, VALUES, created=CREATED)
    found = read_lock(tmp_path)
    assert {key: found[key] for key in VALUES} == VALUES
    assert found["created"] == CREATED and found["digest"].startswith("sha256:")
    assert "仕分け" in study_file(tmp_path).read_text(encoding="utf-8")


def test_the_same_study_may_be_resumed_later(tmp_path: Path):
    lock_study(tmp_path, VALUES, created=CREATED)
    before = study_file(tmp_path).read_bytes()
    lock_study(tmp_path, {**VALUES, "design": {"methods": ("lora", "full"), "seeds": 3}}, created="2027-01-01T00:00:00")
    assert study_file(tmp_path).read_bytes() == before


@pytest.mark.parametrize(
    ("section", "key", "other", "words"),
    [
        ("intake", "purpose", "other", "intake.purpose '仕分け', not 'other'"),
        ("design", "seeds", 2, "design.seeds 3, not 2"),
        ("design", "methods", ["lora"], "design.methods ['lora', 'full'], not ['lora']"),
        ("base", "digest", "sha256:cc", "base.digest 'sha256:aa', not 'sha256:cc'"),
        ("data", "digest", "sha256:cc", "data.digest 'sha256:bb', not 'sha256:cc'"),
        ("data", "sheet", "二月", "data.sheet None, not '二月'"),
    ],
)
def test_another_study_is_refused_and_the_field_named(tmp_path: Path, section: str, key: str, other: Any, words: str):
    lock_study(tmp_path, VALUES, created=CREATED)
    with pytest.raises(StudyError) as error:
        lock_study(tmp_path, {**VALUES, section: {**VALUES[section], key: other}}, created=CREATED)
    assert words in error.value.problem and "--out" in error.value.fix


def test_another_version_is_refused(tmp_path: Path):
    lock_study(tmp_path, VALUES, created=CREATED)
    with pytest.raises(StudyError, match=r"tsugiki '0\.1\.0', not '0\.2\.0'"):
        lock_study(tmp_path, {**VALUES, "tsugiki": "0.2.0"}, created=CREATED)


def test_an_edited_lock_is_refused(tmp_path: Path):
    lock_study(tmp_path, VALUES, created=CREATED)
    text = study_file(tmp_path).read_text(encoding="utf-8")
    study_file(tmp_path).write_text(text.replace("success: 0.8", "success: 0.3"), encoding="utf-8")
    with pytest.raises(StudyError, match="was changed after the study was locked"):
        read_lock(tmp_path)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "a: 1"])
def test_what_is_no_study_file_is_refused(tmp_path: Path, content: str):
    study_file(tmp_path).write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match="is not a study file"):
        read_lock(tmp_path)


def test_a_folder_without_a_study_is_refused(tmp_path: Path):
    with pytest.raises(StudyError, match="holds no study"):
        read_lock(tmp_path)


def test_the_locked_intake_serves_a_resume(tmp_path: Path):
    assert locked_intake(tmp_path) is None
    lock_study(tmp_path, VALUES, created=CREATED)
    found = locked_intake(tmp_path)
    assert found is not None and found.purpose == "仕分け" and found.criteria.success == 0.8


def test_one_process_at_a_time_and_a_dead_one_does_not_count(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from tsugiki.work.lock import only_one\n"
        "with only_one(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(StudyError, match="Another process is running"), only_one(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with only_one(tmp_path):
        pass

"""Facts of a study come into a version only where everything fits together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.records.adapters import write_own, write_peft
from tests.records.registries import OPERATOR, registry
from tests.work.trained_studies import change_json, trained_study
from tsugiki.errors import RecordsError, StudyError
from tsugiki.fingerprint import digest_file
from tsugiki.records.open import Records
from tsugiki.records.versions import Version
from tsugiki.work.lock import read_lock
from tsugiki.work.register import Stated, add_version


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_study(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return registry(tmp_path)


def add(records: Records, adapter: Path, study: Path, trial: str = "lora-s0") -> Version:
    stated = Stated("品質QA", data_licence="社内", data_purpose="回答", study=study, trial=trial)
    return add_version(records, adapter, stated, actor=OPERATOR, reason="")


def test_the_facts_of_the_study_are_taken(records: Records, study: Path) -> None:
    manifest = add(records, study / "adapters" / "lora-s0", study).manifest
    lock = read_lock(study)
    result = json.loads((study / "trials" / "lora-s0.json").read_text(encoding="utf-8"))
    card = json.loads((study / "scorecard.json").read_text(encoding="utf-8"))
    assert manifest["study"] == {
        "digest": lock["digest"],
        "trial": "lora-s0",
        "scorecard": digest_file(study / "scorecard.json"),
        "verdict": card["verdict"]["value"],
    }
    assert manifest["data"] == [
        {"digest": lock["data"]["digest"], "rows": result["rows"], "licence": "社内", "purpose": "回答"}
    ]
    assert manifest["base"]["digest"] == lock["base"]["digest"]
    assert manifest["base"]["weights_digest"] == lock["base"]["weights_digest"]
    assert manifest["base"]["dtype"] == lock["base"]["dtype"]
    assert manifest["recipe"] == result["spec"]["recipe"]
    assert manifest["seeds"] == {"training": result["spec"]["recipe"]["seed"]}
    assert manifest["code"]["tsugiki"] == result["tsugiki"]
    assert manifest["code"]["environment"] == result["machine"]["fingerprint"]
    assert "study" not in manifest["unknown"]


def test_a_copy_of_the_adapter_with_a_text_is_the_same_adapter(records: Records, study: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(study / "adapters" / "lora-s1", tmp_path / "copy"))
    (copy / "README.md").write_text("# 品質QA\n", encoding="utf-8")
    version = add(records, copy, study, "lora-s1")
    assert version.manifest["study"]["trial"] == "lora-s1"
    assert "README.md" in {one["path"] for one in version.manifest["files"]}


def test_a_study_without_a_scorecard_has_no_verdict(records: Records, study: Path) -> None:
    (study / "scorecard.json").unlink()
    manifest = add(records, study / "adapters" / "lora-s0", study).manifest
    assert (manifest["study"]["verdict"], manifest["study"]["scorecard"]) == (None, None)
    assert manifest["unknown"]["study.verdict"] == "the study has no scorecard"


REFUSED: dict[str, tuple[Callable[[Path, Path], tuple[Path, str]], str]] = {
    "another trial's": (lambda study, _: (study / "adapters" / "lora-s1", "lora-s0"), "holds another adapter_model"),
    "one from elsewhere": (lambda _, other: (write_own(other), "lora-s0"), "holds another"),
    "one of PEFT": (lambda _, other: (write_peft(other), "lora-s0"), "holds another"),
    "a trial that is none": (lambda study, _: (study / "adapters" / "lora-s0", "lora-s9"), "has no trial 'lora-s9'"),
    "a trial that is a path": (lambda study, _: (study / "adapters" / "lora-s0", "../x"), "has no trial '../x'"),
    "the reference": (lambda study, _: (study / "adapters" / "lora-s0", "reference"), "trained no adapter"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_an_adapter_that_the_study_did_not_train_is_refused(
    kind: str, records: Records, study: Path, tmp_path: Path
) -> None:
    adapter, trial = REFUSED[kind][0](study, tmp_path / "other")
    with pytest.raises(RecordsError) as refused:
        add(records, adapter, study, trial)
    assert REFUSED[kind][1] in refused.value.problem
    assert list(records.store.digests()) == []


def both(study: Path, change: Callable[[dict[str, Any]], None]) -> None:
    change_json(study / "adapters" / "lora-s0" / "tsugiki.json", change)


CONTRADICTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another trial in the manifest": (
        lambda study: both(study, lambda one: one.update(trial="lora-s1")), "name the trial",
    ),
    "another base in the manifest": (
        lambda study: both(study, lambda one: one["base"].update(digest="sha256:" + "a" * 64)), "name the trial",
    ),
    "other data in the manifest": (
        lambda study: both(study, lambda one: one.update(data_digest="sha256:" + "b" * 64)), "names other data",
    ),
    "another base in the result": (
        lambda study: change_json(study / "trials/lora-s0.json", lambda one: one["spec"].update(base_digest="x")),
        "names other data or another base",
    ),
    "a failed trial": (
        lambda study: change_json(study / "trials/lora-s0.json", lambda one: one.update(status="failed")),
        "trained no adapter",
    ),
    "a result without facts": (
        lambda study: change_json(study / "trials/lora-s0.json", lambda one: one.pop("machine")), "lacks the fact",
    ),
    "a scorecard of another study": (
        lambda study: change_json(study / "scorecard.json", lambda one: one["study"].update(digest="x")),
        "scorecard of another study",
    ),
    "a scorecard that is none": (lambda study: (study / "scorecard.json").write_text("[]") and None, "is no scorecard"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_study_that_contradicts_itself_is_refused(kind: str, records: Records, study: Path) -> None:
    change, reason = CONTRADICTIONS[kind]
    change(study)
    with pytest.raises(RecordsError) as refused:
        add(records, study / "adapters" / "lora-s0", study)
    assert reason in refused.value.problem


def test_a_folder_without_a_study_and_a_changed_lock_are_refused(records: Records, study: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        add(records, study / "adapters" / "lora-s0", tmp_path)
    lock = study / "study.yaml"
    lock.write_text(lock.read_text(encoding="utf-8").replace("purpose:", "purpose: x"), encoding="utf-8")
    with pytest.raises(StudyError, match="was changed"):
        add(records, study / "adapters" / "lora-s0", study)

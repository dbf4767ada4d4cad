"""MLflow: the real library with a SQLite store; mirrored once and again, imported back, and never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.work.finished_studies import WORD, finish_study
from tests.work.registries import ADMIN, MAKER, new_registry
from tsugiki.errors import RecordsError, UsageError
from tsugiki.records.aliases import move_alias
from tsugiki.records.open import Records
from tsugiki.records.versions import Version
from tsugiki.work.attach import attach_study
from tsugiki.work.mlflow_bridge import import_run, mirror, mirror_quietly, tracking_uri
from tsugiki.work.register import Stated, add_version

pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study", curve_sizes=0)


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made, which takes the library seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def records(tmp_path: Path, study: Path) -> Records:
    opened = new_registry(tmp_path / "registry")
    version = add(opened, study, "lora-s0")
    attach_study(opened, version, study, texts=True, actor=MAKER, reason="")
    add(opened, study, "lora-s1")
    point(opened, "production", version.seq)
    return opened


def add(records: Records, study: Path, trial: str) -> Version:
    return add_version(records, study / "adapters" / trial, Stated("分類"), actor=MAKER, reason="")


def point(records: Records, alias: str, version: int | None) -> None:
    with records.database.writing() as connection:
        move_alias(connection, MAKER, "分類", alias, version)


@pytest.fixture
def uri(tmp_path: Path, empty_server: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_server, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)  # a local store puts its artifacts where it is called
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.mark.slow
def test_runs_versions_and_aliases_are_mirrored_once(records: Records, uri: str, tmp_path: Path, study: Path) -> None:
    found = mirror(records, uri, actor=ADMIN)
    trials = len(list(study.glob("trials/*.json")))
    assert (found.runs, found.versions, found.aliases, found.problems) == (trials, 2, 1, [])
    there = client(uri)
    first, second = sorted(there.search_model_versions("name = '分類'"), key=lambda one: int(one.version))
    assert first.tags["tsugiki.version"] == "分類@1" and second.tags["tsugiki.version"] == "分類@2"
    assert there.get_model_version_by_alias("分類", "production").version == first.version
    run = there.get_run(first.run_id)
    assert run.info.run_name == "lora-s0" and run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] and run.data.params["method"] == "lora"
    assert 0 < run.data.metrics["score.exact_match"] < 1 and run.data.metrics["memory.train_bytes"] == 2000
    assert WORD.encode() not in (tmp_path / "mlflow.db").read_bytes()
    again = mirror(records, uri, actor=ADMIN)
    assert (again.runs, again.versions, again.aliases, again.problems) == (0, 0, 0, [])
    point(records, "production", None)
    assert mirror(records, uri, actor=ADMIN).aliases == 1 and there.get_registered_model("分類").aliases == {}


@pytest.mark.slow
def test_an_alias_that_mlflow_does_not_allow_is_said(records: Records, uri: str) -> None:
    point(records, "latest", 2)
    found = mirror(records, uri, actor=ADMIN)
    assert len(found.problems) == 1 and found.problems[0].startswith("MLflow refuses the alias latest of 分類")
    assert found.aliases == 1


@pytest.mark.slow
def test_a_model_of_somebody_else_is_left_alone(records: Records, uri: str) -> None:
    client(uri).create_registered_model("分類")
    found = mirror(records, uri, actor=ADMIN)
    assert found.problems == ["MLflow has a model 分類 that is not of this registry; it was left alone."]
    assert client(uri).search_model_versions("name = '分類'") == []


@pytest.mark.slow
def test_a_mirror_that_was_cut_short_goes_on(records: Records, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    finish, calls = MlflowClient.set_terminated, []

    def dying(self: Any, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise ConnectionError("the server is gone")
        finish(self, *arguments)

    monkeypatch.setattr(MlflowClient, "set_terminated", dying)
    with pytest.raises(RecordsError, match="does not do as asked: the server is gone"):
        mirror(records, uri, actor=ADMIN)
    monkeypatch.undo()
    assert mirror(records, uri, actor=ADMIN).versions == 2
    runs = client(uri).search_runs([client(uri).get_experiment_by_name("tsugiki/分類").experiment_id])
    names = [run.info.run_name for run in runs]
    assert len(names) == len(set(names)) and {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_a_server_that_is_not_there_is_in_nobodys_way(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mirror_quietly(records) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    said = mirror_quietly(records)
    assert said is not None and said.startswith("MLflow at http://127.0.0.1:9 does not do as asked")
    assert said.endswith("tsugiki registry mlflow mirror")


@pytest.mark.slow
def test_an_adapter_of_a_run_becomes_a_version(records: Records, uri: str, study: Path) -> None:
    there = client(uri)
    run = there.create_run("0").info.run_id
    there.log_artifacts(run, str(study / "adapters" / "full-s0"), "model/adapter")
    version = import_run(records, uri, run, Stated("取込"), path="model/adapter", actor=MAKER, reason="")
    assert version.label == "取込@1"
    weights = (study / "adapters/full-s0/adapter_model.safetensors").read_bytes()
    assert weights in [records.store.read(one["digest"]) for one in version.manifest["files"]]
    with pytest.raises(RecordsError, match="has no adapter in its artifacts"):
        import_run(records, uri, run, Stated("取込"), path="", actor=MAKER, reason="")
    with pytest.raises(RecordsError, match="does not do as asked"):
        import_run(records, uri, "none", Stated("取込"), path="", actor=MAKER, reason="")
    with pytest.raises(RecordsError):
        import_run(records, uri, run, Stated("取込"), path="../x", actor=MAKER, reason="")


def test_no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="No MLflow server is named"):
        tracking_uri()
    assert tracking_uri("sqlite:///x") == "sqlite:///x"


def test_nothing_else_imports_mlflow() -> None:
    code = "import sys, tsugiki.cli.main, tsugiki.work.mlflow_bridge; print('mlflow' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    assert said.stdout == "False\n"

"""The commands around evidence, backup, deletion: from an adapter and its study to an archive that verifies."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.work.finished_studies import PERSON, WORD, finish_study
from tests.work.registries import ADMIN, AUDITOR, MAKER, everything_on_disk
from tsugiki.cli.main import status_of
from tsugiki.records.open import open_registry
from tsugiki.records.people import add_person
from tsugiki.records.tokens import create_token
from tsugiki.work.examples import read_examples
from tsugiki.work.founding import found_registry


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study")


class Desk:
    """Runs commands as one of three people and hands back what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.registry, self.capsys, self.patch = folder, capsys, patch
        records, admin = found_registry(folder, admin="anna", database="sqlite:///registry.db", store="blobs")
        self.tokens = {"anna": admin}
        with records.database.writing() as connection:
            for one in (MAKER, AUDITOR):
                add_person(connection, one.name, one.role, actor=ADMIN, reason="-")
                self.tokens[one.name] = create_token(connection, one.name, actor=ADMIN, reason="-")[1]
        records.database.engine.dispose()

    def run(self, who: str, *arguments: object, status: int = 0) -> str:
        self.patch.setenv("TSUGIKI_TOKEN", self.tokens.get(who, ""))
        self.patch.setenv("TSUGIKI_REGISTRY", str(self.registry))
        self.patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        found = status_of(["registry", *map(str, arguments)])
        said = self.capsys.readouterr()
        assert found == status, said
        return said.out if status == 0 else said.err

    def json(self, who: str, *arguments: object) -> Any:
        return json.loads(self.run(who, *arguments, "--json"))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, study: Path) -> Desk:
    made = Desk(tmp_path / "registry", capsys, monkeypatch)
    made.run("ota", "add", study / "adapters/lora-s0", "--name", "分類", "--reason", "first")
    return made


def test_from_a_study_to_an_archive(desk: Desk, study: Path, tmp_path: Path) -> None:
    said = desk.run("ota", "attach-evidence", "分類@1", "--study", study, "--reason", "the study")
    assert "verdict" in said and "exact_match" in said and "texts of rows: not kept" in said
    listed = desk.run("", "evidence", "分類@1")
    assert "study  sha256:" in listed and "0 texts of rows" in listed
    assert "lacks the texts of" in desk.run("", "evidence", "分類@1", "--rebuild", status=1)
    desk.run("ota", "attach-evidence", "分類@1", "--study", study, "--texts")
    assert "comes out the same" in desk.run("", "evidence", "分類@1", "--rebuild")
    assert desk.json("", "evidence", "分類@1", "--rebuild")["equal"] is True
    packs = desk.json("", "evidence", "分類@1")["packs"]
    assert [one["texts"] > 0 for one in packs] == [False, True] and packs[0]["summary"]["method"] == "lora"
    archive = tmp_path / "evidence.zip"
    assert "sha256:" in desk.run("sato", "export-evidence", "分類@1", "--out", archive, "--reason", "audit")
    key = desk.registry / "keys/ledger.pub"
    good = desk.run("", "verify-archive", archive, "--public-key", key)
    assert good.startswith("GOOD  分類@1") and "evidence.attached" in good
    assert desk.json("", "verify-archive", archive, "--public-key", key)["packs"] == 2
    archive.write_bytes(archive.read_bytes().replace(b'"verdict"', b'"verdikt"', 1))
    bad = desk.run("", "verify-archive", archive, "--public-key", key, status=1)
    assert "is not what the registry exported" in bad


def test_erasing_a_row_and_backing_up(desk: Desk, study: Path, tmp_path: Path) -> None:
    desk.run("ota", "attach-evidence", "分類@1", "--study", study, "--texts")
    row = next(one.row for one in read_examples(study / "data/train.jsonl") if PERSON in one.prompt)
    desk.run("anna", "retention", "hold", "分類", "--reason", "a case")
    held = desk.run("anna", "retention", "erase", "分類@1", "--row", row, "--reason", "asked for", status=1)
    assert "is on hold: 分類 since event" in held
    assert "hold on 分類" in desk.run("", "retention", "show")
    desk.run("anna", "retention", "release", "分類", "--reason", "over")
    done = desk.run("anna", "retention", "erase", "分類@1", "--row", row, "--reason", "asked for")
    assert "1 texts erased" in done and "earlier backups" in done
    made = desk.json("anna", "backup", "--out", tmp_path / "backup")
    assert made["copied"] > 40
    assert "the schema is the newest already" in desk.run("anna", "upgrade")
    assert desk.json("anna", "upgrade") == {"revisions": []}
    content = everything_on_disk(desk.registry) + everything_on_disk(tmp_path / "backup")
    assert PERSON.encode() not in content and WORD.encode() in content
    again = desk.run("", "restore", tmp_path / "backup", "--out", tmp_path / "again")
    assert "all verified" in again and open_registry(tmp_path / "again").settings.id == made["registry"]
    assert desk.json("", "retention", "show")["periods"] == {"texts_days": None, "evidence_days": None}
    (desk.registry / "retention.yaml").write_text("texts_days: 0\n")
    assert "files of pack" in desk.run("anna", "retention", "apply")
    assert desk.json("anna", "retention", "apply", "--delete")["erased"][0]["version"] == "分類@1"
    assert desk.run("anna", "retention", "apply") == "nothing is due\n"


def test_a_mirror_that_fails_stops_nothing(desk: Desk, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://here")
    monkeypatch.setenv("TSUGIKI_TOKEN", desk.tokens["ota"])
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where the extra is not installed
    assert (
        status_of(["registry", "attach-evidence", "分類@1", "--study", str(study), "--registry", str(desk.registry)])
        == 0
    )
    said = desk.capsys.readouterr()
    assert "evidence sha256:" in said.out and "pip install 'tsugiki[mlflow]'" in said.err


def test_rubbish_is_shown_before_it_is_removed(desk: Desk) -> None:
    records = open_registry(desk.registry)
    digest = records.store.put(b"rubbish").digest
    path = next(desk.registry.glob(f"blobs/**/{digest[7:]}"))
    os.utime(path, (0, 0))
    assert f"{digest}\n1 files that nothing refers to and 0 erased ones can be removed" in desk.run("anna", "gc")
    assert desk.json("anna", "gc", "--delete")["files"] == [digest] and not path.exists()


@pytest.mark.parametrize(
    ("who", "arguments", "status", "message"),
    [
        ("ota", ["attach-evidence", "分類@9", "--study", "nowhere"], 1, "There is no version '9' of 分類"),
        ("ota", ["attach-evidence", "分類@1", "--study", "nowhere"], 1, "nowhere"),
        ("sato", ["attach-evidence", "分類@1", "--study", "nowhere"], 1, "sato is an auditor and may not attach"),
        ("", ["evidence", "分類@1", "--rebuild"], 1, "has no evidence from a study"),
        ("anna", ["export-evidence", "分類@1", "--out", "a.zip"], 1, "anna is an admin and may not export-evidence"),
        ("", ["verify-archive", "none.zip", "--public-key", "none"], 1, "No such file"),
        ("anna", ["gc", "--grace", "0"], 1, "could take files from a writer at work"),
        ("", ["restore", "nowhere", "--out", "new"], 1, "holds no finished backup"),
        ("anna", ["retention", "erase", "分類@1", "--reason", "x"], 2, "Either --row or --all-rows must be given"),
        ("anna", ["retention", "erase", "分類@1", "--all-rows", "--reason", "x"], 1, "No text is kept"),
        ("anna", ["retention", "hold", "noone", "--reason", "x"], 1, "There is no noone in this registry"),
        ("", ["backup", "--out", "b"], 1, "needs to know who you are"),
        ("anna", ["mlflow", "mirror"], 2, "No MLflow server is named"),
        ("ota", ["mlflow", "mirror", "--uri", "x"], 1, "ota is an operator and may not mirror"),
        ("ota", ["mlflow", "import", "x", "--name", "分類"], 2, "No MLflow server is named"),
    ],
)
def test_bad_inputs_get_one_sentence(
    desk: Desk,
    who: str,
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = desk.run(who, *arguments, status=status)
    assert message in said and said.count("\n") == 1 and said.startswith("tsugiki: "), said

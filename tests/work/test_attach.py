"""Attaching evidence: bound to the version, whole or not at all, texts only with leave and never those erased."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.work.finished_studies import PERSON, WORD, finish_study
from tests.work.registries import AUDITOR, MAKER, Made, add_version, everything_on_disk, new_registry
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records.ledger import NewEvent, append, history
from tsugiki.records.open import Records
from tsugiki.records.packs import files_of, packs_of, record_blobs
from tsugiki.records.store import Blob
from tsugiki.work.attach import attach_bundle, attach_study
from tsugiki.work.evidence_pack import rebuilt


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return new_registry(tmp_path / "registry")


@pytest.fixture
def version(records: Records, study: Path) -> Made:
    return add_version(records, study / "adapters" / "lora-s0")


def test_evidence_is_an_event_with_its_rows_and_files(records: Records, version: Made, study: Path) -> None:
    attached = attach_study(records, version, study, texts=False, actor=MAKER, reason="the study of November")
    with records.database.reading() as connection:
        (pack,) = packs_of(connection, version.seq)
        files = files_of(connection, pack.seq)
        (event,) = history(connection, object="分類@1", limit=1)
    assert pack.digest == attached.digest == digest_bytes(pack.body) and pack.kind == "study"
    assert (event.kind, event.reason, event.seq) == ("evidence.attached", "the study of November", pack.seq)
    assert event.after == {"digest": pack.digest, "kind": "study", "version": version.digest, "texts": 0}
    assert files == {one["path"]: one["digest"] for one in pack.manifest["files"]}
    assert all(digest_bytes(records.store.read(digest)) == digest for digest in files.values())
    assert pack.manifest["summary"]["trial"] == "lora-s0" and pack.manifest["version"] == version.digest
    content = everything_on_disk(records.folder)
    assert WORD.encode() not in content and PERSON.encode() not in content


def test_with_texts_the_scorecard_can_be_rebuilt(records: Records, version: Made, study: Path) -> None:
    attached = attach_study(records, version, study, texts=True, actor=MAKER, reason="")
    with records.database.reading() as connection:
        files = files_of(connection, attached.event.seq)
    assert attached.texts > 40 and attached.erased == 0
    contents = {path: records.store.read(digest) for path, digest in files.items()}
    texts = [content for path, content in contents.items() if path.startswith("texts/")]
    stored, again = rebuilt({path: content for path, content in contents.items() if "texts/" not in path}, texts)
    assert stored == again == (study / "scorecard.json").read_bytes()


def test_the_same_evidence_twice_is_refused_unless_it_brings_the_texts(
    records: Records, version: Made, study: Path
) -> None:
    first = attach_study(records, version, study, texts=False, actor=MAKER, reason="")
    with pytest.raises(RecordsError, match=f"is attached to 分類@1 already, by event {first.event.seq}"):
        attach_study(records, version, study, texts=False, actor=MAKER, reason="")
    second = attach_study(records, version, study, texts=True, actor=MAKER, reason="")
    assert second.digest == first.digest and second.texts > 0
    with pytest.raises(RecordsError, match="already"):
        attach_study(records, version, study, texts=True, actor=MAKER, reason="")


def test_a_study_that_did_not_train_the_version_leaves_nothing(records: Records, study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes(b"other")
    version = add_version(records, other)
    before = set(records.store.digests())
    with pytest.raises(RecordsError, match="No final training of the study"):
        attach_study(records, version, study, texts=False, actor=MAKER, reason="")
    with records.database.reading() as connection:
        assert packs_of(connection) == []
    assert set(records.store.digests()) == before


def test_who_may_not_attach_is_refused(records: Records, version: Made, study: Path) -> None:
    with pytest.raises(RecordsError, match="sato is an auditor and may not attach"):
        attach_study(records, version, study, texts=False, actor=AUDITOR, reason="")


def test_erased_texts_do_not_come_back(records: Records, version: Made, study: Path) -> None:
    first = attach_study(records, version, study, texts=False, actor=MAKER, reason="")
    with records.database.reading() as connection:
        index = json.loads(records.store.read(files_of(connection, first.event.seq)["texts.json"]))
    blob = records.store.put(b"x")
    with records.database.writing() as connection:
        record_blobs(connection, [blob, Blob(index[0]["digest"], 1)])
        append(connection, NewEvent(MAKER, "content.erased", "分類@1"), {"erasures": [{"digest": index[0]["digest"]}]})
    found = attach_study(records, version, study, texts=True, actor=MAKER, reason="")
    assert (found.texts, found.erased) == (len(index) - 1, 1)
    assert not records.store.exists(index[0]["digest"])


def test_a_file_that_was_collected_in_between_is_stored_again(
    records: Records, version: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rubbish is collected under the writers' lock, so what is there inside the transaction stays there."""
    put, lost = records.store.put, []

    def losing(source: bytes) -> object:
        blob = put(source)
        if not lost:
            records.store.delete(blob.digest)
            lost.append(blob.digest)
        return blob

    monkeypatch.setattr(records.store, "put", losing)
    attach_bundle(records, version, "compatibility", {"report.json": b"{}"}, {}, actor=MAKER, reason="")
    assert lost and records.store.exists(lost[0])


def test_a_bundle_of_another_kind(records: Records, version: Made) -> None:
    attached = attach_bundle(
        records, version, "compatibility", {"reports/vllm.json": b"{}\n"}, {"results": []}, actor=MAKER, reason="r"
    )
    with records.database.reading() as connection:
        (pack,) = packs_of(connection)
    assert pack.kind == "compatibility" and pack.manifest["summary"] == {"results": []}
    assert attached.manifest["files"] == [{"path": "reports/vllm.json", "digest": digest_bytes(b"{}\n"), "bytes": 3}]
    with pytest.raises(RecordsError, match="a path"):
        attach_bundle(records, version, "compatibility", {"../out": b""}, {}, actor=MAKER, reason="")


def test_a_file_that_was_erased_is_refused(records: Records, version: Made) -> None:
    attached = attach_bundle(records, version, "x", {"a.json": b"{}"}, {}, actor=MAKER, reason="")
    row = {"digest": attached.manifest["files"][0]["digest"]}
    with records.database.writing() as connection:
        append(connection, NewEvent(MAKER, "content.erased", "分類@1"), {"erasures": [row]})
    with pytest.raises(RecordsError, match=r"a\.json of this evidence was erased here"):
        attach_bundle(records, version, "x", {"a.json": b"{}"}, {"newer": 1}, actor=MAKER, reason="")

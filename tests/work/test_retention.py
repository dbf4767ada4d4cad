"""Deletion by reference: the content is nowhere afterwards, digests stay valid, holds hold, periods have floors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.work.finished_studies import PERSON, WORD, finish_study
from tests.work.registries import (
    ADMIN,
    AUDITOR,
    MAKER,
    Made,
    add_version,
    approve,
    everything_on_disk,
    new_registry,
)
from tsugiki.errors import RecordsError, UsageError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records.ledger import history
from tsugiki.records.open import Records
from tsugiki.records.packs import erased, files_of, packs_of
from tsugiki.work import retention
from tsugiki.work.archive import export_evidence
from tsugiki.work.archive_verifier import verify
from tsugiki.work.attach import attach_bundle, attach_study
from tsugiki.work.examples import read_examples
from tsugiki.work.retention import Periods, apply, erase, hold, holds, read_periods, release

REASON = "the person asked for it"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return new_registry(tmp_path / "registry")


@pytest.fixture
def version(records: Records, study: Path) -> Made:
    made = add_version(records, study / "adapters" / "lora-s0")
    attach_study(records, made, study, texts=True, actor=MAKER, reason="")
    return made


def row_of(study: Path, text: str) -> int:
    for part in ("train", "test", "shift"):
        for example in read_examples(study / f"data/{part}.jsonl"):
            if text in example.prompt:
                return example.row
    raise AssertionError(text)


def test_a_persons_row_is_nowhere_afterwards_and_every_digest_holds(
    records: Records, version: Made, study: Path, tmp_path: Path
) -> None:
    other = add_version(records, study / "adapters" / "lora-s1", number=2)
    attach_study(records, other, study, texts=True, actor=MAKER, reason="")
    approve(records, version)
    row = row_of(study, PERSON)
    before = everything_on_disk(records.folder)
    assert PERSON.encode() in before
    found = erase(records, version, [row], actor=ADMIN, reason=REASON)
    after = everything_on_disk(records.folder)  # database, WAL and files
    assert PERSON.encode() not in after and WORD.encode() in after
    assert found.files == 1 and found.event is not None
    with records.database.reading() as connection:
        (digest,) = erased(connection)
        (event,) = [one for one in history(connection, object="分類@1") if one.kind == "content.erased"]
        packs = packs_of(connection)
    assert event.after == {"what": "texts", "rows": [row], "files": 1}
    assert (event.actor["name"], event.reason, event.rows["erasures"]) == ("anna", REASON, [{"digest": digest}])
    assert all(digest_bytes(pack.body) == pack.digest for pack in packs) and len(packs) == 2
    salt = next(
        json.loads(line)["salt"] for line in before.split(b"\n") if PERSON.encode() in line and b'"salt"' in line
    )
    assert salt.encode() not in after
    export_evidence(records, version, tmp_path / "a.zip", texts=True, actor=AUDITOR, reason="")
    report = verify(tmp_path / "a.zip", records.database.home.public.pem())
    assert report.texts_erased == 1 and report.texts > 40 and PERSON.encode() not in (tmp_path / "a.zip").read_bytes()


def test_all_texts_can_go_and_the_scores_stay(records: Records, version: Made) -> None:
    erase(records, version, None, actor=ADMIN, reason=REASON)
    assert WORD.encode() not in everything_on_disk(records.folder)
    with records.database.reading() as connection:
        files = files_of(connection, packs_of(connection)[0].seq)
    assert json.loads(records.store.read(files["items.json"]))["metric"] == "exact_match"
    with pytest.raises(RecordsError, match="No text is kept with 分類@1"):
        erase(records, version, None, actor=ADMIN, reason=REASON)


def test_rows_that_share_a_sentence_lose_it_together(records: Records, version: Made, study: Path) -> None:
    """The contradiction's sentence quotes answers of several rows."""
    check = json.loads((study / "data/check.json").read_text())
    several = next(one["rows"] for one in check["concerns"] if one["kind"] == "contradiction")
    assert erase(records, version, several[:1], actor=ADMIN, reason=REASON).files == 2


def test_what_cannot_be_erased_is_said(records: Records, version: Made) -> None:
    with pytest.raises(RecordsError, match="No text of row 99999 is kept"):
        erase(records, version, [99999], actor=ADMIN, reason=REASON)
    with pytest.raises(RecordsError, match="need a reason"):
        erase(records, version, None, actor=ADMIN, reason=" ")
    with pytest.raises(RecordsError, match="ota is an operator and may not retention"):
        erase(records, version, None, actor=MAKER, reason=REASON)


@pytest.mark.parametrize("what", ["分類@1", "分類", "*"])
def test_what_is_on_hold_is_not_erased(records: Records, version: Made, study: Path, what: str) -> None:
    event = hold(records, what, actor=ADMIN, reason="a case at court")
    with pytest.raises(RecordsError, match=f"by event {event.seq}|since event {event.seq} by anna .a case at court"):
        erase(records, version, None, actor=ADMIN, reason=REASON)
    with pytest.raises(RecordsError, match="on hold already, by event"):
        hold(records, what, actor=ADMIN, reason="again")
    (records.folder / "retention.yaml").write_text("texts_days: 0\n")
    assert apply(records, actor=ADMIN, now=datetime.now(UTC) + timedelta(days=9)) == []
    release(records, what, actor=ADMIN, reason="the case is over")
    with records.database.reading() as connection:
        assert holds(connection) == {}
    assert erase(records, version, None, actor=ADMIN, reason=REASON).files > 40


def test_a_hold_on_another_version_covers_the_texts_they_share(records: Records, version: Made, study: Path) -> None:
    other = add_version(records, study / "adapters" / "lora-s1", number=2)
    attach_study(records, other, study, texts=True, actor=MAKER, reason="")
    hold(records, "分類@2", actor=ADMIN, reason="a case at court")
    with pytest.raises(RecordsError, match="分類@2 is on hold"):
        erase(records, version, None, actor=ADMIN, reason=REASON)
    (records.folder / "retention.yaml").write_text("texts_days: 0\nevidence_days: 183\n")
    later = datetime.now(UTC) + timedelta(days=400)
    shared = {one.version: one.files for one in apply(records, actor=ADMIN, now=later)}
    with records.database.reading() as connection:
        files = {pack.seq: files_of(connection, pack.seq) for pack in packs_of(connection)}
    assert not shared, files  # the packs of one study are made of the same files, but for what is bound to the version


def test_bad_holds(records: Records, version: Made) -> None:
    with pytest.raises(RecordsError, match="There is no 分類@9 in this registry"):
        hold(records, "分類@9", actor=ADMIN, reason="x")
    with pytest.raises(RecordsError, match="分類 is not on hold"):
        release(records, "分類", actor=ADMIN, reason="x")


def test_periods_have_floors_and_names(tmp_path: Path) -> None:
    assert read_periods(tmp_path) == Periods()
    path = tmp_path / "retention.yaml"
    for text, message in (
        ("evidence_days: 182\n", "evidence_days"),
        ("texts_days: -1\n", "texts_days"),
        ("text_days: 3\n", "text_days"),
        ("- 3\n", "holds no names with days"),
        ("a: [\n", "cannot be read as YAML"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_periods(tmp_path)
    path.write_text("evidence_days: 183\ntexts_days: 30\n")
    assert read_periods(tmp_path) == Periods(evidence_days=183, texts_days=30)


def test_what_is_older_than_its_period_goes(records: Records, version: Made) -> None:
    (records.folder / "retention.yaml").write_text("texts_days: 30\nevidence_days: 200\n")
    assert apply(records, actor=ADMIN) == []
    month, year = datetime.now(UTC) + timedelta(days=31), datetime.now(UTC) + timedelta(days=400)
    (shown,) = apply(records, actor=ADMIN, now=month)
    assert shown.event is None and WORD.encode() in everything_on_disk(records.folder)
    (done,) = apply(records, actor=ADMIN, now=month, dry_run=False)
    assert done.files == shown.files and done.event is not None and done.event.reason == "older than 30 days"
    assert WORD.encode() not in everything_on_disk(records.folder)
    (rest,) = apply(records, actor=ADMIN, now=year, dry_run=False)
    with records.database.reading() as connection:
        files = files_of(connection, packs_of(connection)[0].seq)
    assert rest.files > 10 and not any(map(records.store.exists, files.values()))
    assert apply(records, actor=ADMIN, now=year, dry_run=False) == []


def test_a_file_of_the_version_itself_is_never_erased(records: Records, version: Made, study: Path) -> None:
    weights = (study / "adapters" / "lora-s0" / "adapter_model.safetensors").read_bytes()
    attach_bundle(records, version, "x", {"weights": weights}, {}, actor=MAKER, reason="")
    (records.folder / "retention.yaml").write_text("evidence_days: 183\n")
    apply(records, actor=ADMIN, now=datetime.now(UTC) + timedelta(days=400), dry_run=False)
    assert records.store.read(digest_bytes(weights)) == weights


def test_weights_that_were_attached_as_a_text_are_not_erased_as_one(
    records: Records, version: Made, study: Path
) -> None:
    weights = (study / "adapters" / "lora-s0" / "adapter_model.safetensors").read_bytes()
    attach_bundle(records, version, "x", {"texts/a.json": weights}, {}, actor=MAKER, reason="")
    erase(records, version, None, actor=ADMIN, reason=REASON)
    assert records.store.read(digest_bytes(weights)) == weights


def test_a_crash_before_the_deletion_is_made_up_for(
    records: Records, version: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(digest: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(records.store, "delete", crash)
    with pytest.raises(KeyboardInterrupt):
        erase(records, version, None, actor=ADMIN, reason=REASON)
    monkeypatch.undo()
    assert WORD.encode() in everything_on_disk(records.folder)
    retention.apply(records, actor=ADMIN, dry_run=False)
    assert WORD.encode() not in everything_on_disk(records.folder)

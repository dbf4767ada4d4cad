from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.records.registries import ADMIN, APPROVER, AUDITOR, OPERATOR, VIEWER
from tests.work.lives import MODEL, WHY, alive, promoted_to
from tsugiki.errors import RecordsError
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import history
from tsugiki.records.open import Records, open_registry
from tsugiki.work import rollback as rollback_module
from tsugiki.work.decisions import withdraw
from tsugiki.work.rollback import rollback, stop

POC = f"{MODEL}@poc"


def at(records: Records) -> int | None:
    with records.database.reading() as connection:
        return alias_at(connection, MODEL, "poc").number


def three(folder: Path) -> Records:
    records = alive(folder, versions=3)
    for number in (1, 2, 3):
        promoted_to(records, f"{MODEL}@{number}")
    return records


def back(records: Records, to: int | None = None) -> int | None:
    return rollback(records, POC, to=to, actor=OPERATOR, reason="wrong answers on line 3").after


def test_going_back_twice_goes_back_two_steps(tmp_path: Path):
    records = three(tmp_path)
    assert back(records) == 2 and at(records) == 2
    assert back(records) == 1 and at(records) == 1
    with pytest.raises(RecordsError, match=f"{POC} cannot go back: it pointed to nothing before"):
        back(records)
    with records.database.reading() as connection:
        event = history(connection, model=MODEL, alias="poc")[0]
    assert event.kind == "alias.rolled_back" and event.reason == "wrong answers on line 3"
    assert (event.before["version"], event.after["version"]) == (f"{MODEL}@2", f"{MODEL}@1")


def test_it_goes_to_a_named_version_that_it_had(tmp_path: Path):
    records = three(tmp_path)
    assert back(records, 1) == 1
    assert back(records, 3) == 3  # and forward again, to what was approved once
    assert back(records) == 1
    with pytest.raises(RecordsError, match=f"{POC} points to {MODEL}@1 already"):
        back(records, 1)
    with pytest.raises(RecordsError, match=f"{POC} never pointed to {MODEL}@7. It can go back to: 1, 2, 3"):
        back(records, 7)
    with pytest.raises(RecordsError, match=f"{MODEL}@pilot never pointed to anything"):
        rollback(records, f"{MODEL}@pilot", actor=OPERATOR, reason=WHY)


def test_withdrawn_versions_are_passed_over(tmp_path: Path):
    records = three(tmp_path)
    withdraw(records, f"{MODEL}@2", actor=APPROVER, reason="wrong data")
    moved = rollback(records, POC, actor=APPROVER, reason=WHY)
    assert (moved.before, moved.after, moved.skipped) == (3, 1, (2,))


def test_from_a_stopped_name_it_goes_before_what_was_stopped(tmp_path: Path):
    records = three(tmp_path)
    moved = stop(records, POC, actor=OPERATOR, reason="smoke")
    assert (moved.before, moved.after) == (3, None) and at(records) is None
    with pytest.raises(RecordsError, match="points to nothing already"):
        stop(records, POC, actor=OPERATOR, reason=WHY)
    assert back(records) == 2
    stop(records, POC, actor=OPERATOR, reason="still smoke")
    assert back(records, 2) == 2


@pytest.mark.parametrize("actor", [OPERATOR, APPROVER, ADMIN], ids=lambda one: one.role)
def test_who_may_stop(tmp_path: Path, actor: object):
    records = alive(tmp_path)
    promoted_to(records)
    assert stop(records, POC, actor=actor, reason="smoke").after is None  # type: ignore[arg-type]


@pytest.mark.parametrize("actor", [AUDITOR, VIEWER], ids=lambda one: one.role)
def test_who_may_not(tmp_path: Path, actor: object):
    records = alive(tmp_path)
    promoted_to(records)
    with pytest.raises(RecordsError, match="may not stop"):
        stop(records, POC, actor=actor, reason=WHY)  # type: ignore[arg-type]
    with pytest.raises(RecordsError, match="may not rollback"):
        rollback(records, POC, actor=actor, reason=WHY)  # type: ignore[arg-type]
    assert at(records) == 1


def test_a_broken_version_is_not_gone_back_to(tmp_path: Path):
    records = alive(tmp_path, versions=2)
    promoted_to(records, f"{MODEL}@1")
    with records.database.reading() as connection:
        first = alias_at(connection, MODEL, "poc").number
    promoted_to(records, f"{MODEL}@2")
    digests = {path for path in (tmp_path / "registry" / "blobs").rglob("*") if path.is_file()}
    for path in digests:
        if path.read_bytes() == f"weights {MODEL} {first}".encode():
            path.unlink()
    with pytest.raises(RecordsError, match="sha256:"):
        back(records)
    assert at(records) == 2


def read_only(monkeypatch: pytest.MonkeyPatch, records: Records) -> None:
    """As SQLite says it of a file that this user may not write to; whoever runs the tests may be root."""
    from sqlalchemy import event

    @event.listens_for(records.database.engine, "connect")
    def _(connection: object, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")  # type: ignore[attr-defined]

    records.database.engine.dispose()


def test_it_works_while_the_database_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    three(tmp_path)
    frozen = open_registry(tmp_path / "registry")
    read_only(monkeypatch, frozen)
    moved = rollback(frozen, POC, actor=APPROVER, reason="disk full")
    assert (moved.before, moved.after, moved.waits) == (3, 2, True)
    assert at(frozen) == 2 and len(list((tmp_path / "registry" / "pending").glob("*.json"))) == 1
    again = rollback(frozen, POC, actor=APPROVER, reason="still wrong")
    assert (again.before, again.after) == (2, 1) and at(frozen) == 1
    assert stop(frozen, POC, actor=APPROVER, reason="smoke").waits and at(frozen) is None
    with pytest.raises(RecordsError, match="it pointed to nothing before"):
        rollback(frozen, POC, actor=APPROVER, reason="x")
    # The next writer records what waited, in order, with the time and the person it came from.
    thawed = open_registry(tmp_path / "registry")
    assert at(thawed) is None
    promoted_to(thawed, f"{MODEL}@1", "pilot")
    assert list((tmp_path / "registry" / "pending").glob("*.json")) == []
    with thawed.database.reading() as connection:
        found = history(connection, model=MODEL, alias="poc")[:3]
    assert [(one.kind, one.reason, one.actor["name"]) for one in reversed(found)] == [
        ("alias.rolled_back", "disk full", "高橋"),
        ("alias.rolled_back", "still wrong", "高橋"),
        ("alias.stopped", "smoke", "高橋"),
    ]
    assert at(thawed) is None


def test_what_was_withdrawn_while_files_were_read_is_not_gone_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = three(tmp_path)
    read = rollback_module.verify_files

    def slowly(*arguments: Any) -> None:
        read(*arguments)
        withdraw(open_registry(tmp_path / "registry"), f"{MODEL}@2", actor=APPROVER, reason="wrong data")

    monkeypatch.setattr(rollback_module, "verify_files", slowly)
    with pytest.raises(RecordsError, match=f"{MODEL}@2 was withdrawn in this moment"):
        back(records)
    assert at(records) == 3 and not list((tmp_path / "registry").glob("pending/*"))


def test_it_does_not_wait_for_a_writer_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = three(tmp_path)
    monkeypatch.setattr(rollback_module, "PATIENCE_SECONDS", 0.1)
    with open_registry(tmp_path / "registry").database.writing():
        moved = rollback(records, POC, actor=OPERATOR, reason=WHY)
        assert moved.waits and moved.after == 2 and at(records) == 2
    promoted_to(records, f"{MODEL}@1", "pilot")
    assert at(records) == 2 and not list((tmp_path / "registry").glob("pending/*.json"))


def test_it_goes_further_back_from_what_waits_once_the_database_takes_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    three(tmp_path)
    frozen = open_registry(tmp_path / "registry")
    read_only(monkeypatch, frozen)
    assert back(frozen) == 2
    thawed = open_registry(tmp_path / "registry")
    assert back(thawed) == 1 and at(thawed) == 1
    with thawed.database.reading() as connection:
        found = history(connection, model=MODEL, alias="poc")[:2]
    assert [one.after["version"] for one in found] == [f"{MODEL}@1", f"{MODEL}@2"]


def test_a_version_is_no_alias(tmp_path: Path):
    records = alive(tmp_path)
    with pytest.raises(RecordsError, match=f"{MODEL}@1 is a version, not an alias"):
        rollback(records, f"{MODEL}@1", actor=OPERATOR, reason=WHY)
    with pytest.raises(RecordsError, match=f"{MODEL}@nix never pointed to anything"):
        stop(records, f"{MODEL}@nix", actor=OPERATOR, reason=WHY)

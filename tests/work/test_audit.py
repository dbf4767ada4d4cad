from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.records.registries import AUDITOR, OPERATOR
from tests.work.lives import MODEL, alive, promoted_to
from tsugiki.errors import RecordsError
from tsugiki.records.ledger import history
from tsugiki.records.open import open_registry
from tsugiki.work.audit import anchor_newest, history_of, pointed, verify_registry
from tsugiki.work.rollback import rollback


def test_what_a_name_meant_at_any_moment(tmp_path: Path):
    records = alive(tmp_path, versions=2)
    first = promoted_to(records, f"{MODEL}@1")
    second = promoted_to(records, f"{MODEL}@2")
    rollback(records, f"{MODEL}@poc", actor=OPERATOR, reason="wrong")
    with records.database.reading() as connection:
        back = history(connection, model=MODEL, alias="poc", limit=1)[0]
    expected = [
        ("2026-01-01T00:00:00.000000Z", None, None),
        (first.since, 1, first.request.id),
        (second.since, 2, second.request.id),
        (back.at, 1, first.request.id),
        (None, 1, first.request.id),
    ]
    for at, number, request in expected:
        found = pointed(records, f"{MODEL}@poc", at)
        assert found.state.number == number, at
        assert (found.promotion.request if found.promotion else None) == request
    assert pointed(records, f"{MODEL}@poc").promotion.after["approved_by"] == ["高橋"]  # type: ignore[union-attr]


def test_the_history_of_a_thing_and_of_everything(tmp_path: Path):
    records = alive(tmp_path)
    promoted_to(records)
    events, waiting = history_of(records, f"{MODEL}@poc")
    assert [one.kind for one in events] == ["alias.promoted"] and waiting == []
    assert {one.object for one in history_of(records, MODEL)[0]} == {f"{MODEL}@1", f"{MODEL}@poc"}
    assert [one.kind for one in history_of(records, "person:佐藤")[0]] == ["person.added"]
    assert len(history_of(records, None, limit=5)[0]) == 5
    assert history_of(records, MODEL, until="2026-01-01T00:00:00.000000Z")[0] == []
    with pytest.raises(RecordsError, match="The ledger knows nothing of nobody"):
        history_of(records, "nobody")


def test_an_index_that_hides_the_newest_move_is_found(tmp_path: Path):
    """Tables are as signed; a name is looked up by the index, which lacks the row."""
    records = alive(tmp_path, versions=2)
    promoted_to(records, f"{MODEL}@1")
    promoted_to(records, f"{MODEL}@2")
    records.database.engine.dispose()
    path = tmp_path / "registry" / "registry.db"
    row, triggers, index = (), [], []
    for step in range(3):  # a connection reads what the schema is once
        broken = sqlite3.connect(path, isolation_level=None)
        broken.execute("PRAGMA writable_schema=ON")
        if step == 0:
            row = broken.execute("SELECT * FROM alias_moves ORDER BY seq DESC").fetchone()
            triggers = broken.execute(
                "SELECT name, sql FROM sqlite_master WHERE name LIKE 'alias_moves_keep%'"
            ).fetchall()
            index = broken.execute("SELECT * FROM sqlite_master WHERE name LIKE 'ix_alias_moves%'").fetchall()
            for name, _ in triggers:
                broken.execute(f"DROP TRIGGER {name}")
            broken.execute("DELETE FROM alias_moves WHERE seq = ?", row[:1])
            broken.execute("DELETE FROM sqlite_master WHERE name LIKE 'ix_alias_moves%'")
        elif step == 1:
            broken.execute("INSERT INTO alias_moves VALUES (?, ?, ?, ?, ?)", row)
            broken.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
        else:
            for _, statement in triggers:
                broken.execute(statement)
        broken.close()
    records = open_registry(tmp_path / "registry")
    assert pointed(records, f"{MODEL}@poc").state.number == 1
    report, _ = verify_registry(records, anchor=None, public_key=None, files=True)
    assert str(report.bad).startswith("registry.db: its tables and indices differ: row ")


def test_verification_names_the_first_bad_record(tmp_path: Path):
    records = alive(tmp_path)
    promoted_to(records)
    report, read = verify_registry(records, anchor=None, public_key=None, files=True)
    assert report.bad is None and read is not None and read >= 1 and not report.anchored
    records.database.engine.dispose()
    broken = sqlite3.connect(tmp_path / "registry" / "registry.db")
    with broken:
        broken.execute("UPDATE people SET role = 'admin' WHERE name = 'guest'")
    broken.close()
    report, read = verify_registry(records, anchor=None, public_key=None, files=True)
    assert str(report.bad) == "people: guest is admin (active: 1), the ledger says viewer" and read is None


def test_an_anchor_shows_that_the_tail_was_cut_off(tmp_path: Path):
    records = alive(tmp_path)
    anchor, before = tmp_path / "anchor.jsonl", tmp_path / "before"
    records.database.engine.dispose()
    shutil.copytree(tmp_path / "registry", before)
    promoted_to(records)
    done = anchor_newest(records, file=anchor, command=None, actor=AUDITOR)
    with records.database.reading() as connection:
        assert history(connection, limit=1)[0].after == done
    key = tmp_path / "registry" / "keys" / "ledger.pub"
    assert verify_registry(records, anchor=anchor, public_key=key, files=False)[0].anchored
    from tsugiki.records.open import open_registry

    cut = verify_registry(open_registry(before), anchor=anchor, public_key=key, files=False)[0]
    assert cut.bad is not None
    assert verify_registry(open_registry(before), anchor=None, public_key=None, files=False)[0].bad is None


def test_only_auditors_anchor(tmp_path: Path):
    with pytest.raises(RecordsError, match="佐藤 is an operator and may not anchor. Ask an auditor"):  # noqa: RUF043
        anchor_newest(alive(tmp_path), file=tmp_path / "a", command=None, actor=OPERATOR)

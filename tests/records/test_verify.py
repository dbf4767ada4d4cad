"""Every way of tampering that we could think of is found, and the first bad record is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.records.filled import LAST, SIGNED, Desk, fill
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json, digest_bytes
from tsugiki.records.keys import SigningKey
from tsugiki.records.ledger import genesis
from tsugiki.records.open import Records, create_records
from tsugiki.records.schema import append_only_statements
from tsugiki.records.verify import Report, verify

OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
A_DIGEST = digest_bytes(b"another")
SOME_SIGNATURE = OTHER.sign(b"something")

Change = Callable[[Desk], Any]


def sql(statement: str, *values: Any) -> Change:
    return lambda desk: desk.run(statement, *values)


def each(*changes: Change) -> Change:
    return lambda desk: [change(desk) for change in changes]


def set_column(table: str, column: str, value: Any, seq: int) -> Change:
    return sql(f"UPDATE {table} SET {column} = ? WHERE seq = ?", value, seq)


def delete(table: str, seq: int) -> Change:
    return sql(f"DELETE FROM {table} WHERE seq = ?", seq)


def insert_event(desk: Desk, seq: int, **changes: Any) -> None:
    facts = {**desk.body(seq - 1), "seq": seq, "previous": digest_bytes(desk.raw(seq - 1)), "rows": {}, **changes}
    body = canonical_json(facts)
    values = (seq, digest_bytes(body), facts["at"], facts["actor"]["name"], facts["kind"], facts["object"], body)
    desk.run("INSERT INTO events (seq, hash, at, actor, kind, object, body) VALUES (?, ?, ?, ?, ?, ?, ?)", *values)


def insert_at_zero(desk: Desk) -> None:
    desk.run("INSERT INTO events SELECT 0, ?, at, actor, kind, object, body FROM events WHERE seq = 1", A_DIGEST)


def insert_between(desk: Desk) -> None:
    tables = ("events", "checkpoints", "alias_moves")
    desk.shift(10, 1, tables)
    insert_event(desk, 10)


def drop_and_renumber(desk: Desk) -> None:
    delete("events", 10)(desk)
    delete("alias_moves", 10)(desk)
    desk.shift(11, -1, ("events", "checkpoints", "alias_moves"))


def duplicate_last(desk: Desk) -> None:
    desk.run(
        "INSERT INTO events SELECT 14, ?, at, actor, kind, object, body FROM events WHERE seq = 13", digest_bytes(b"")
    )


def edited(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda facts: {**facts, **changes}


def by_the_keyholder(seq: int, change: Callable[[dict[str, Any]], dict[str, Any] | bytes]) -> Change:
    return lambda desk: desk.rewrite(seq, change, key=desk.key)


def rewritten_from_the_first(desk: Desk) -> None:
    registry = desk.checkpoint(1).registry
    desk.rewrite(1, edited(reason="x"), key=OTHER, previous=genesis(registry, OTHER.public))


def another_registrys_event(desk: Desk) -> None:
    body = canonical_json({**desk.body(12), "previous": A_DIGEST, "object": "other@production"})
    desk.put(12, body, rehash=True)
    desk.run("UPDATE events SET object = 'other@production' WHERE seq = 12")


def replace_event(desk: Desk) -> None:
    body = canonical_json({**desk.body(12), "reason": "I was never here"})
    desk.run(
        "INSERT OR REPLACE INTO events SELECT seq, ?, at, actor, kind, object, ? FROM events WHERE seq = 12",
        digest_bytes(body),
        body,
    )


def sign_checkpoint(seq: int, *, by_us: bool, **changes: Any) -> Change:
    def change(desk: Desk) -> None:
        desk.sign(replace(desk.checkpoint(seq), **changes), desk.key if by_us else OTHER)

    return change


def version_with_another_body(desk: Desk) -> None:
    body = b'{"format":1,"name":"qa","number":1,"rate":0.1}'
    desk.run("UPDATE versions SET body = ?, digest = ? WHERE seq = 4", body, digest_bytes(body))


def swap(one: int, other: int) -> Change:
    return lambda desk: desk.swap(one, other)


def edit(seq: int, *, rehash: bool = False, **changes: Any) -> Change:
    return lambda desk: desk.edit(seq, rehash=rehash, **changes)


ADD_MOVE = "INSERT INTO alias_moves (seq, model, alias, version, at) SELECT 13, model, alias, 5, at FROM alias_moves "
# What is done, and the record that must be named: table, seq, words of the problem.
KINDS: dict[str, tuple[Change, str, int | None, str]] = {
    # events
    "body edited": (edit(10, reason="x"), "events", 10, "does not have its hash"),
    "body and hash edited inside a transaction": (edit(10, rehash=True, reason="x"), "events", 10, "that event 11"),
    "body and hash edited at a transaction's end": (edit(12, rehash=True, reason="x"), "events", 12, "what was signed"),
    "body and hash of the first edited": (edit(1, rehash=True, reason="x"), "events", 1, "what was signed"),
    "hash edited": (set_column("events", "hash", A_DIGEST, 6), "events", 6, "does not have its hash"),
    "column kind edited": (set_column("events", "kind", "noted", 6), "events", 6, "its column kind is 'noted'"),
    "column object edited": (set_column("events", "object", "qa@2", 6), "events", 6, "its column object is"),
    "column actor edited": (set_column("events", "actor", "佐藤", 6), "events", 6, "its column actor is '佐藤'"),
    "column at edited": (set_column("events", "at", "2020-01-01T00:00:00.000000Z", 6), "events", 6, "its column at"),
    "first deleted": (delete("events", 1), "events", 1, "it is missing"),
    "one in the middle deleted": (delete("events", 6), "events", 6, "it is missing"),
    "one inside a transaction deleted": (delete("events", 10), "events", 10, "it is missing"),
    "last deleted": (delete("events", 13), "events", 13, "there is a checkpoint of event 13"),
    "several deleted": (sql("DELETE FROM events WHERE seq BETWEEN 5 AND 9"), "events", 5, "it is missing"),
    "one deleted and the rest renumbered": (drop_and_renumber, "events", 10, "event 11 stands in its place"),
    "two swapped inside a transaction": (swap(9, 10), "events", 9, "does not follow"),
    "two swapped across transactions": (swap(5, 6), "events", 5, "does not follow"),
    "one put in and the rest renumbered": (insert_between, "events", 10, "was put in"),
    "one put before the first": (insert_at_zero, "events", 0, "no event comes before 1"),
    "one put at the end": (lambda desk: insert_event(desk, 14), "events", 14, "it is not signed"),
    "last one doubled": (duplicate_last, "events", 14, "does not have its hash"),
    "replaced by INSERT OR REPLACE": (replace_event, "events", 12, "what was signed"),
    "another registry's event": (another_registrys_event, "events", 12, "does not follow"),
    "chain rewritten without a key": (lambda desk: desk.rewrite(9, edited(reason="x")), "events", 11, "since event 8"),
    "chain rewritten with a new key": (
        lambda desk: desk.rewrite(9, edited(reason="x"), key=OTHER), "checkpoints", 11, "another key",
    ),
    "chain rewritten with a new key from the first": (rewritten_from_the_first, "events", 1, "with this key"),
    "chain rewritten with signatures that are none": (
        lambda desk: desk.rewrite(9, edited(reason="x"), key=OTHER, named=desk.key), "checkpoints", 11, "not genuine",
    ),
    "everything deleted": (each(sql("DELETE FROM events"), sql("DELETE FROM checkpoints")), "events", 1, "missing"),
    # checkpoints
    "checkpoint's body edited": (set_column("checkpoints", "body", b"{}", 6), "checkpoints", 6, "cannot be read"),
    "checkpoint's hash edited": (
        lambda desk: desk.run(
            "UPDATE checkpoints SET body = ? WHERE seq = 6", replace(desk.checkpoint(6), hash=A_DIGEST).body
        ), "checkpoints", 6, "not genuine",
    ),
    "signature edited": (
        set_column("checkpoints", "signature", SOME_SIGNATURE, 6), "checkpoints", 6, "not genuine",
    ),
    "first signature edited": (
        set_column("checkpoints", "signature", SOME_SIGNATURE, 1), "checkpoints", 1, "not genuine",
    ),
    "last signature edited": (
        set_column("checkpoints", "signature", SOME_SIGNATURE, 13), "checkpoints", 13, "not genuine",
    ),
    "signature is no base64": (set_column("checkpoints", "signature", "é!", 13), "checkpoints", 13, "not genuine"),
    "checkpoint deleted": (delete("checkpoints", 6), "checkpoints", 7, "between event 5 and it is missing"),
    "first checkpoint deleted": (delete("checkpoints", 1), "checkpoints", 3, "before it is missing"),
    "last checkpoint deleted": (delete("checkpoints", 13), "events", 13, "it is not signed"),
    "all checkpoints deleted": (sql("DELETE FROM checkpoints"), "events", 1, "of any checkpoint"),
    "checkpoint moved": (set_column("checkpoints", "seq", 10, 11), "checkpoints", 10, "made for event 11"),
    "checkpoint of no event": (set_column("checkpoints", "seq", 20, 13), "events", 14, "a checkpoint of event 20"),
    "checkpoint signed by another key": (
        sign_checkpoint(8, by_us=False, key=OTHER.public.digest), "checkpoints", 8, "another key",
    ),
    "checkpoint signed by another key in our name": (sign_checkpoint(8, by_us=False), "checkpoints", 8, "not genuine"),
    "checkpoint of another registry": (
        sign_checkpoint(8, by_us=True, registry="another"), "checkpoints", 8, "of the registry another",
    ),
    # what only who holds the key could do, and still must not
    "time goes back": (
        by_the_keyholder(12, edited(at="2020-01-01T00:00:00.000000Z")), "events", 12, "is before that of the event",
    ),
    "time is none": (by_the_keyholder(12, edited(at="2126-13-01T00:00:00.000000Z")), "events", 12, "is not a time"),
    "body not canonical": (
        by_the_keyholder(12, lambda facts: canonical_json(facts).replace(b":", b": ", 1)), "events", 12, "canonical",
    ),
    "body with a key twice": (
        by_the_keyholder(12, lambda facts: canonical_json(facts).replace(b"{", b'{"after":1,', 1)),
        "events", 12, "not canonical",
    ),
    "body with a float": (by_the_keyholder(12, edited(after={"rate": 0.5})), "events", 12, "the number 0.5"),
    "body with a number that is too large": (
        by_the_keyholder(12, lambda facts: canonical_json(facts).replace(b'"after":null', b'"after":9007199254740993')),
        "events", 12, "beyond 2^53",
    ),
    "body with a key too many": (by_the_keyholder(12, edited(note="x")), "events", 12, "it holds note"),
    "body with a key too few": (
        by_the_keyholder(12, lambda facts: {name: facts[name] for name in facts if name != "reason"}),
        "events", 12, "it lacks reason",
    ),
    "body of the wrong type": (by_the_keyholder(12, edited(kind=7)), "events", 12, "its kind has the wrong type"),
    "body that is no JSON": (by_the_keyholder(12, lambda _: b"\xff\xfe{}"), "events", 12, "cannot be read"),
    "body of another number": (by_the_keyholder(12, edited(seq=40)), "events", 12, "it is event 40"),
    # the tables that events write
    "alias move edited": (set_column("alias_moves", "version", 5, 12), "alias_moves", 12, "its version is 5"),
    "alias move's time edited": (
        set_column("alias_moves", "at", "2020-01-01T00:00:00.000000Z", 12), "alias_moves", 12, "its at is",
    ),
    "alias move deleted": (delete("alias_moves", 12), "alias_moves", 12, "it is missing: event 12 names"),
    "alias move added": (sql(ADD_MOVE + "WHERE seq = 12"), "alias_moves", 13, "no event names it"),
    "alias move after the end": (
        sql("INSERT INTO alias_moves SELECT 20, model, alias, 5, at FROM alias_moves WHERE seq = 12"),
        "alias_moves", 20, "no event names it",
    ),
    "alias move under another number": (set_column("alias_moves", "seq", 13, 12), "alias_moves", 12, "it is missing"),
    "version's body edited": (set_column("versions", "body", b"{}", 4), "versions", 4, "not have its digest"),
    "version's body and digest edited": (version_with_another_body, "versions", 4, "signature is not genuine"),
    "version's signature edited": (
        set_column("versions", "signature", SOME_SIGNATURE, 5), "versions", 5, "not genuine",
    ),
    "version's number edited": (set_column("versions", "number", 7, 5), "versions", 5, "its number is 7"),
    "version deleted": (delete("versions", 5), "versions", 5, "it is missing"),
    "version's file edited": (
        sql("UPDATE version_files SET digest = ? WHERE seq = 4 AND path = 'file-1'", A_DIGEST),
        "version_files", 4, "its digest is",
    ),
    "version's file deleted": (
        sql("DELETE FROM version_files WHERE seq = 4 AND path = 'file-0'"), "version_files", 4, "it is missing",
    ),
    "version's file added": (
        sql("INSERT INTO version_files (seq, path, digest) VALUES (4, 'file-2', ?)", A_DIGEST),
        "version_files", 4, "does not name path 'file-2'",
    ),
    "pack's body edited": (set_column("packs", "body", b"{}", 6), "packs", 6, "its body is"),
    "pack moved to another version": (set_column("packs", "version", 5, 6), "packs", 6, "its version is 5"),
    "pack deleted": (delete("packs", 6), "packs", 6, "it is missing"),
    "pack's file edited": (set_column("pack_files", "path", "x", 6), "pack_files", 6, "its path is 'x'"),
    "requester edited": (set_column("requests", "requester", "佐藤", 7), "requests", 7, "its requester is '佐藤'"),
    "request deleted": (delete("requests", 7), "requests", 7, "it is missing"),
    "verdict edited": (set_column("decisions", "verdict", "reject", 8), "decisions", 8, "its verdict is 'reject'"),
    "expiry edited": (
        set_column("decisions", "expires_at", "2999-01-01T00:00:00.000000Z", 8), "decisions", 8, "its expires_at",
    ),
    "decision added": (
        sql("INSERT INTO decisions (seq, request, verdict, actor, at, body) "
            "SELECT 9, request, 'approve', actor, at, body FROM decisions"),
        "decisions", 9, "no event names it",
    ),
    # people and tokens
    "role edited": (sql("UPDATE people SET role = 'approver'"), "people", None, "田中 is approver"),
    "person brought back": (sql("UPDATE people SET active = 0"), "people", None, "active: 0"),
    "person added": (sql("INSERT INTO people VALUES ('x', 'admin', 1, 'now')"), "people", None, "no event added x"),
    "person deleted": (each(sql("DELETE FROM tokens"), sql("DELETE FROM people")), "people", None, "田中 is missing"),
    "token's expiry edited": (sql("UPDATE tokens SET expires_at = '2999'"), "tokens", None, "has the expires_at 2999"),
    "token's secret exchanged": (sql("UPDATE tokens SET hash = 'mine'"), "tokens", None, "has the hash sha256:"),
    "token's scope edited": (sql("UPDATE tokens SET scope = 'admin'"), "tokens", None, "has the scope admin"),
    "token revoked by hand": (sql("UPDATE tokens SET revoked_at = '2026'"), "tokens", None, "has the revoked_at"),
    "token added": (
        sql("INSERT INTO tokens SELECT 'x', person, hash, scope, created_at, expires_at, NULL FROM tokens"),
        "tokens", None, "no event made x",
    ),
    "token's hash replaced": (sql("UPDATE tokens SET hash = '$argon2id$'"), "tokens", None, "has the hash sha256:"),
    "person's event emptied": (
        lambda desk: desk.rewrite(2, edited(after=None)), "events", 2, "no event of the kind person.added",
    ),
    "token deleted": (sql("DELETE FROM tokens"), "tokens", None, "is missing"),
}  # fmt: skip


ONLY_SQLITE = {"replaced by INSERT OR REPLACE"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """The filled registry, once for this file; tests work on a copy or in a transaction that is rolled back."""
    url = "sqlite:///registry.db" if request.param == "sqlite" else request.getfixturevalue("module_postgres")
    records = create_records(tmp_path_factory.mktemp("filled") / "registry", admin="admin", database=url)
    fill(records)
    yield records
    records.database.engine.dispose()


@contextmanager
def tampered(records: Records, change: Change, folder: Path) -> Iterator[Callable[..., Report]]:
    """The registry after `change` by another program, and a function that verifies it."""
    key, public = records.database.key, records.database.home.public
    if records.database.path is not None:
        records.database.engine.dispose()
        copy = Path(shutil.copy(records.database.path, folder))
        connection = sqlite3.connect(copy, isolation_level=None)
        desk = Desk(lambda text, *values: connection.execute(text, values).fetchall(), key, OTHER, postgres=False)
        without_triggers(desk, change)
        connection.close()
        yield lambda **options: verify(copy, public, **options)
        return
    with records.database.engine.connect() as plain, plain.begin() as transaction:

        def run(text: str, *values: Any) -> list[tuple[Any, ...]]:
            found = plain.exec_driver_sql(text.replace("?", "%s"), values)
            return [tuple(row) for row in found] if found.returns_rows else []

        run("SET LOCAL session_replication_role = replica")  # neither triggers nor foreign keys
        change(Desk(run, key, OTHER, postgres=True))
        yield lambda **options: verify(plain, public, **options)
        transaction.rollback()


def without_triggers(desk: Desk, change: Change) -> None:
    statements = append_only_statements("sqlite")
    if change is replace_event:  # this one needs no such help
        change(desk)
        return
    for statement in statements:
        desk.run(f"DROP TRIGGER {statement.split()[2]}")
    change(desk)
    for statement in statements:
        desk.run(statement)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tampering_is_found_and_named(whole: Records, kind: str, tmp_path: Path) -> None:
    if kind in ONLY_SQLITE and whole.database.path is None:
        pytest.skip("PostgreSQL has no such statement")
    change, table, seq, problem = KINDS[kind]
    with tampered(whole, change, tmp_path) as verified:
        bad = verified().bad
    assert bad is not None, "not found"
    assert (bad.table, bad.seq) == (table, seq), str(bad)
    assert problem in bad.problem


def test_a_registry_that_was_left_alone_is_true(whole: Records, tmp_path: Path) -> None:
    with tampered(whole, lambda _: None, tmp_path) as verified:
        report = verified(registry=whole.settings.id)
    assert report.bad is None
    assert (report.events, report.checkpoints, report.anchored) == (LAST, len(SIGNED), False)
    assert report.newest is not None
    assert (report.newest.seq, report.newest.registry) == (LAST, whole.settings.id)


def cut_tail(desk: Desk) -> None:
    for table in ("events", "checkpoints", "alias_moves"):
        desk.run(f"DELETE FROM {table} WHERE seq >= 12")


def test_a_tail_cut_off_with_its_checkpoints_is_seen_with_an_anchor_only(whole: Records, tmp_path: Path) -> None:
    with whole.database.reading() as connection:
        known = verify(connection, whole.database.home.public).newest
    assert known is not None
    with tampered(whole, cut_tail, tmp_path) as verified:
        alone, anchored = verified(), verified(known=[known])
    assert alone.bad is None and alone.events == 11 and not alone.anchored
    assert str(anchored.bad) == f"events 12: it is missing: event 13 was anchored at {known.at}"


def test_what_the_keyholder_rewrote_is_seen_with_an_anchor_only(whole: Records, tmp_path: Path) -> None:
    with whole.database.reading() as connection:
        known = verify(connection, whole.database.home.public).newest
    with tampered(whole, by_the_keyholder(12, edited(reason="x")), tmp_path) as verified:
        alone, anchored = verified(), verified(known=[known])
    assert alone.bad is None
    assert anchored.anchored and str(anchored.bad).startswith("events 13: it is not what was anchored at 20")


def test_another_registry_with_the_same_key_is_told_by_its_id(whole: Records, tmp_path: Path) -> None:
    with tampered(whole, lambda _: None, tmp_path) as verified:
        report = verified(registry="another")
    assert report.bad is not None and (report.bad.table, report.bad.seq) == ("events", 1)


def test_missing_triggers_and_tables_are_named(whole: Records, tmp_path: Path) -> None:
    if whole.database.path is None:
        pytest.skip("on SQLite; the catalogue of PostgreSQL has its own test")
    whole.database.engine.dispose()
    for statement, named in (
        ("DROP TRIGGER packs_keep_update", "packs: a trigger"),
        ("CREATE TRIGGER helpful AFTER INSERT ON alias_moves BEGIN SELECT 1; END", "helpful: a trigger"),
        ("DROP TABLE decisions", "decisions: "),
    ):
        copy = Path(shutil.copy(whole.database.path, tmp_path / "copy.db"))
        connection = sqlite3.connect(copy)
        connection.execute(statement)
        connection.commit()
        connection.close()
        assert str(verify(copy, whole.database.home.public).bad).startswith(named)


def test_disabled_triggers_are_named_on_postgresql(whole: Records) -> None:
    if whole.database.path is not None:
        pytest.skip("on PostgreSQL")
    with whole.database.engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("ALTER TABLE requests DISABLE TRIGGER requests_keep_delete")
        assert str(verify(connection, whole.database.home.public).bad).startswith("requests: a trigger")
        transaction.rollback()


def test_a_damaged_file_is_no_traceback(sqlite_records: Records, tmp_path: Path) -> None:
    fill(sqlite_records)
    sqlite_records.database.engine.dispose()
    path = sqlite_records.folder / "registry.db"
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 9 * 4096] = bytes(6 * 4096)
    path.write_bytes(content)
    assert verify(path, sqlite_records.database.home.public).bad is not None
    with pytest.raises(RecordsError, match="cannot be read"):
        verify(tmp_path / "nothing.db", sqlite_records.database.home.public)
    (tmp_path / "text.db").write_text("this is no database" * 100)
    with pytest.raises(RecordsError, match="file is not a database"):
        verify(tmp_path / "text.db", sqlite_records.database.home.public)

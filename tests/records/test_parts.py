"""A ledger verified in parts is true exactly when it is true as a whole."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from pathlib import Path

import pytest

from tests.records.filled import LAST, SIGNED, Desk, fill
from tests.records.test_verify import KINDS, OTHER, without_triggers
from tsugiki.records import parts
from tsugiki.records.open import Records, create_records
from tsugiki.records.parts import Bounds, verify_in_parts
from tsugiki.records.sqlite_files import open_read_only
from tsugiki.records.verify import verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    records = create_records(tmp_path_factory.mktemp("filled") / "registry", admin="admin")
    fill(records)
    records.database.engine.dispose()
    yield records


@pytest.fixture
def three_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thirteen events in parts of 1 to 4, 5 to 8 and 9 to 13."""
    monkeypatch.setattr(parts, "SMALLEST", 4)
    monkeypatch.setattr(parts, "available_cores", lambda: 16)


class Here:
    """What a process would say, in this one: three processes for each of ninety cases would take minutes."""

    def __init__(self, command: list[str], **_: object) -> None:
        self._arguments = command[-1]

    def communicate(self) -> tuple[bytes, None]:
        with redirect_stdout(io.StringIO()) as out:
            parts.main(self._arguments)
        return out.getvalue().encode(), None

    def kill(self) -> None:
        pass

    def wait(self) -> None:
        pass


def in_parts(records: Records, path: Path) -> tuple[int, int, int] | None:
    with closing(open_read_only(path)) as connection:
        found = verify_in_parts(path, connection, records.database.home.public, None)
    return found and (found[0].events, found[1], found[0].newest[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_tampering_passes_in_parts(
    whole: Records, kind: str, three_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.subprocess, "Popen", Here)
    copy = Path(shutil.copy(whole.folder / "registry.db", tmp_path))
    assert in_parts(whole, copy) == (LAST, len(SIGNED), LAST)
    change, table, seq, _ = KINDS[kind]
    connection = sqlite3.connect(copy, isolation_level=None)
    desk = Desk(
        lambda text, *values: connection.execute(text, values).fetchall(), whole.database.key, OTHER, postgres=False
    )
    without_triggers(desk, change)
    connection.close()
    assert in_parts(whole, copy) is None
    bad = verify(copy, whole.database.home.public).bad
    assert bad is not None and (bad.table, bad.seq) == (table, seq)


def test_processes_say_the_same(whole: Records, three_parts: None) -> None:
    assert in_parts(whole, whole.folder / "registry.db") == (LAST, len(SIGNED), LAST)


def test_the_report_is_that_of_the_whole(
    whole: Records, three_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.subprocess, "Popen", Here)
    path, public = whole.folder / "registry.db", whole.database.home.public
    report = verify(path, public)
    assert (report.events, report.checkpoints, report.bad, report.anchored) == (LAST, len(SIGNED), None, False)
    assert report.newest is not None and report.newest.seq == LAST
    assert verify(path, public, known=[report.newest]).anchored
    copy = Path(shutil.copy(path, tmp_path))
    connection = sqlite3.connect(copy)
    connection.execute("DROP TRIGGER alias_moves_keep_update")
    connection.commit()
    connection.close()
    assert str(verify(copy, public).bad).startswith("alias_moves: a trigger")


def test_a_short_ledger_and_one_core_are_read_in_order(whole: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_parts(whole, whole.folder / "registry.db") is None
    monkeypatch.setattr(parts, "SMALLEST", 2)
    monkeypatch.setattr(parts, "available_cores", lambda: 1)
    assert in_parts(whole, whole.folder / "registry.db") is None


def test_bounds_leave_no_row_out() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rows (seq)")
        values = [None, -1, 0, 1, 4, 5, 6, 9, 10, 2.5, 9.5, "x", "5", b"y"]
        connection.executemany("INSERT INTO rows VALUES (?)", [(value,) for value in values])
        found = []
        for bounds in (Bounds(None, 5), Bounds(5, 10), Bounds(10, None)):
            found += [value for (value,) in connection.execute(f"SELECT seq FROM rows WHERE {bounds.condition}")]
        assert sorted(found, key=repr) == sorted(values, key=repr)

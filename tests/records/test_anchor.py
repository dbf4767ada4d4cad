"""An anchor file grows by one true line at a time; whatever is done to it or to the ledger is seen."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.records.conftest import Person
from tsugiki.errors import RecordsError
from tsugiki.records.anchor import anchor_to_command, anchor_to_file, read_anchor
from tsugiki.records.checkpoints import Checkpoint, newest_checkpoint
from tsugiki.records.keys import create_key
from tsugiki.records.ledger import NewEvent, append
from tsugiki.records.open import Records, create_records
from tsugiki.records.verify import verify


def newest(records: Records) -> Checkpoint:
    with records.database.reading() as connection:
        found = newest_checkpoint(connection)
    assert found is not None
    return found


def note(records: Records) -> None:
    with records.database.writing() as connection:
        append(connection, NewEvent(Person(), "noted", "x"))


@pytest.fixture
def anchored(sqlite_records: Records, tmp_path: Path) -> Path:
    """Four lines: of the events 1, 3, 4 and 6."""
    path = tmp_path / "anchor.jsonl"
    for notes in (0, 2, 1, 2):
        for _ in range(notes):
            note(sqlite_records)
        assert anchor_to_file(path, newest(sqlite_records), sqlite_records.database.home.public)
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_an_anchor_is_read_back_and_confirms_the_ledger(sqlite_records: Records, anchored: Path) -> None:
    public = sqlite_records.database.home.public
    assert [checkpoint.seq for checkpoint in read_anchor(anchored, public)] == [1, 3, 4, 6]
    assert not anchor_to_file(anchored, newest(sqlite_records), public)
    assert len(lines(anchored)) == 4
    note(sqlite_records)
    with sqlite_records.database.reading() as connection:
        report = verify(connection, public, known=read_anchor(anchored, public))
    assert report.bad is None and report.anchored and report.events == 7


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda old: old[:1] + old[2:], "Line 2 of .* does not follow the line before it"),
        (lambda old: old[1:], "Line 1 of .* does not follow the line before it"),
        (lambda old: [old[1], old[0], *old[2:]], "Line 1 of .* does not follow"),
        (lambda old: [*old, old[-1]], "Line 5 of .* does not follow"),
        (lambda old: [*old[:2], old[2].replace(b'"seq":4', b'"seq":5'), old[3]], "Line 3 of .* is not signed by"),
        (
            lambda old: [*old[:2], old[2].replace(b'"before":"sha256:', b'"before":"sha256:0', 1), old[3]],
            "does not follow",
        ),
        (lambda old: [*old[:3], old[3][:100]], "Line 4 of .* is not an anchor"),
        (lambda old: [*old[:3], b"\n", old[3]], "Line 4 of .* is not an anchor"),
        (lambda old: [old[0].replace(b":", b": ", 1), *old[1:]], "Line 1 of .* is not an anchor: it is not canonical"),
    ],
)
def test_a_changed_anchor_is_named_by_its_line(sqlite_records: Records, anchored: Path, change, problem: str) -> None:
    anchored.write_bytes(b"".join(change(lines(anchored))))
    with pytest.raises(RecordsError, match=problem):
        list(read_anchor(anchored, sqlite_records.database.home.public))


def test_an_anchor_of_somebody_else_is_refused(sqlite_records: Records, anchored: Path, tmp_path: Path) -> None:
    stranger = create_key(tmp_path / "stranger")
    with pytest.raises(RecordsError, match=r"Line 1 of .* is not signed by the registry's key"):
        list(read_anchor(anchored, stranger.public))
    mine = newest(sqlite_records)
    forged = replace(mine, seq=9)
    forged = replace(forged, signature=stranger.sign(forged.body))
    with pytest.raises(RecordsError, match="is not signed by the registry's key"):
        list(read_anchor(_file(tmp_path / "forged", forged, stranger.public), sqlite_records.database.home.public))


def _file(path: Path, checkpoint: Checkpoint, public) -> Path:
    anchor_to_file(path, checkpoint, public)
    return path


def test_a_ledger_that_was_cut_off_or_exchanged_is_not_anchored_again(
    sqlite_records: Records, anchored: Path, tmp_path: Path
) -> None:
    home = sqlite_records.database.home
    older = next(read_anchor(anchored, home.public))
    with pytest.raises(RecordsError, match=r"knows event 6, but the ledger's newest checkpoint is of event 1: events"):
        anchor_to_file(anchored, older, home.public)
    other = newest(create_records(tmp_path / "other", admin="x"))
    theirs = replace(other, key=home.public.digest, seq=99)
    theirs = replace(theirs, signature=sqlite_records.database.key.sign(theirs.body))
    with pytest.raises(RecordsError, match=f"anchors the registry {sqlite_records.settings.id}"):
        anchor_to_file(anchored, theirs, home.public)
    assert len(lines(anchored)) == 4


def test_a_line_that_was_cut_off_while_it_was_written_stops_the_next(sqlite_records: Records, anchored: Path) -> None:
    anchored.write_bytes(anchored.read_bytes()[:-20])
    note(sqlite_records)
    with pytest.raises(RecordsError, match=r"The last line of .* is not whole\."):
        anchor_to_file(anchored, newest(sqlite_records), sqlite_records.database.home.public)


def test_a_place_that_cannot_be_written_or_read_is_one_sentence(sqlite_records: Records, tmp_path: Path) -> None:
    public = sqlite_records.database.home.public
    with pytest.raises(RecordsError, match=r"The anchor .* cannot be written: No such file or directory"):
        anchor_to_file(tmp_path / "missing" / "anchor", newest(sqlite_records), public)
    with pytest.raises(RecordsError, match=r"The anchor .* cannot be read: No such file or directory"):
        list(read_anchor(tmp_path / "missing", public))


def test_a_command_gets_the_line(sqlite_records: Records, tmp_path: Path) -> None:
    checkpoint, out = newest(sqlite_records), tmp_path / "out"
    script = f"import sys, pathlib; pathlib.Path({str(out)!r}).write_bytes(sys.stdin.buffer.read())"
    anchor_to_command([sys.executable, "-c", script], checkpoint)
    assert list(read_anchor(out, sqlite_records.database.home.public)) == [checkpoint]


def test_a_command_that_fails_has_anchored_nothing(sqlite_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = newest(sqlite_records)
    with pytest.raises(RecordsError, match="ended with status 3: no paper"):
        anchor_to_command([sys.executable, "-c", "import sys; sys.stderr.write('no paper'); sys.exit(3)"], checkpoint)
    with pytest.raises(RecordsError, match="cannot be started: No such file"):
        anchor_to_command(["no-such-program-here"], checkpoint)
    monkeypatch.setattr("tsugiki.records.anchor.COMMAND_SECONDS", 0.2)
    with pytest.raises(RecordsError, match=r"took longer than 0\.2 s and was ended"):
        anchor_to_command([sys.executable, "-c", "import time; time.sleep(30)"], checkpoint)

"""Kills and failing writes at every write call: the harness of benchmarks/registry_crashes.py, and that it can see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks import faults
from benchmarks.registry_crashes import VERBS, crash
from tsugiki.records.open import open_registry

BY_NAME = {verb.name: verb for verb in VERBS}


@pytest.mark.parametrize("name", ["move two aliases", "record a rollback"])
def test_killed_at_every_write_nothing_is_half_done(name: str, tmp_path: Path) -> None:
    found = crash(BY_NAME[name], tmp_path, ["kill"])
    assert found["broken"] == []
    assert found["struck"] == found["calls"] >= 6


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_is_whole_or_not_done(verb, tmp_path: Path) -> None:
    found = crash(verb, tmp_path)
    assert found["broken"] == []
    assert found["struck"] == 3 * found["calls"]


def test_a_full_disk_and_a_failing_write_are_one_sentence(tmp_path: Path) -> None:
    verb = BY_NAME["leave a rollback"]
    verb.prepare(tmp_path)
    calls = faults.run(lambda: verb.run(tmp_path)).calls
    number = next(place for place, call in enumerate(calls, start=1) if call.startswith("write "))
    for kind, words in (("ENOSPC", "No space left on device"), ("EIO", "Input/output error")):
        outcome = faults.run(lambda: verb.run(tmp_path), number, kind)
        assert outcome.ended == "refused"
        assert words in outcome.said and "\n" not in outcome.said
    killed = faults.run(lambda: verb.run(tmp_path), number, "kill")
    assert killed.ended == "killed"
    assert list((tmp_path / "registry" / "pending").glob(".*.partial")), "half of the file is left, under another name"


def test_the_harness_sees_a_change_without_its_event(tmp_path: Path) -> None:
    """A verb that commits twice: killed in between, somebody is there whom no event added."""

    def careless(folder: Path) -> None:
        database = open_registry(folder / "registry").database
        with database.transaction() as connection:
            connection.execute(text("INSERT INTO people VALUES ('x', 'admin', 1, 'now')"))
        with database.transaction() as connection:
            connection.execute(text("DELETE FROM people"))
        database.engine.dispose()

    found = crash(replace(BY_NAME["move two aliases"], run=careless, holds=lambda *_: ()), tmp_path, ["kill"])
    assert any("no event added x" in problem for problem in found["broken"])

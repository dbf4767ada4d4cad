"""Kills, full disks and failing writes at every write call of every verb of a registry: nothing is ever half done.

`python -m benchmarks.registry_crashes` runs each verb of `VERBS` once to count its write calls, then again and again on
fresh copies of the same registry, struck at one call each time (benchmarks/faults.py). Afterwards the registry must
open, its ledger must be true, and the verb must succeed when it is run again. Writes
benchmarks/results/registry_crashes.json and exits 1 when anything was broken. A new verb is one more entry of `VERBS`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import faults
from benchmarks.evidence_verbs import EVIDENCE_VERBS
from benchmarks.faults import KINDS, Kind, Outcome
from benchmarks.ledger import Somebody, add_versions
from benchmarks.lifecycle_verbs import LIFECYCLE_VERBS
from tsugiki.files import write_json
from tsugiki.fingerprint import machine
from tsugiki.records import pending
from tsugiki.records.aliases import move, move_alias
from tsugiki.records.anchor import anchor_to_file, read_anchor
from tsugiki.records.checkpoints import newest_checkpoint
from tsugiki.records.ledger import head
from tsugiki.records.open import SETTINGS, Records, create_records, open_registry
from tsugiki.records.verify import verify

RESULT = Path(__file__).resolve().parent / "results" / "registry_crashes.json"
OPERATOR = Somebody("田中")


@dataclass(frozen=True)
class Verb:
    """A change of a registry. Every function gets the folder that holds `registry/` and is free to put more into it.

    `prepare` makes what `run` starts from, `run` is struck, and `holds` names what is wrong afterwards beyond the
    ledger: after a strike (False) and after the verb was then run again (True).
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    holds: Callable[[Path, bool], Iterable[str]] = lambda _folder, _again: ()
    repair: Callable[[Path], None] = lambda _folder: None  # what the error tells a person to do by hand


def _small(folder: Path) -> None:
    """A registry with two versions, one of them in production."""
    records = create_records(folder / "registry", admin="admin")
    first, _ = add_versions(records, "qa", 2)
    with records.database.writing() as connection:
        move_alias(connection, OPERATOR, "qa", "production", first)
    records.database.engine.dispose()


def _waiting(folder: Path) -> None:
    """The same, with a rollback that waits."""
    _small(folder)
    _leave(folder)


def _nothing(folder: Path) -> None:
    folder.mkdir(exist_ok=True)


def _create(folder: Path) -> None:
    if not (folder / "registry" / SETTINGS).exists():
        create_records(folder / "registry", admin="admin").database.engine.dispose()


def _move(folder: Path) -> None:
    with _opened(folder) as records, records.database.writing() as connection:
        move_alias(connection, OPERATOR, "qa", "production", 3)
        move_alias(connection, OPERATOR, "qa", "pilot", 3)


def _leave(folder: Path) -> None:
    with _opened(folder) as records, records.database.reading() as connection:
        event, rows = move(connection, OPERATOR, "qa", "production", None, reason="it answers wrongly")
        pending.leave(records.database.home, records.database.key, event, rows, seen=head(connection).seq)


def _record(folder: Path) -> None:
    with _opened(folder) as records, records.database.writing():
        pass


def _anchor(folder: Path) -> None:
    with _opened(folder) as records:
        with records.database.reading() as connection:
            newest = newest_checkpoint(connection)
        assert newest is not None
        anchor_to_file(folder / "anchor.jsonl", newest, records.database.home.public)


def _together(folder: Path, again: bool) -> Iterable[str]:
    """Both moves of `_move` or neither."""
    with _opened(folder) as records, records.database.reading() as connection:
        events = head(connection).seq - 4
    if events % 2 or (again and not events):
        yield f"{events} events of two that belong together"


def _recorded_once(folder: Path, again: bool) -> Iterable[str]:
    with _opened(folder) as records, records.database.reading() as connection:
        events, left = head(connection).seq - 4, len(pending.waiting(records.database.home))
    if events > 1 or not events + left or (again and (events, left) != (1, 0)):
        yield f"the rollback was recorded {events} times, and {left} wait"


def _anchored(folder: Path, again: bool) -> Iterable[str]:
    path = folder / "anchor.jsonl"
    if path.exists() and path.read_bytes().endswith(b"\n"):
        with _opened(folder) as records:
            lines = len(list(read_anchor(path, records.database.home.public)))
        if lines != 1:
            yield f"{lines} lines in the anchor"
    elif again:
        yield "nothing is anchored"


def _repair_anchor(folder: Path) -> None:
    """A line that was cut off is removed by hand, as the error says that it must be looked at."""
    path = folder / "anchor.jsonl"
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        path.unlink()


VERBS = [
    Verb("create", _nothing, _create),
    Verb("move two aliases", _small, _move, _together),
    Verb("leave a rollback", _small, _leave),
    Verb("record a rollback", _waiting, _record, _recorded_once),
    Verb("anchor", _small, _anchor, _anchored, _repair_anchor),
    *(Verb(*one) for one in (*LIFECYCLE_VERBS, *EVIDENCE_VERBS)),
]


class _opened:  # noqa: N801 - used like a function
    """An open registry that is closed again, so that a forked child inherits nothing."""

    def __init__(self, folder: Path) -> None:
        self._records = open_registry(folder / "registry")

    def __enter__(self) -> Records:
        return self._records

    def __exit__(self, *_reason: object) -> None:
        self._records.database.engine.dispose()


def strike(verb: Verb, template: Path, folder: Path, at: int, kind: Kind) -> tuple[Outcome, list[str]]:
    """One strike on a fresh copy of `template` in `folder`; what was broken by it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    outcome = faults.run(lambda: verb.run(folder), at, kind)
    broken = [f"{outcome.ended}: {outcome.said}"] if outcome.ended in ("raised", "hanging") else []
    if outcome.ended == "refused" and "\n" in outcome.said:
        broken.append(f"more than one sentence: {outcome.said}")
    broken += [*_untrue(folder), *verb.holds(folder, False)] if (folder / "registry").exists() else []
    verb.repair(folder)
    again = faults.run(lambda: verb.run(folder))
    if again.ended != "done":
        broken.append(f"run again it {again.ended}: {again.said}")
    elif not broken:
        broken += [*_untrue(folder), *verb.holds(folder, True)]
    return outcome, broken


def _untrue(folder: Path) -> Iterable[str]:
    with _opened(folder) as records, records.database.reading() as connection:
        report = verify(connection, records.database.home.public, registry=records.settings.id)
    if report.bad is not None:
        yield str(report.bad)


def crash(verb: Verb, folder: Path, kinds: Iterable[Kind] = KINDS) -> dict[str, Any]:
    """Strike at every write call of `verb`, with every kind."""
    template = folder / "template"
    template.mkdir()
    verb.prepare(template)
    shutil.copytree(template, folder / "counted")
    counted = faults.run(lambda: verb.run(folder / "counted"))
    assert counted.ended == "done", counted.said
    found: dict[str, Any] = {"calls": len(counted.calls), "struck": 0, "refused": 0, "broken": []}
    for kind in kinds:
        for at in range(1, len(counted.calls) + 1):
            outcome, broken = strike(verb, template, folder / "struck", at, kind)
            found["struck"] += 1
            found["refused"] += outcome.ended == "refused"
            found["broken"] += [f"{kind} at {at} ({counted.calls[at - 1]}): {problem}" for problem in broken]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Strike every verb of a registry at every write call.")
    parser.add_argument("--verbs", nargs="*", default=[verb.name for verb in VERBS])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    for verb in VERBS:
        if verb.name in arguments.verbs:
            with tempfile.TemporaryDirectory() as folder:
                result[verb.name] = crash(verb, Path(folder), arguments.kinds)
            print(verb.name, json.dumps(result[verb.name], ensure_ascii=False), flush=True)
    struck = sum(found["struck"] for found in result.values())
    broken = sum(len(found["broken"]) for found in result.values())
    write_json(arguments.out, {"verbs": result, "struck": struck, "broken": broken, "machine": machine()})
    print(f"{struck} strikes, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

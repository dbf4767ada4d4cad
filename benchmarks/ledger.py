"""How fast the ledger is: sixteen writers at once, and every question to a ledger with a million events.

`python -m benchmarks.ledger` writes benchmarks/results/ledger.json and exits 1 when an aim is missed: no event lost,
300 events a second on SQLite with synchronous=FULL, history and time travel below 50 ms, 50,000 verified events a
second in memory that does not grow with the ledger. `--writers-events 800 --events 20000` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

from tsugiki.files import write_json
from tsugiki.fingerprint import canonical_json, digest_bytes, machine
from tsugiki.records import ledger
from tsugiki.records.aliases import alias_at, move_alias
from tsugiki.records.canonical import canonical_bytes
from tsugiki.records.checkpoints import fast_body, link, newest_checkpoint
from tsugiki.records.keys import PUBLIC, load_public
from tsugiki.records.ledger import NewEvent, append, events_since, head, history
from tsugiki.records.open import Founder, Records, create_records, open_registry
from tsugiki.records.times import utc
from tsugiki.records.verify import verify

RESULT = Path(__file__).resolve().parent / "results" / "ledger.json"
FORK = multiprocessing.get_context("fork")
MODELS, ALIASES = 500, ("production", "pilot")
BLOCK = 10_000  # rows that are written at a time
BUSIEST = "model-0"  # gets every second event
AIMS = {"events_per_second": 300, "milliseconds": 50, "verified_per_second": 50_000, "memory_growth_mb": 20}


@dataclass(frozen=True)
class Somebody:
    """Who moves aliases here."""

    name: str
    role: str = "operator"
    auth: str = "token:0123456789abcdef"


def add_versions(records: Records, model: str, count: int) -> list[int]:
    """Versions without files; returns their seqs."""
    found = []
    for number in range(1, count + 1):
        body = canonical_json({"format": 1, "name": model, "number": number})
        digest = digest_bytes(body)
        row = {
            "model": model, "number": number, "digest": digest, "creator": "x", "created_at": utc("2026-01-01T00:00Z"),
            "body": body, "signature": records.database.key.sign(digest.encode()),
        }  # fmt: skip
        with records.database.writing() as connection:
            event = NewEvent(Founder("x"), "version.added", f"{model}@{number}")
            found.append(append(connection, event, {"versions": [row]}).seq)
    return found


def many_writers(folder: Path, writers: int, events: int, database: str) -> dict[str, Any]:
    """Every writer moves the same alias, a transaction for each event, all at the same time."""
    records = create_records(folder, admin="x", database=database)
    versions = add_versions(records, "model-0", 2)
    with records.database.reading() as connection:
        before = head(connection).seq
    records.database.engine.dispose()
    gate = FORK.Barrier(writers + 1)
    children = []
    for number in range(writers):
        told, telling = FORK.Pipe(duplex=False)
        share = events // writers + (number < events % writers)
        child = FORK.Process(target=_write, args=(folder, f"writer-{number}", share, versions, gate, telling))
        child.start()
        children.append((child, told))
    gate.wait()
    started = time.perf_counter()
    latencies: list[list[float]] = [told.recv() for _, told in children]
    seconds = time.perf_counter() - started
    for child, _ in children:
        child.join()
    with records.database.reading() as connection:
        names = [event.actor["name"] for event in events_since(connection, before)]
        report = verify(connection, records.database.home.public)
    records.database.engine.dispose()
    everything = sorted(value for several in latencies for value in several)
    first_done = [names[: _last_of_first(names, writers, events)].count(f"writer-{n}") for n in range(writers)]
    return {
        "writers": writers,
        "events": len(names),
        "lost": events - len(names),
        "failed": sum(child.exitcode != 0 for child, _ in children),
        "true": report.bad is None,
        "seconds": round(seconds, 2),
        "events_per_second": round(len(names) / seconds),
        "wait_ms": {
            "median": round(1000 * statistics.median(everything), 1),
            "99 %": round(1000 * everything[int(0.99 * len(everything))], 1),
            "longest": round(1000 * everything[-1], 1),
        },
        "share_when_the_first_was_done": {"least": min(first_done), "most": max(first_done)},
    }


def _last_of_first(names: list[str], writers: int, events: int) -> int:
    """How many events there were when the first writer had written all of its own."""
    left = {f"writer-{n}": events // writers + (n < events % writers) for n in range(writers)}
    for place, name in enumerate(names):
        left[name] -= 1
        if not left[name]:
            return place + 1
    return len(names)


def _write(folder: Path, name: str, count: int, versions: list[int], gate: Any, telling: Connection) -> None:
    database = open_registry(folder).database
    gate.wait()
    latencies = []
    for number in range(count):
        started = time.perf_counter()
        with database.writing() as connection:
            move_alias(connection, Somebody(name), "model-0", "production", versions[number % 2])
        latencies.append(time.perf_counter() - started)
    database.engine.dispose()
    telling.send(latencies)


def grow(folder: Path, events: int) -> Records:
    """A ledger as if each event had been a transaction of its own, written in blocks."""
    records = create_records(folder, admin="x")
    versions = {BUSIEST: add_versions(records, BUSIEST, 3)}
    versions |= {f"model-{number}": add_versions(records, f"model-{number}", 1) for number in range(1, 6)}
    with records.database.reading() as connection:
        start, signed = head(connection), newest_checkpoint(connection)
    records.database.engine.dispose()
    assert signed is not None
    dice, key, registry = random.Random(0), records.database.key, records.settings.id
    seq, previous, before = start.seq, start.hash, signed.digest
    moment = datetime.fromisoformat(start.at)
    with closing(sqlite3.connect(folder / "registry.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        while seq < start.seq + events:
            rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
            for _ in range(min(BLOCK, start.seq + events - seq)):
                seq, moment = seq + 1, moment + timedelta(seconds=dice.randrange(60))
                model = BUSIEST if seq % 2 else f"model-{dice.randrange(MODELS)}"
                alias, at = dice.choice(ALIASES), utc(moment)
                version = dice.choice(versions[model]) if model in versions else None
                after = {"version": f"{model}@1", "digest": previous} if version else None
                row = {"model": model, "alias": alias, "version": version, "at": at}
                body = canonical_bytes({
                    "seq": seq, "previous": previous, "at": at, "kind": "alias.moved", "object": f"{model}@{alias}",
                    "actor": {"name": "田中", "role": "operator", "auth": "token:0123456789abcdef"}, "before": None,
                    "after": after, "reason": "昇格 after review", "request": None, "tool": ledger.tool(),
                    "rows": {"alias_moves": [row]},
                })  # fmt: skip
                previous = digest_bytes(body)
                checkpoint = fast_body(registry, seq, previous, at, key.public.digest, before)
                signature = key.sign(checkpoint)
                before = link(checkpoint, signature)
                rows[0].append((seq, previous, at, "田中", "alias.moved", f"{model}@{alias}", body))
                rows[1].append((seq, checkpoint, signature))
                rows[2].append((seq, model, alias, version, at))
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows[0])
            connection.executemany("INSERT INTO checkpoints VALUES (?, ?, ?)", rows[1])
            connection.executemany("INSERT INTO alias_moves VALUES (?, ?, ?, ?, ?)", rows[2])
            connection.execute("COMMIT")
    return records


def questions(records: Records, times: int = 100) -> dict[str, dict[str, float]]:
    """Milliseconds for each question, at random times and models, each in a connection of its own."""
    dice = random.Random(1)
    with records.database.reading() as connection:
        last = datetime.fromisoformat(head(connection).at)
        first = datetime.fromisoformat(next(events_since(connection)).at)

    def moment() -> str:
        return utc(first.astimezone(UTC) + (last - first) * dice.random())

    def rare() -> str:
        return f"model-{dice.randrange(1, MODELS)}"

    asked: dict[str, Callable[[Any], Any]] = {
        "alias now": lambda connection: alias_at(connection, BUSIEST, "production"),
        "alias at a time": lambda connection: alias_at(connection, BUSIEST, "production", moment()),
        "rare alias at a time": lambda connection: alias_at(connection, rare(), "pilot", moment()),
        "history of an alias": lambda connection: history(connection, model=BUSIEST, alias="production"),
        "history of a model": lambda connection: history(connection, model=BUSIEST),
        "history of a rare model": lambda connection: history(connection, model=rare()),
        "history until a time": lambda connection: history(connection, until=moment()),
        "history of a model until a time": lambda connection: history(connection, model=BUSIEST, until=moment()),
        "history of everything": history,
    }
    found: dict[str, dict[str, float]] = {}
    for name, ask in asked.items():
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            with records.database.reading() as connection:
                ask(connection)
            taken.append(1000 * (time.perf_counter() - started))
        found[name] = {"median": round(statistics.median(taken), 2), "longest": round(max(taken), 2)}
    records.database.engine.dispose()
    return found


def verified(folder: Path) -> dict[str, Any]:
    """In a process of its own, whose peak memory is the verification's."""
    command = [sys.executable, "-m", "benchmarks.ledger", "--verify", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _verify(folder: Path) -> None:
    started = time.perf_counter()
    report = verify(folder / "registry.db", load_public(folder / "keys" / PUBLIC))
    seconds = time.perf_counter() - started
    peak = max(getrusage(who).ru_maxrss for who in (RUSAGE_SELF, RUSAGE_CHILDREN)) / 1024  # of the largest process
    found = {"events": report.events, "true": report.bad is None, "seconds": round(seconds, 2)}
    print(json.dumps({**found, "events_per_second": round(report.events / seconds), "peak_mb": round(peak, 1)}))


def missed(result: dict[str, Any]) -> list[str]:
    writers, small, large = result["writers"], result["verify"]["tenth"], result["verify"]["whole"]
    longest = max(value["longest"] for value in result["questions_ms"].values())
    checks = {
        "events were lost": not writers["lost"] and not writers["failed"] and writers["true"],
        "too few events a second": writers["events_per_second"] >= AIMS["events_per_second"],
        "a question took too long": longest < AIMS["milliseconds"],
        "the ledger is not true": small["true"] and large["true"],
        "verification is too slow": large["events_per_second"] >= AIMS["verified_per_second"],
        "verification takes more memory": large["peak_mb"] - small["peak_mb"] < AIMS["memory_growth_mb"],
    }
    return [name for name, kept in checks.items() if not kept]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the ledger of a registry.")
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--writers-events", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", default="sqlite:///registry.db", help="for the writers; an empty one")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--folder", type=Path, help="make the registries here and keep them")
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.verify:
        _verify(arguments.verify)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        result: dict[str, Any] = {
            "writers": many_writers(folder / "writers", arguments.writers, arguments.writers_events, arguments.database)
        }
        print(json.dumps(result["writers"]), flush=True)
        grow(folder / "tenth", arguments.events // 10)
        records = grow(folder / "whole", arguments.events)
        result["questions_ms"] = questions(records)
        print(json.dumps(result["questions_ms"]), flush=True)
        result["verify"] = {"tenth": verified(folder / "tenth"), "whole": verified(folder / "whole")}
        print(json.dumps(result["verify"]), flush=True)
    result |= {"aims": AIMS, "missed": missed(result), "machine": machine()}
    write_json(arguments.out, result)
    print("missed: " + ", ".join(result["missed"]) if result["missed"] else "every aim is reached")
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""`tsugiki registry list` with 10,000 versions: seconds of the whole command, interpreter start included.

Run: python benchmarks/registry_list.py [--versions 10000] [--runs 7] [--out benchmarks/results/registry_list.json]
Fills a SQLite registry with that many versions of a hundred models (through the ledger, in one transaction each
thousand), then starts the command anew for every run, for all versions, for one model, and for `show`. The best and the
median run are kept, and the least processor time, which says what the code takes, whatever else the machine does. The
same for loading nothing but the libraries that the command needs: below that it cannot come.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.records.adapters import DIGEST  # noqa: E402
from tests.records.test_versions import manifest_of  # noqa: E402
from tsugiki.fingerprint import machine  # noqa: E402
from tsugiki.records.ledger import NewEvent, append  # noqa: E402
from tsugiki.records.open import Founder, Records, create_records  # noqa: E402
from tsugiki.records.packs import record_blobs  # noqa: E402
from tsugiki.records.store import Blob  # noqa: E402
from tsugiki.records.versions import rows_of  # noqa: E402

MODELS = 100
LIMIT_SECONDS = 0.6
LIBRARIES = "import cryptography.hazmat.primitives.asymmetric.ed25519, pydantic, sqlalchemy, typer"


def fill(records: Records, count: int) -> None:
    person = Founder("花子")
    with records.database.writing() as connection:
        record_blobs(connection, [Blob(DIGEST.format(7), 12)])
    for start in range(0, count, 1000):
        with records.database.writing() as connection:
            for index in range(start, min(count, start + 1000)):
                manifest = manifest_of(f"model-{index % MODELS:03d}", index // MODELS + 1)
                signature = records.database.key.sign(manifest.digest.encode("ascii"))
                event = NewEvent(person, "version.registered", manifest.label)
                seq = append(connection, event, rows_of(manifest, signature)).seq
                if index % MODELS < 30:
                    move = {"model": manifest.name, "alias": "production", "version": seq}
                    append(connection, NewEvent(person, "alias.moved", manifest.name), {"alias_moves": [move]})


def timed(runs: int, *command: str) -> dict[str, Any]:
    """Whole processes, with compiled modules in a folder of their own as an installed package has them."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds, processor, lines = [], [], 0
        for _ in range(runs + 1):  # the first compiles
            start, before = time.perf_counter(), os.times()
            said = subprocess.run(
                [sys.executable, *command], env=environment, stdout=subprocess.PIPE, check=True
            ).stdout
            seconds.append(time.perf_counter() - start)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            processor.append(used)
            lines = said.count(b"\n")
    kept = sorted(seconds[1:])
    return {
        "best_seconds": kept[0],
        "median_seconds": statistics.median(kept),
        "processor_seconds": min(processor[1:]),
        "lines": lines,
        "runs": runs,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "registry_list.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "registry"
        records = create_records(place, admin="花子")
        fill(records, arguments.versions)
        records.database.engine.dispose()
        where, registry = ("--registry", str(place)), ("-m", "tsugiki", "registry")
        found = {
            "versions": arguments.versions,
            "limit_seconds": LIMIT_SECONDS,
            "list": timed(arguments.runs, *registry, "list", *where),
            "list_json": timed(arguments.runs, *registry, "list", "--json", *where),
            "list_of_one_model": timed(arguments.runs, *registry, "list", "--model", "model-050", *where),
            "show": timed(arguments.runs, *registry, "show", "model-050@1", *where),
            "libraries": timed(arguments.runs, "-c", LIBRARIES),
            "load_average": os.getloadavg()[0],
            "machine": machine(),
        }
    arguments.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in ("list", "list_json", "list_of_one_model", "show", "libraries"):
        one = found[name]
        times = f"{one['best_seconds']:.3f} s best, {one['median_seconds']:.3f} s median"
        print(f"{name:18} {times}, {one['processor_seconds']:.3f} s of processor, {one['lines']} lines")
    return 0 if found["list"]["best_seconds"] <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())

"""Fifty random kills during `tsugiki poc`: what had finished stays, and the study ends as an undisturbed one does.

`python -m benchmarks.kill_study` builds a tiny random model and a small data file, runs one study undisturbed, then
starts the same study again and again and kills it at random moments: the command alone, or the command and its trial
together. Writes benchmarks/results/kills.json and exits 1 when anything was lost.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import build_tiny
from tsugiki.files import write_json
from tsugiki.fingerprint import digest_file, machine
from tsugiki.work.spec import FINISHED

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "kills.json"
PARTS = {"pump": "P", "valve": "V", "bearing": "B", "motor": "M", "sensor": "S", "relay": "R"}
OPTIONS = (
    *("--budget", "600", "--seeds", "1", "--tries", "2", "--curve-sizes", "1"),
    *("--checkpoint-every", "10", "--precision", "float32"),
)


@dataclass
class Tally:
    """What the kills did. `lost` names every finished result that was gone or changed after a kill; none may be."""

    kills: int = 0
    with_trial: int = 0
    studies: int = 0
    lost: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    different: list[str] = field(default_factory=list)


def kill_studies(folder: Path, kills: int, seed: int, on_study: Callable[[Tally], None]) -> Tally:
    """Kill studies until `kills` is reached; each is then run to its end and compared with the undisturbed one.

    `on_study` hears of every study that has ended.
    """
    command = _prepare(folder)
    whole = folder / "undisturbed"
    started = time.monotonic()
    subprocess.run([*command, "--out", whole], cwd=ROOT, check=False, capture_output=True)
    seconds = time.monotonic() - started
    expected = _decided(whole)
    print(f"undisturbed: {seconds:.0f} s, {len(_finished(whole))} trials", flush=True)
    tally, dice = Tally(), random.Random(seed)
    while tally.kills < kills:
        study = folder / f"killed-{tally.studies}"
        while tally.kills < kills:
            if _run_and_kill([*command, "--out", str(study)], study, dice.uniform(1, seconds / 3), dice, tally):
                break  # it ended before the kill
        subprocess.run([*command, "--out", study], cwd=ROOT, check=False, capture_output=True)
        tally.studies += 1
        found = _decided(study)
        tally.different += [f"{study.name}: {name}" for name in expected if found.get(name) != expected[name]]
        on_study(tally)
    return tally


def _prepare(folder: Path) -> list[str]:
    """The model, the data and the intake of all studies; returns the command without its output folder."""
    build_tiny("tiny_llama", folder / "tiny")
    dice = random.Random(0)
    with (folder / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "completion"))
        for number in range(90):
            part = dice.choice(sorted(PARTS))
            writer.writerow((f"Report {number}: {part} {dice.randrange(10**6)} failed\nClass: ", PARTS[part]))
    criteria = {"success": 0.6, "withdraw": 0.2}
    intake = {"purpose": "kill test", "owner": "a", "reviewer": "b", "language": "en", "criteria": criteria}
    (folder / "intake.yaml").write_text(yaml.safe_dump(intake), encoding="utf-8")
    files = [str(folder / "data.csv"), "--base", str(folder / "tiny"), "--intake", str(folder / "intake.yaml")]
    return [sys.executable, "-m", "tsugiki", "poc", *files, *OPTIONS]


def _run_and_kill(command: list[str], study: Path, after: float, dice: random.Random, tally: Tally) -> bool:
    """Start the study, kill it `after` seconds; True when it had ended by then."""
    before = _finished(study)
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        before |= {name: digest for name, digest in _finished(study).items() if name not in before}
        trials = list(_descendants(process.pid)) if dice.random() < 0.5 else []
        os.killpg(process.pid, signal.SIGKILL)
        for trial in trials:
            _kill(trial)
        process.wait()
        tally.kills += 1
        tally.with_trial += bool(trials)
        tally.moments.append(round(after, 2))
    now = _finished(study)
    tally.lost += [f"{study.name}/{name}" for name, digest in before.items() if now.get(name) != digest]
    return process.returncode != -signal.SIGKILL


def _finished(study: Path) -> dict[str, str]:
    """Digest by name of every result that counts as finished. A file that is not whole raises: that is a finding."""
    paths = sorted((study / "trials").glob("*.json"))
    return {path.name: digest_file(path) for path in paths if json.loads(path.read_text())["status"] in FINISHED}


def _decided(study: Path) -> dict[str, Any]:
    """What must not depend on interruptions: everything of the scorecard but times, sizes in memory and the machine."""
    card = json.loads((study / "scorecard.json").read_text(encoding="utf-8"))
    found = {name: card[name] for name in ("schema", "language", "task", "reference", "data")}
    found["verdict"] = card["verdict"]["value"]
    kept = ("plan", "quality", "against_full", "trainable_share", "adapter_bytes", "retention", "seeds", "trials")
    for method in card["methods"]:
        found |= {f"{method['name']}.{name}": method[name] for name in kept}
    found["curve"] = [(point["n"], point["quality"]) for point in (card["learning_curve"] or {"points": []})["points"]]
    return found


def _descendants(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from _descendants(child)


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had ended by itself


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a study at random moments and see what is lost.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)

    def note(tally: Tally) -> None:
        write_json(arguments.out, {**vars(tally), "seed": arguments.seed, "machine": machine()})
        print(f"study {tally.studies}: {tally.kills} kills so far, lost {tally.lost}, different {tally.different}")

    tally = kill_studies(folder, arguments.kills, arguments.seed, note)
    if arguments.keep is None:
        shutil.rmtree(folder)
    print(f"{tally.kills} kills in {tally.studies} studies: {len(tally.lost)} lost, {len(tally.different)} different")
    return 1 if tally.lost or tally.different else 0


if __name__ == "__main__":
    sys.exit(main())

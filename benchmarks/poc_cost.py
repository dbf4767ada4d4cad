"""A whole PoC against five full fine-tunings with TRL: `python -m benchmarks.poc_cost`.

TRL fine-tunes all weights of the same base on the rows that the study would train on, as a user gets it, for a few
steps; a whole training is as many of these steps as the study's own full fine-tuning takes. Then `tsugiki poc` is given
the same file, and the minutes of five such trainings as its budget. What its schedule has to cut, and the minutes that
each cut saves, say what the uncut design (four methods, three seeds, learning curve, search of rates and rank) would
take. Without --to-the-end the study is stopped when its schedule stands. Writes benchmarks/results/poc_cost.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.speed import Setting, make_job, run_side
from benchmarks.tasks import write_task
from tsugiki.config import Design, Recipe
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.work.design import steps_for

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "poc_cost.json"
FOLDER = ROOT / ".data" / "poc-cost"
TRAININGS = 5
UNDECIDABLE = 3  # the status of the command for it, which is an answer
INTAKE = {
    "purpose": "Name the component library of an electronic part from its description.",
    "owner": "parts data team",
    "reviewer": "engineering lead",
    "language": "en",
    "criteria": {"success": 0.65, "withdraw": 0.3},
}


def seconds_of_a_step(task: str, rows: int, steps: int, precision: str) -> dict[str, float]:
    """Of TRL, all weights trained: as it comes, which computes activations again, and keeping them."""
    found = {}
    for name, checkpointing in (("as it comes", True), ("activations kept", False)):
        job = make_job(Setting(precision, task, rows, checkpointing))
        job = replace(job, steps=steps, rank=0, learning_rate=2e-5)
        found[name] = run_side("peer_trl", job).seconds / steps
        print(f"TRL, full fine-tuning, {name}: {found[name]:.2f} s a step", flush=True)
    return found


def run_poc(data: Path, out: Path, budget_minutes: float, *, precision: str, to_the_end: bool) -> dict[str, Any]:
    """A study from its start: what it plans and cuts, and with `to_the_end` what it took and decided."""
    shutil.rmtree(out, ignore_errors=True)
    intake = out.with_suffix(".yaml")
    intake.write_text(yaml.safe_dump(INTAKE), encoding="utf-8")
    command = [sys.executable, "-m", "tsugiki", "poc", data, "--base", "smollm2-135m", "--out", out]
    options = ["--intake", intake, "--precision", precision, "--budget", f"{budget_minutes:.2f}"]
    log = out.with_suffix(".log")
    with log.open("w", encoding="utf-8") as said:
        study = subprocess.Popen([*command, *options], cwd=ROOT, stdout=said, stderr=said)
        while study.poll() is None:
            if not to_the_end and (out / "schedule.json").is_file():
                study.terminate()
                study.wait()
                break
            time.sleep(1)
    if not (out / "schedule.json").is_file() or (to_the_end and study.returncode not in (0, UNDECIDABLE)):
        raise RuntimeError(f"tsugiki poc ended with status {study.returncode}; see {log}")
    schedule = json.loads((out / "schedule.json").read_text(encoding="utf-8"))
    before = schedule["allowed_minutes"] - schedule["budget_minutes"]  # reference and calibration
    planned = {
        "budget_minutes": budget_minutes,
        "planned_minutes": before + schedule["minutes"],
        "uncut_minutes": before + schedule["minutes"] + sum(cut["minutes"] for cut in schedule["cuts"]),
        "cuts": [{name: cut[name] for name in ("what", "before", "after", "minutes")} for cut in schedule["cuts"]],
        "steps": schedule["steps"],
        "curve_sizes": schedule["curve_sizes"],
    }
    if not to_the_end:
        return planned
    card = json.loads((out / "scorecard.json").read_text(encoding="utf-8"))
    seeds = {one["name"]: len(one["seeds"]) for one in card["methods"]}
    used = card["study"]["budget"]["used_minutes"]
    return {**planned, "used_minutes": used, "seeds": seeds, "verdict": card["verdict"]["value"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole PoC against five full fine-tunings with TRL.")
    parser.add_argument("--task", default="E1")
    parser.add_argument("--rows", type=int, default=300, help="of the file that the study is given")
    parser.add_argument("--timed-steps", type=int, default=12, help="of TRL")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of both sides")
    parser.add_argument("--to-the-end", action="store_true", help="run the study, not only its plan")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    data = FOLDER / f"{arguments.task}-{arguments.rows}.csv"
    data.parent.mkdir(parents=True, exist_ok=True)
    write_task(arguments.task, data, arguments.rows)
    design = Design()
    train_rows = round(arguments.rows * (1 - design.test_share - design.dev_share))
    steps = steps_for(train_rows, Recipe().batch_size)
    of_a_step = seconds_of_a_step(arguments.task, train_rows, arguments.timed_steps, arguments.precision)
    training = {name: steps * seconds / 60 for name, seconds in of_a_step.items()}
    budget = TRAININGS * training["as it comes"]
    folder = FOLDER / f"{arguments.task}-{arguments.rows}"
    poc = run_poc(data, folder, budget, precision=arguments.precision, to_the_end=arguments.to_the_end)
    ratios = {
        name: {
            what: poc[f"{what}_minutes"] / (TRAININGS * minutes)
            for what in ("planned", "uncut", "used")
            if f"{what}_minutes" in poc
        }
        for name, minutes in training.items()
    }
    print(f"PoC / {TRAININGS} trainings with TRL: {ratios}; cut: {poc['cuts']}")
    of_both = {"task": arguments.task, "rows": arguments.rows, "precision": arguments.precision}
    settings = {**of_both, "steps": steps, "trainings": TRAININGS}
    versions = package_versions(("torch", "transformers", "trl", "peft"))
    found = {"trl_minutes": training, "poc": poc, "poc_over_trainings": ratios}
    write_json(arguments.out, {"settings": settings, **found, "packages": versions, "machine": machine()})


if __name__ == "__main__":
    main()

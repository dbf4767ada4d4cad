"""What a pass costs by its tokens, and how long waiting threads should spin: `python -m benchmarks.passes`.

LoRA on SmolLM2-135M and rows of task E1. For each number of tokens a few optimiser steps of one pass each are timed;
the seconds are then split into a fixed part and a part per token by least squares. The same with each spin count that
is given, in processes that take turns. Writes benchmarks/results/passes.json. The defaults of `micro_tokens` on a CPU
and of GOMP_SPINCOUNT rest on these numbers (docs/decisions.md).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.candidates import task_pairs
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "passes.json"
TOKENS = (32, 64, 128, 192, 256, 384, 512)
STEPS = 4  # timed, behind one that warms up
SPINS = ("0", "1000", "infinity")  # sleep at once · the default here · never sleep


def measure() -> list[dict[str, float]]:
    """Median seconds of a step of one pass for each size, in this process."""
    from tsugiki.config import PlanSpec, Recipe
    from tsugiki.engine.attach import attach
    from tsugiki.engine.base import BaseSpec, load_base
    from tsugiki.engine.batches import Encoded, encode
    from tsugiki.engine.learner import Step
    from tsugiki.engine.plan import make_plan
    from tsugiki.engine.train import train

    base = load_base(BaseSpec("smollm2-135m"))
    every = encode(base.tokenizer, task_pairs(96), max_length=512)
    one_row = Encoded(every.prompts[:1], every.completions[:1])
    found = []
    for tokens in TOKENS:
        rows = max(1, round(tokens * len(every) / every.tokens))
        recipe = Recipe(max_steps=STEPS + 1, batch_size=rows, micro_tokens=16 * tokens, evaluations=1)
        heard: list[tuple[float, int]] = []

        def note(step: Step, heard: list[tuple[float, int]] = heard) -> None:
            heard.append((time.perf_counter(), step.tokens))

        trainable = attach(base, make_plan(base.model, PlanSpec()), seed=0)
        train(trainable, every, one_row, recipe, on_step=note)
        trainable.detach()
        timed = heard[:-1]  # the last step ends with a dev loss
        seconds = [later - earlier for (earlier, _), (later, _) in pairwise(timed)]
        found.append({"tokens": statistics.mean(count for _, count in timed[1:]), "seconds": statistics.mean(seconds)})
    return found


def fixed_and_per_token(passes: list[dict[str, float]]) -> tuple[float, float]:
    slope, fixed = statistics.linear_regression([one["tokens"] for one in passes], [one["seconds"] for one in passes])
    return fixed, slope


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a pass by its tokens, for several spin counts.")
    parser.add_argument("--repetitions", type=int, default=2, help="processes per spin count, in turn")
    parser.add_argument("--spins", nargs="+", default=list(SPINS))
    parser.add_argument("--once", action="store_true", help="one repetition in this process, printed as JSON")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure()))
        return
    runs: dict[str, list[list[dict[str, float]]]] = {spin: [] for spin in arguments.spins}
    command = [sys.executable, "-m", "benchmarks.passes", "--once"]
    for _ in range(arguments.repetitions):
        for spin, passes in runs.items():
            environment = {**os.environ, "GOMP_SPINCOUNT": spin}
            output = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
            passes.append(json.loads(output.stdout.splitlines()[-1]))
            fixed, slope = fixed_and_per_token(passes[-1])
            print(f"spin {spin}: {fixed:.2f} s and {1000 * slope:.1f} ms per token", flush=True)
    summary = {}
    for spin, passes in runs.items():
        fixed, slope = fixed_and_per_token([one for each in passes for one in each])
        summary[spin] = {"fixed_seconds": fixed, "seconds_per_token": slope}
    versions = package_versions(("torch", "transformers"))
    write_json(arguments.out, {"spins": summary, "runs": runs, "packages": versions, "machine": machine()})


if __name__ == "__main__":
    main()

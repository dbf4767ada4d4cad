"""Several candidates on one frozen base, ours against ours: `python -m benchmarks.candidates`.

Eight LoRA candidates (ranks and learning rates mixed) on SmolLM2-135M and rows of task E1: trained one after the other,
then side by side in a bank, then with successive halving; with all blocks trained and with the top third, where the
blocks below are computed once per row. Everything runs in turn in one process per repetition; a ratio is the median
over the repetitions. Writes benchmarks/results/candidates.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.tasks import write_task
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "candidates.json"
BATCH, DEV_ROWS, TOP_THIRD = 8, 16, "last:10"
RANKS, RATES = (4, 8, 16, 32), (5e-4, 2e-3)
KEEP = {1: 4, 2: 2, 4: 1}  # of six evaluations


def measure(rows: int, epochs: int) -> dict[str, float]:
    """Seconds of everything, once, in this process."""
    from tsugiki.config import PlanSpec, Recipe
    from tsugiki.engine.base import BaseSpec, load_base
    from tsugiki.engine.batches import encode

    base = load_base(BaseSpec("smollm2-135m"))
    pairs = task_pairs(rows + DEV_ROWS)
    data = tuple(encode(base.tokenizer, part, max_length=512) for part in (pairs[:rows], pairs[rows:]))
    steps = rows * epochs // BATCH
    recipes = [
        Recipe(learning_rate=rate, max_steps=steps, batch_size=BATCH, patience=100) for _ in RANKS for rate in RATES
    ]
    seconds: dict[str, float] = {}
    for blocks in ("all", TOP_THIRD):
        specs = [PlanSpec(rank=rank, blocks=(blocks,)) for rank in RANKS for _ in RATES]
        seconds |= {f"{blocks}/{name}": took for name, took in _eight(base, specs, recipes, data).items()}
    return seconds


def _silent(_: Any) -> None:
    pass


def _eight(base: Any, specs: Any, recipes: Any, data: Any) -> dict[str, float]:
    from tsugiki.engine.attach import attach
    from tsugiki.engine.bank import attach_bank
    from tsugiki.engine.plan import make_plan
    from tsugiki.engine.train import train, train_bank

    plans = [make_plan(base.model, spec) for spec in specs]
    seconds: dict[str, float] = {}
    losses: dict[str, list[float]] = {}
    began = time.perf_counter()
    alone = []
    for plan, recipe in zip(plans, recipes, strict=True):
        trainable = attach(base, plan, seed=recipe.seed)
        alone.append(train(trainable, *data, recipe, on_step=_silent))
        trainable.detach()
    seconds["solo"] = time.perf_counter() - began
    losses["solo"] = [found.best_dev_loss for found in alone]
    for name, keep in (("bank", {}), ("halving", KEEP)):
        began = time.perf_counter()
        bank = attach_bank(base, plans, seeds=[recipe.seed for recipe in recipes])
        found = train_bank(bank, *data, recipes, on_step=_silent, keep=keep)
        bank.detach()
        seconds[name] = time.perf_counter() - began
        losses[name] = [one.best_dev_loss for one in found]
    widest = max(abs(one - other) for one, other in zip(losses["bank"], losses["solo"], strict=True))
    best = {name: min(range(len(plans)), key=found.__getitem__) for name, found in losses.items()}
    return {**seconds, "widest_gap": widest, "same_winner": float(best["halving"] == best["solo"]),
            "winner_gap": losses["solo"][best["halving"]] - min(losses["solo"])}  # fmt: skip


def _ratios(runs: list[dict[str, float]]) -> dict[str, float]:
    def median(top: str, bottom: str) -> float:
        return statistics.median(run[top] / run[bottom] for run in runs)

    return {
        f"{blocks}: {name} / solo": median(f"{blocks}/{name}", f"{blocks}/solo")
        for blocks in ("all", TOP_THIRD)
        for name in ("bank", "halving")
    }


def task_pairs(rows: int) -> list[tuple[str, str]]:
    task = ROOT / ".data" / "candidates-e1.csv"
    write_task("E1", task, rows)
    with task.open(encoding="utf-8", newline="") as file:
        return [(row["prompt"], row["completion"]) for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Eight candidates in a bank against eight runs alone.")
    parser.add_argument("--rows", type=int, default=96, help="training rows")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=2, help="each in a process of its own")
    parser.add_argument("--once", action="store_true", help="one repetition in this process, printed as JSON")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(arguments.rows, arguments.epochs)))
        return
    own = [sys.executable, "-m", "benchmarks.candidates", "--once"]
    own += ["--rows", str(arguments.rows), "--epochs", str(arguments.epochs)]
    runs = []
    for _ in range(arguments.repetitions):
        runs.append(json.loads(subprocess.run(own, cwd=ROOT, check=True, capture_output=True, text=True).stdout))
        print(json.dumps(runs[-1]), flush=True)
    versions = package_versions(("torch", "transformers"))
    write_json(
        arguments.out,
        {"ratios": _ratios(runs), "runs": runs, "rows": arguments.rows, "epochs": arguments.epochs,
         "packages": versions, "machine": machine()},
    )  # fmt: skip
    for name, ratio in _ratios(runs).items():
        print(f"{name}: {ratio:.2f}")


if __name__ == "__main__":
    main()

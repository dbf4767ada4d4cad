"""One more epoch where the states below the trained blocks are kept: `python -m benchmarks.kept_states`.

LoRA on SmolLM2-135M and rows of task E1, in its top third of blocks, for two and for four epochs, and in all blocks for
one, in turn in one process. What the two more epochs take is the price of an epoch from kept states; what two take less
that price is the first epoch, which computes them. A ratio is the median over the repetitions. Writes
benchmarks/results/kept_states.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from benchmarks.candidates import BATCH, TOP_THIRD, task_pairs
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions

RESULT = Path(__file__).resolve().parent / "results" / "kept_states.json"
EPOCHS = {"all": ("all", 1), "two": (TOP_THIRD, 2), "four": (TOP_THIRD, 4)}


def measure(rows: int, repetitions: int) -> list[dict[str, float]]:
    """Seconds of training, the computing of kept states among them."""
    from tsugiki.config import PlanSpec, Recipe
    from tsugiki.engine.attach import attach
    from tsugiki.engine.base import BaseSpec, load_base
    from tsugiki.engine.batches import encode
    from tsugiki.engine.plan import make_plan
    from tsugiki.engine.train import train

    base = load_base(BaseSpec("smollm2-135m"))
    pairs = task_pairs(rows + 1)
    data = encode(base.tokenizer, pairs[:rows], max_length=512), encode(base.tokenizer, pairs[rows:], max_length=512)
    runs = []
    for _ in range(repetitions):
        seconds: dict[str, float] = {}
        for name, (blocks, epochs) in EPOCHS.items():
            recipe = Recipe(batch_size=BATCH, evaluations=1, max_steps=rows // BATCH * epochs)
            trainable = attach(base, make_plan(base.model, PlanSpec(blocks=(blocks,))), seed=0)
            found = train(trainable, *data, recipe, on_step=_silent)
            trainable.detach()
            assert blocks == "all" or found.cached_blocks, "no states were kept"
            seconds[name] = found.seconds
        runs.append(seconds)
        print(seconds, flush=True)
    return runs


def ratios(runs: list[dict[str, float]]) -> dict[str, float]:
    def more(run: dict[str, float]) -> float:
        return (run["four"] - run["two"]) / 2

    return {
        "one more epoch from kept states / the first, which computes them": statistics.median(
            more(run) / (run["two"] - more(run)) for run in runs
        ),
        "one more epoch from kept states / an epoch with all blocks trained": statistics.median(
            more(run) / run["all"] for run in runs
        ),
    }


def _silent(_: Any) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Epochs from kept states.")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    runs = measure(arguments.rows, arguments.repetitions)
    packages = package_versions(("torch", "transformers"))
    write_json(
        arguments.out,
        {"ratios": ratios(runs), "runs": runs, "rows": arguments.rows, "packages": packages, "machine": machine()},
    )
    for name, ratio in ratios(runs).items():
        print(f"{name}: {ratio:.2f}")


if __name__ == "__main__":
    main()

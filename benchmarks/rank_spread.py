"""Whether ranks laid over the layers by the variance of their inputs learn more: `python -m benchmarks.rank_spread`.

LoRA with the same sum of ranks, even and spread, on the same rows in the same order with the same recipe, for several
seeds and small ranks, where it should matter most. What counts is the loss on held-out rows, in nats per completion
token, and its difference within each pair. Writes benchmarks/results/rank_spread.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from scipy import stats

from benchmarks.tasks import BASES, task_file
from tsugiki.config import Design, PlanSpec, Recipe
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.batches import Encoded
from tsugiki.engine.device import accelerator_name
from tsugiki.engine.loss import mean_loss
from tsugiki.engine.plan import make_plan
from tsugiki.engine.rank_spread import spread_ranks
from tsugiki.engine.train import train
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.work.prepare import DataSpec, divided, read_source, usable_findings
from tsugiki.work.task import render_for, tokens

RESULT = Path(__file__).resolve().parent / "results" / "rank_spread.json"
DESIGN = Design(test_share=0.3, dev_share=0.15)
Parts = tuple[Encoded, Encoded, Encoded]  # train, dev, test


def parts_of(task: str, rows: int, base: Base) -> Parts:
    source = read_source(DataSpec(task_file(task, rows)))
    splits = divided(source, usable_findings(source), DESIGN)
    rendered = render_for(base, "plain")
    train_set, dev_set, test_set = (
        tokens(base, rendered, part, Recipe()) for part in (splits.train, splits.dev, splits.test)
    )
    return train_set, dev_set, test_set


def held_out_loss(base: Base, parts: Parts, rank: int, recipe: Recipe, *, spread: bool) -> float:
    """Of the checkpoint that dev found best."""
    train_set, dev_set, test_set = parts
    even = make_plan(base.model, PlanSpec(rank=rank))
    trainable = attach(base, spread_ranks(base, even, train_set) if spread else even, seed=recipe.seed)
    train(trainable, train_set, dev_set, recipe, on_step=lambda _: None)
    loss = mean_loss(trainable.model, test_set, micro_tokens=recipe.micro_tokens)
    trainable.detach()
    return loss


def interval(differences: list[float]) -> tuple[float, float]:
    """95 %, by Student's t over the pairs."""
    low, high = stats.t.interval(0.95, len(differences) - 1, mean(differences), stats.sem(differences))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description="LoRA with even ranks and with ranks spread over the layers.")
    parser.add_argument("--task", action="append", help="default: E1 J1")
    parser.add_argument("--rank", action="append", type=int, help="default: 2 and 8")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    settings = {name: getattr(arguments, name) for name in ("rows", "steps", "batch_size", "learning_rate", "seeds")}
    rows: list[dict[str, Any]] = []
    for task in arguments.task or ["E1", "J1"]:
        base = load_base(BaseSpec(BASES[task[0]]))
        parts = parts_of(task, arguments.rows, base)
        for rank in arguments.rank or [2, 8]:
            pairs = []
            for seed in range(arguments.seeds):
                recipe = Recipe(
                    batch_size=arguments.batch_size,
                    learning_rate=arguments.learning_rate,
                    max_steps=arguments.steps,
                    seed=seed,
                )
                even, spread = (held_out_loss(base, parts, rank, recipe, spread=which) for which in (False, True))
                pairs.append({"even": even, "activations": spread})
                print(f"{task}, rank {rank}, seed {seed}: even {even:.3f}, spread {spread:.3f}", flush=True)
            gains = [pair["even"] - pair["activations"] for pair in pairs]
            rows.append({"task": task, "rank": rank, "gain": mean(gains), "interval": interval(gains), "pairs": pairs})
            versions = package_versions(("torch", "transformers"))
            about = {"settings": settings, "packages": versions, "machine": machine(accelerator_name())}
            write_json(arguments.out, {"rows": rows, **about})
            low, high = rows[-1]["interval"]
            print(f"{task}, rank {rank}: {rows[-1]['gain']:+.3f} nats by spreading ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()

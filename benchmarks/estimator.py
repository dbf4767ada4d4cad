"""The memory estimate against the measured peak: `python -m benchmarks.estimator`.

Every run trains two steps on the longest rows of a task in a process of its own, on SmolLM2-135M: four methods, short
and long rows, several sizes of a pass, a large rank, recomputation, frozen layers in few bits. The measured peak is the
process's largest resident size during training, as a study's trial measures it; the estimate is made from the
configuration alone, as `tsugiki estimate` makes it. The same runs show what LoRA takes of the memory of full
fine-tuning. Writes benchmarks/results/estimator.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks import write_task
from tsugiki.config import MethodName
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "estimator.json"
BASE, BATCH, STEPS, ROWS = "smollm2-135m", 8, 2, 200
METHODS: tuple[MethodName, ...] = ("lora", "adapter", "hybrid", "full")
WITHIN = 0.15


@dataclass(frozen=True)
class Run:
    method: MethodName
    task: str
    micro_tokens: int
    rank: int = 16
    recompute: str = "never"
    quantize: str = "none"


RUNS = (
    *(Run(method, task, tokens) for method in METHODS for task in ("E1", "E6") for tokens in (128, 256, 512, 1024)),
    *(Run("lora", task, tokens, rank=64) for task in ("E1", "E6") for tokens in (256, 1024)),
    *(
        Run("lora", task, tokens, quantize=bits)
        for bits in ("int8", "nf4")
        for task in ("E1", "E6")
        for tokens in (128, 512)
    ),
    *(Run(method, "E6", tokens, recompute="always") for method in ("lora", "full") for tokens in (256, 1024)),
)


def measure(run: Run) -> dict[str, float]:
    """Bytes estimated and measured, in this process, which must have done nothing before."""
    from tsugiki.config import PlanSpec, Recipe
    from tsugiki.engine.attach import attach
    from tsugiki.engine.base import BaseSpec, load_base, load_config
    from tsugiki.engine.batches import Encoded, encode
    from tsugiki.engine.footprint import Workload, estimate_footprint
    from tsugiki.engine.plan import make_plan
    from tsugiki.engine.train import train
    from tsugiki.measure.meter import Meter

    base = load_base(BaseSpec(BASE, quantize=run.quantize))  # type: ignore[arg-type]
    with _task(run.task).open(encoding="utf-8", newline="") as file:
        pairs = [(row["prompt"], row["completion"]) for row in csv.DictReader(file)]
    every = encode(base.tokenizer, pairs, max_length=512)
    longest = sorted(range(len(every)), key=every.length)[-BATCH * STEPS :]
    rows = Encoded(tuple(every.prompts[row] for row in longest), tuple(every.completions[row] for row in longest))
    spec = PlanSpec(method=run.method, rank=run.rank, full_layers=("-1",))
    recipe = Recipe(
        max_steps=STEPS, batch_size=BATCH, evaluations=1, micro_tokens=run.micro_tokens,
        recompute=run.recompute, quantize=run.quantize,  # type: ignore[arg-type]
    )  # fmt: skip
    work = Workload(max(map(rows.length, range(len(rows)))) + 1, max(map(len, rows.prompts)), 16)
    estimate = estimate_footprint(load_config(base.folder), spec, recipe, work, dtype=base.dtype)
    meter = Meter(device=None)
    with meter.phase("train"):
        trainable = attach(base, make_plan(base.model, spec), seed=0)
        train(trainable, rows, rows, recipe, on_step=_silent)
    measured = meter.phases["train"].peak_memory_bytes
    assert measured is not None
    training = [phase.total for phase in estimate.phases if phase.name in ("train", "evaluate")]
    return {"estimated": max(training), "measured": measured}


def _silent(_: Any) -> None:
    pass


def _task(name: str) -> Path:
    return ROOT / ".data" / f"estimator-{name}.csv"


def _against_full(found: list[dict[str, Any]]) -> dict[str, float]:
    """Measured peaks of LoRA by how the base is held, over those of full fine-tuning on the same rows and passes."""
    plain = [one for one in found if one["rank"] == Run.rank and one["recompute"] == "never"]
    full = {(one["task"], one["micro_tokens"]): one["measured"] for one in plain if one["method"] == "full"}
    return {
        bits: statistics.median(
            one["measured"] / full[one["task"], one["micro_tokens"]]
            for one in plain
            if (one["method"], one["quantize"]) == ("lora", bits)
        )
        for bits in ("none", "int8", "nf4")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimated against measured peak memory.")
    parser.add_argument("--once", help="one run, as JSON, in this process")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--go-on", action="store_true", help="keep the runs that the file holds already")
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(Run(**json.loads(arguments.once)))))
        return
    for task in ("E1", "E6"):
        write_task(task, _task(task), ROWS)
    found: list[dict[str, Any]] = json.loads(arguments.out.read_text())["each"] if arguments.go_on else []
    done = [Run(**{name: one[name] for name in asdict(RUNS[0])}) for one in found]
    for run in RUNS:
        if run in done:
            continue
        command = [sys.executable, "-m", "benchmarks.estimator", "--once", json.dumps(asdict(run))]
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        values = json.loads(output.splitlines()[-1])
        found.append({**asdict(run), **values, "ratio": values["estimated"] / values["measured"]})
        print(f"{run}: {found[-1]['ratio']:.3f}", flush=True)
        write_json(arguments.out, _result(found))  # what is measured is kept, should a later run fail


def _result(found: list[dict[str, Any]]) -> dict[str, Any]:
    ratios = [one["ratio"] for one in found]
    return {
        "runs": len(ratios),
        "planned": len(RUNS),
        "within_15_percent": sum(abs(ratio - 1) <= WITHIN for ratio in ratios) / len(ratios),
        "median_ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "lora_over_full": _against_full(found)
        if {one["quantize"] for one in found} == {run.quantize for run in RUNS}
        else None,
        "each": found,
        "packages": package_versions(("torch", "transformers", "bitsandbytes")),
        "machine": machine(),
    }


if __name__ == "__main__":
    main()

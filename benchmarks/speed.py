"""Training speed and peak memory, ours against a peer, in turn in one run: `python -m benchmarks.speed --peer trl`.

Same rows, same steps, same batch, same dtype, each side in a process of its own, the order turned from pair
to pair. A ratio is the median over the pairs. Writes benchmarks/results/speed.json (speed-PEER.json for another peer)
with every single run. TRL runs in the development environment, the others in their own (`make peers`).
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.matrix_peak import lora_flops, peak_flops
from benchmarks.race import Job, Outcome
from benchmarks.random_base import SHAPES, random_base
from benchmarks.tasks import task_file
from tsugiki.engine.base import BaseSpec, load_tokenizer, locate_base
from tsugiki.engine.batches import encode
from tsugiki.engine.device import accelerator_name, multiplies_bfloat16, pick_device
from tsugiki.files import write_json
from tsugiki.fingerprint import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BATCH = 8
HELD_OUT = 48
PEERS = {  # the name of each, and the packages that make it what it is
    "trl": ("trl", "peft", "transformers", "torch", "accelerate", "datasets"),
    "litgpt": ("litgpt", "lightning", "torch"),
    "llamafactory": ("llamafactory", "trl", "peft", "transformers", "torch"),
}


@dataclass(frozen=True)
class Setting:
    """`checkpoint_activations` is TRL's default: it recomputes them in the backward pass, which saves memory."""

    precision: str
    task: str
    rows: int  # trained once each
    checkpoint_activations: bool = True
    base: str = "smollm2-135m"  # or one of SHAPES, with random weights
    on_gpu: bool = False


# bfloat16 is run where the machine multiplies it natively: emulated, it says nothing about either side. E1 has short
# rows (about 40 tokens), E6 long ones (about 200).
SETTINGS = {
    f"{precision}, {name}{'' if checkpointing else ', without activation checkpointing'}": Setting(
        precision, task, rows, checkpointing
    )
    for precision in ("bfloat16", "float32")
    for name, task, rows in (("short rows", "E1", 96), ("long rows", "E6", 24))
    for checkpointing in (True, False)
} | {
    f"{precision}, Gemma 3 270M, short rows": Setting(precision, "E1", 48, base="gemma3-270m")
    for precision in ("bfloat16", "float32")
}
# A GPU is through with those before its clocks have settled: more rows, and a base of a size that keeps it busy.
SETTINGS |= {
    f"GPU, bfloat16, {name}{'' if checkpointing else ', without activation checkpointing'}": Setting(
        "bfloat16", task, rows, checkpointing, base, on_gpu=True
    )
    for name, task, rows, base in (
        ("short rows", "E1", 480, "smollm2-135m"),
        ("long rows", "E6", 320, "smollm2-135m"),
        ("Llama 1B shape, long rows", "E6", 320, "llama-1b"),
    )
    for checkpointing in (True, False)
}


def race(peer: str, pairs: int, settings: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run all pairs of the named settings; rows are trained once each, so steps are rows / batch."""
    device = pick_device("auto").type
    for name in settings:
        if SETTINGS[name].on_gpu != (device == "cuda"):
            raise SystemExit(f"The setting '{name}' is not one for this machine's {device}.")
    jobs = {name: make_job(SETTINGS[name]) for name in settings}  # what is missing is said before anything runs
    for name, job in jobs.items():
        rows = encode(load_tokenizer(BaseSpec(job.base)), job.train, max_length=10**6)
        tokens, lengths = rows.tokens, zip(map(len, rows.prompts), map(len, rows.completions), strict=True)
        flops = lora_flops(job.base, job.rank, tuple(lengths))
        runs = []
        for pair in range(pairs):
            order = ("ours", "peer") if pair % 2 == 0 else ("peer", "ours")
            turn = replace(job, seed=pair)  # another order of rows and another start in every pair
            outcomes = {side: run_side(f"peer_{peer}" if side == "peer" else side, turn) for side in order}
            sides = {side: asdict(outcome) for side, outcome in outcomes.items()}
            runs.append({"order": list(order), **sides, "peak_flops": peak_flops(job.precision)})
            print(f"{name}, pair {pair + 1} of {pairs}: {_line(outcomes, tokens)}", flush=True)
        about = {"tokens": tokens, "steps": job.steps, "flops": flops}
        yield name, {**about, **_ratios(runs, tokens, flops), "runs": runs}


def make_job(setting: Setting) -> Job:
    with task_file(setting.task, setting.rows + HELD_OUT).open(encoding="utf-8", newline="") as file:
        rows_of_file = list(csv.DictReader(file))
    # The space before the answer belongs to the answer here: TRL tokenises prompt and completion as one text, and only
    # with this boundary both sides train on the same tokens.
    pairs = tuple((row["prompt"].rstrip(" "), f" {row['completion']}") for row in rows_of_file)
    return Job(
        base=str(random_base(setting.base) if setting.base in SHAPES else locate_base(BaseSpec(setting.base))),
        precision=setting.precision,
        train=pairs[: setting.rows],
        held_out=pairs[setting.rows :],
        steps=setting.rows // BATCH,
        batch_size=BATCH,
        learning_rate=1e-3,
        rank=16,
        alpha=32.0,
        dropout=0.05,
        checkpoint_activations=setting.checkpoint_activations,
        seed=0,
    )


def run_side(side: str, job: Job) -> Outcome:
    """One run in a fresh process; the job and the outcome travel as files."""
    with tempfile.TemporaryDirectory() as folder:
        told, said = Path(folder) / "job.json", Path(folder) / "outcome.json"
        told.write_text(json.dumps(asdict(job)), encoding="utf-8")
        result = subprocess.run(
            [_python(side), "-m", f"benchmarks.{side}", told, said],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{side} ended with status {result.returncode}:\n{result.stderr[-4000:]}")
        return Outcome(**json.loads(said.read_text(encoding="utf-8")))


def _python(side: str) -> str:
    own = ROOT / ".peers" / side.removeprefix("peer_") / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


def _versions(peer: str) -> dict[str, str]:
    """Of the peer, in its own environment."""
    ask = "import json, sys; from importlib.metadata import version; print(json.dumps([*map(version, sys.argv[1:])]))"
    command = [_python(f"peer_{peer}"), "-c", ask, *PEERS[peer]]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(zip(PEERS[peer], json.loads(said), strict=True))


def _ratios(runs: list[dict[str, Any]], tokens: int, flops: float) -> dict[str, float]:
    def median(value: Any) -> float:
        return statistics.median(value(run) for run in runs)

    return {
        "tokens_per_second_ratio": median(lambda run: run["peer"]["seconds"] / run["ours"]["seconds"]),
        "peak_memory_ratio": median(lambda run: run["ours"]["peak_memory_bytes"] / run["peer"]["peak_memory_bytes"]),
        "our_share_of_peak": median(lambda run: flops / run["ours"]["seconds"] / run["peak_flops"]),
        "peer_share_of_peak": median(lambda run: flops / run["peer"]["seconds"] / run["peak_flops"]),
        "our_tokens_per_second": median(lambda run: tokens / run["ours"]["seconds"]),
        "peer_tokens_per_second": median(lambda run: tokens / run["peer"]["seconds"]),
    }


def _line(outcomes: dict[str, Outcome], tokens: int) -> str:
    return "; ".join(
        f"{side} {tokens / outcome.seconds:.0f} tokens/s, {outcome.peak_memory_bytes / 2**30:.2f} GiB, "
        f"held-out loss {outcome.held_out_loss:.3f}"
        for side, outcome in sorted(outcomes.items())
    )


def _usual_settings(peer: str) -> list[str]:
    """In number formats that this machine multiplies natively; the 262k words of Gemma against TRL alone."""
    device = pick_device("auto")
    native = multiplies_bfloat16(device)
    return [
        name
        for name, setting in SETTINGS.items()
        if setting.on_gpu == (device.type == "cuda")
        and (setting.precision == "float32" or native)
        and (peer == "trl" or setting.base == Setting.base)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed and peak memory against a peer.")
    parser.add_argument("--peer", choices=list(PEERS), default="trl")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs per setting")
    parser.add_argument(
        "--setting",
        action="append",
        choices=list(SETTINGS),
        help="only these; all that this machine runs natively without it",
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    peer = arguments.peer
    out = arguments.out or RESULTS / ("speed.json" if peer == "trl" else f"speed-{peer}.json")
    rows: dict[str, Any] = {}
    for name, row in race(peer, arguments.pairs, tuple(arguments.setting or _usual_settings(peer))):
        rows[name] = row
        write_json(
            out, {"peer": peer, "rows": rows, "packages": _versions(peer), "machine": machine(accelerator_name())}
        )
        print(f"{name}: {row['tokens_per_second_ratio']:.2f} x tokens/s, {row['peak_memory_ratio']:.2f} x peak memory")


if __name__ == "__main__":
    main()

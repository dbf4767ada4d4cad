"""How many products this machine can take, and how many a training job needs: `python -m benchmarks.matrix_peak`.

The peak is the fastest of several large square products in one number format, in a process of its own. What a job needs
is counted from shapes, without padding and without anything that is computed again: for every token two products with
each frozen weight (forward, and the gradient of its input) and three with each small part, attention over its own row,
and the head for the tokens that are learned.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = (512, 1024, 2048)
SECONDS = 2.0  # of products per size


def peak_flops(precision: str) -> float:
    """Floating-point operations per second, measured in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.matrix_peak", "--precision", precision]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output)["flops_per_second"])


def lora_flops(base: str, rank: int, rows: tuple[tuple[int, int], ...]) -> float:
    """Of training LoRA on all linear layers once over rows of (prompt, completion) tokens."""
    import torch

    from tsugiki.engine.base import BaseSpec, load_config, locate_base
    from tsugiki.engine.footprint import shapes_of
    from tsugiki.engine.structure import structure_of, text_config

    model = shapes_of(load_config(locate_base(BaseSpec(base))), torch.float32)
    structure, config = structure_of(model), text_config(model)
    linears = [model.get_submodule(name) for name in structure.linears]
    frozen = sum(linear.in_features * linear.out_features for linear in linears)
    small = rank * sum(linear.in_features + linear.out_features for linear in linears)
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    head = config.vocab_size * config.hidden_size
    total = 0.0
    for prompt, completion in rows:
        read = prompt + completion - 1
        attention = 2 * 2 * width * read * (read + 1) / 2 * len(structure.blocks)  # scores and values, causal
        total += read * (2 * 2 * frozen + 3 * 2 * small) + 3 * attention + completion * 2 * 2 * head
    return total


def _measure(precision: str) -> float:
    import torch

    dtype, device = getattr(torch, precision), "cuda" if torch.cuda.is_available() else "cpu"
    best = 0.0
    for size in SIZES if device == "cpu" else (4096, 8192):
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(left)
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            started = time.perf_counter()
            torch.mm(left, right, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="The matrix peak of this machine.")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    print(json.dumps({"flops_per_second": _measure(parser.parse_args().precision)}))


if __name__ == "__main__":
    main()

"""How fast an adapted model answers, and what it costs to change adapters, measured on the machine of the trial.

Called by `fit` once per method. Every number is the median of a few runs after one that is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tsugiki.engine.adapter_files import load_adapter
from tsugiki.engine.attach import Trainable, merge, unmerge
from tsugiki.engine.base import Base
from tsugiki.engine.generate import timed_generation
from tsugiki.measure.latency import measure_latency

BATCHES = (1, 16)
NEW_TOKENS = 8
RUNS = 3


def latencies(trainable: Trainable, prompts: Sequence[str]) -> tuple[list[dict[str, Any]], float | None]:
    """Time to the first token and per further token, for every batch size, merged and unmerged where both exist.

    Also returns how far off the merged weights are (`attach.merge`), or None where nothing can be merged.
    """
    found, error = [], None
    if trainable.low_rank_layers() or not trainable.plan.mergeable:
        found += [_latency(trainable, prompts, batch, "unmerged") for batch in BATCHES]
    if trainable.plan.mergeable:
        error = merge(trainable)
        try:
            found += [_latency(trainable, prompts, batch, "merged") for batch in BATCHES]
        finally:
            unmerge(trainable)
    return found, error


def change_cost(base: Base, folder: Path) -> dict[str, float]:
    """load: from disk onto the bare base; swap: from one adapter to another one on disk; rollback: to the bare base."""
    loads, swaps, rollbacks = [], [], []
    for _ in range(RUNS + 1):
        attached, seconds = _timed(base, partial(load_adapter, base, folder))
        loads.append(seconds)
        attached, seconds = _timed(base, partial(_swap, base, attached, folder))
        swaps.append(seconds)
        _, seconds = _timed(base, attached.detach)
        rollbacks.append(seconds)
    return {"load_ms": _settled(loads), "swap_ms": _settled(swaps), "rollback_ms": _settled(rollbacks)}


def _latency(trainable: Trainable, prompts: Sequence[str], batch: int, weights: str) -> dict[str, Any]:
    """Prompts of typical length, repeated where the test set is smaller than the batch."""
    middle = sorted(prompts, key=len)[max(0, len(prompts) - batch) // 2 :]
    chosen = [middle[place % len(middle)] for place in range(batch)]
    run = partial(timed_generation, trainable.model, trainable.base.tokenizer, chosen, new_tokens=NEW_TOKENS)
    return measure_latency(run, batch=batch, repeats=RUNS).as_json(weights)


def _swap(base: Base, attached: Trainable, folder: Path) -> Trainable:
    attached.detach()
    return load_adapter(base, folder)


def _timed(base: Base, act: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = act()
    if base.device.type == "cuda":
        torch.cuda.synchronize(base.device)
    return value, time.perf_counter() - started


def _settled(seconds: Sequence[float]) -> float:
    """Milliseconds; the first run pays for what later ones find warm."""
    return 1000 * median(seconds[1:])

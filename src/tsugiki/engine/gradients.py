"""Which blocks a hybrid should train in full: the gradient-to-weight ratio on the task's own data.

Surgical fine-tuning (arXiv 2210.11466, Auto-RGN): a layer whose gradient is large relative to its weights is the one
that the new data wants changed. One weight's gradient is in memory at a time.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from tsugiki.config import PlanSpec
from tsugiki.engine.base import Base
from tsugiki.engine.batches import Encoded, micro_batches
from tsugiki.engine.device import tokens_per_pass
from tsugiki.engine.loss import token_loss
from tsugiki.engine.packing import packs
from tsugiki.engine.plan import AUTO
from tsugiki.engine.structure import structure_of

PROBE_EXAMPLES = 32


def choose_blocks(base: Base, examples: Encoded, spec: PlanSpec, *, micro_tokens: int) -> PlanSpec:
    """`spec` with 'auto' in `full_layers` replaced by the `full_blocks` blocks with the highest ratios.

    A spec without 'auto' is returned as it is. `base` must have nothing attached; it is unchanged afterwards.
    """
    if spec.method != "hybrid" or AUTO not in spec.full_layers:
        return spec
    ratios = gradient_ratios(base, examples, micro_tokens=micro_tokens)
    best = sorted(sorted(ratios, key=lambda block: -ratios[block])[: spec.full_blocks])
    named = tuple(entry for entry in spec.full_layers if entry != AUTO)
    return spec.model_copy(update={"full_layers": (*named, *map(str, best))})


def gradient_ratios(base: Base, examples: Encoded, *, micro_tokens: int) -> dict[int, float]:
    """Mean over the linear weights of each block of ||gradient|| / ||weight||, on the first examples."""
    blocks = structure_of(base.model).blocks
    weights: dict[str, nn.Parameter] = {
        f"{name}.weight": base.model.get_submodule(name).weight for block in blocks for name in block.linears
    }
    squares: dict[str, float] = defaultdict(float)

    def note(name: str, weight: Tensor) -> None:
        assert weight.grad is not None
        squares[name] += float(weight.grad.float().square().sum())
        weight.grad = None

    hooks = []
    for name, weight in weights.items():
        weight.requires_grad_(True)
        hooks.append(weight.register_post_accumulate_grad_hook(lambda weight, name=name: note(name, weight)))
    try:
        loss = token_loss(base.model)
        rows = range(min(PROBE_EXAMPLES, len(examples)))
        tokens = tokens_per_pass(micro_tokens, base.device, base.dtype)
        for batch in micro_batches(examples, rows, micro_tokens=tokens, packed=packs(base.model)):
            (loss(batch.to(base.device)) / len(batch.targets_N)).backward()
    finally:
        for hook in hooks:
            hook.remove()
        for weight in weights.values():
            weight.requires_grad_(False)
            weight.grad = None
    ratio = {name: math.sqrt(squares[name]) / float(torch.linalg.vector_norm(w.float())) for name, w in weights.items()}
    return {
        block.index: sum(ratio[f"{name}.weight"] for name in block.linears) / len(block.linears) for block in blocks
    }

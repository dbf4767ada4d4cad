"""Low-rank updates cut down to a smaller rank after training: how much of it a task has really used.

Called by work/: a search cuts its winner to see which rank suffices, `train --rank auto` keeps the cut. The best
approximation of B A by rank k keeps its k largest singular values (Eckart and Young, 1936); each layer keeps its own.
Its factors share the singular values evenly, so that both can be trained on. Shapes as in lowrank.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from tsugiki.engine.attach import Trainable, attach
from tsugiki.engine.lowrank import LowRankLinear

Factors = tuple[Tensor, Tensor]


def losses_by_rank(
    trainable: Trainable, ranks: Sequence[int], loss: Callable[[], float], *, tolerance: float
) -> dict[int, float]:
    """`loss` of the model as it is, under the largest of `ranks`, and with every update cut to each of the others.

    From the largest down to the first that loses more than `tolerance`: a smaller one holds even less of the update.
    The parts are left as they were.
    """
    largest, *smaller = sorted(ranks, reverse=True)
    found = {largest: loss()}
    for rank in smaller:
        with _cut_to(trainable, rank):
            found[rank] = loss()
        if not found[rank] <= found[largest] + tolerance:
            break
    return found


def shrink(trainable: Trainable, rank: int) -> Trainable:
    """The same base with every update cut to `rank` in place of `trainable`, which is detached."""
    plan = trainable.plan
    smaller = {name: replace(part, rank=min(rank, part.rank)) for name, part in plan.low_rank.items()}
    factors = {name: _best_factors(layer, rank) for name, layer in trainable.low_rank_layers().items()}
    others = {name: part.detach().clone() for name, part in trainable.trained.items() if not _is_factor(name)}
    trainable.detach()
    result = attach(trainable.base, replace(plan, low_rank=smaller), seed=0)
    with torch.no_grad():
        for name, (a_RI, b_OR) in factors.items():
            result.trained[f"{name}.lora_A"].copy_(a_RI)
            result.trained[f"{name}.lora_B"].copy_(b_OR)
        for name, part in others.items():
            result.trained[name].copy_(part)
    return result


@contextmanager
def _cut_to(trainable: Trainable, rank: int) -> Iterator[None]:
    """Inside, the parts hold the cut factors, filled up with zeros to the shape that they have."""
    layers = trainable.low_rank_layers()
    whole = {name: (layer.lora_A.detach().clone(), layer.lora_B.detach().clone()) for name, layer in layers.items()}
    with torch.no_grad():
        for layer in layers.values():
            a_RI, b_OR = _best_factors(layer, rank)
            layer.lora_A.zero_()[: len(a_RI)].copy_(a_RI)
            layer.lora_B.zero_()[:, : len(a_RI)].copy_(b_OR)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, (a_RI, b_OR) in whole.items():
                layers[name].lora_A.copy_(a_RI)
                layers[name].lora_B.copy_(b_OR)


def _best_factors(layer: LowRankLinear, rank: int) -> Factors:
    """(a_RI, b_OR) of at most `rank`, in float64, from the small matrix between two orthogonal ones."""
    left_OR, upper_RR = torch.linalg.qr(layer.lora_B.detach().double())
    right_IR, lower_RR = torch.linalg.qr(layer.lora_A.detach().double().T)
    u, values, v = torch.linalg.svd(upper_RR @ lower_RR.T)
    roots = values[:rank].sqrt()
    kept = len(roots)
    a_RI = roots[:, None] * (v[:kept] @ right_IR.T)
    b_OR = (left_OR @ u[:, :kept]) * roots
    return _filled(a_RI, min(rank, layer.part.rank), 0), _filled(b_OR, min(rank, layer.part.rank), 1)


def _filled(factor: Tensor, rank: int, dim: int) -> Tensor:
    """With zeros up to `rank`, which a layer narrower than its rank needs."""
    missing = rank - factor.shape[dim]
    if missing <= 0:
        return factor
    shape = [missing if at == dim else size for at, size in enumerate(factor.shape)]
    return torch.cat([factor, factor.new_zeros(shape)], dim=dim)


def _is_factor(name: str) -> bool:
    return name.endswith((".lora_A", ".lora_B"))

"""The ranks of a plan laid where the inputs of its layers vary in many directions; their sum stays what it was.

Called by `work/fit` before training, for `--rank-spread activations`. EVA (arXiv 2410.07170): of the input of
each layer on the tokens of the task, the share of its variance that each principal component explains; the largest of
all layers together get one rank each. One forward pass over some tokens, from whose Gram matrix the shares follow.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tsugiki.engine.base import Base
from tsugiki.engine.batches import Batch, Encoded, micro_batches
from tsugiki.engine.loss import token_loss
from tsugiki.engine.packing import packs
from tsugiki.engine.plan import Plan
from tsugiki.engine.shared_input import same_inputs
from tsugiki.engine.structure import structure_of

PASS_TOKENS = 8192  # read at once, so that many examples have a say
SAMPLED_TOKENS = 512  # of these, evenly spaced; the Gram matrix has as many rows
MOST = 2  # times the even rank that one layer may get (rho of the paper)


def spread_ranks(base: Base, plan: Plan, examples: Encoded) -> Plan:
    """`plan` with the same sum of ranks, each from 1 to twice the largest that it has now; scales stay.

    A layer takes no more than it has inputs, outputs or sampled tokens. One outside the blocks (the head) keeps its
    rank. Nothing may be attached to `base`; it is unchanged afterwards.
    """
    linears = structure_of(base.model).linears
    laid = {name: part for name, part in plan.low_rank.items() if name in linears}
    even = max((part.rank for part in laid.values()), default=0)
    if even < 2 or len(laid) < 2:
        return plan
    shares = explained_shares(base, tuple(laid), examples, most=MOST * even)
    layers = {name: base.model.get_submodule(name) for name in laid}
    most = {name: min(layer.in_features, layer.out_features) for name, layer in layers.items()}
    ranks = share_out({name: shares[name][: most[name]] for name in laid}, sum(part.rank for part in laid.values()))
    spread = {name: replace(part, rank=ranks[name]) for name, part in laid.items()}
    return replace(plan, low_rank={name: spread.get(name, part) for name, part in plan.low_rank.items()})


def share_out(shares: Mapping[str, Sequence[float]], total: int, *, least: int = 1) -> dict[str, int]:
    """One rank for each of the largest shares, until `total` are given; `least` to every layer first.

    Shares of a layer fall. Fewer are given where the layers hold fewer.
    """
    ranks = {name: min(least, len(falling)) for name, falling in shares.items()}
    waiting = [(-falling[ranks[name]], name) for name, falling in shares.items() if len(falling) > ranks[name]]
    heapq.heapify(waiting)
    for _ in range(total - sum(ranks.values())):
        if not waiting:
            break
        _, name = heapq.heappop(waiting)
        ranks[name] += 1
        if len(shares[name]) > ranks[name]:
            heapq.heappush(waiting, (-shares[name][ranks[name]], name))
    return ranks


def explained_shares(base: Base, names: Sequence[str], examples: Encoded, *, most: int) -> dict[str, list[float]]:
    """Per layer, the shares of its input's variance along the `most` first principal components, falling."""
    batch = _one_batch(base.model, examples).to(base.device)
    real_N = _real_tokens(batch, examples)
    sampled_N = real_N[torch.linspace(0, len(real_N) - 1, min(SAMPLED_TOKENS, len(real_N))).long()].to(base.device)
    found: dict[str, list[float]] = {}

    def note(group: Sequence[str]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shares = _shares_of(inputs[0].flatten(0, -2)[sampled_N], most)
            found.update(dict.fromkeys(group, shares))

        return hook

    groups, loss = same_inputs(base.model, names), token_loss(base.model)  # both run the model on a few tokens
    hooks = [base.model.get_submodule(group[0]).register_forward_pre_hook(note(group)) for group in groups]
    was_training = base.model.training
    base.model.eval()
    try:
        with torch.no_grad():
            loss(batch)
    finally:
        base.model.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


def _shares_of(x_NI: Tensor, most: int) -> list[float]:
    """Eigenvalues of the covariance over their sum; those of the small N x N matrix are the same."""
    x_NI = x_NI.double()
    x_NI = x_NI - x_NI.mean(dim=0)
    values = torch.linalg.eigvalsh(x_NI @ x_NI.T).flip(0).clamp_min(0)
    total = values.sum()
    kept = values[: min(most, len(values))]
    return (kept / total if total > 0 else torch.zeros_like(kept)).tolist()


def _one_batch(model: nn.Module, examples: Encoded) -> Batch:
    """Rows from all over the data, as many as PASS_TOKENS hold, one at least."""
    rows: list[int] = []
    held = 0
    step = max(1, len(examples) * max(map(examples.length, range(len(examples)))) // PASS_TOKENS)
    for row in range(0, len(examples), step):
        held += examples.length(row)
        if rows and held > PASS_TOKENS:
            break
        rows.append(row)
    (batch,) = micro_batches(examples, rows, micro_tokens=len(rows) * PASS_TOKENS * 2, packed=packs(model))
    return batch


def _real_tokens(batch: Batch, examples: Encoded) -> Tensor:
    """Places of what is no padding among the B·T tokens of the batch."""
    if batch.lengths is not None:
        return torch.arange(sum(batch.lengths))
    width = batch.ids_BT.shape[1]
    return torch.cat([torch.arange(examples.length(row)) + place * width for place, row in enumerate(batch.rows)])

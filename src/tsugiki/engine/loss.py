"""Completion-only cross-entropy without the logits of the whole batch.

The decoder's hidden states are selected where a label stands; the head's product, the loss and its gradient are then
taken chunk by chunk, so that memory is O(chunk × vocabulary). Losses are sums of nats in float32; callers divide by the
tokens of the whole optimiser step. N labelled tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tsugiki.engine.batches import Batch, Encoded, micro_batches
from tsugiki.engine.device import tokens_per_pass
from tsugiki.engine.lowrank import LowRankLinear
from tsugiki.engine.packing import packs, row_arguments
from tsugiki.engine.prefix_cache import Entry
from tsugiki.engine.structure import decoder_of, text_config

CHUNK_ELEMENTS = 16_000_000  # logits in memory at once: 64 MB in float32

TokenLoss = Callable[[Batch], Tensor]
Labels = tuple[Tensor, Tensor]  # positions_N in the flattened B·T hidden states, and the targets_N they predict
ShareLosses = Callable[[Tensor, "Sequence[int] | None", "Tensor | None", Sequence[Labels]], list[Tensor]]


def share_losses(model: Any, entry: Entry | None = None) -> ShareLosses:
    """A function from ids_BT, the lengths of packed rows (None: padded), what enters the first block that is there, and
    several sets of labels to one summed loss each, from one forward pass.

    Where `entry` is given, the model's lower blocks are cut off (`prefix_cache.cut_below`) and the third argument
    holds the hidden states that enter the rest; it is None otherwise.

    The chunked path computes logits as softcap(W h + b). Whether this model does the same is not assumed but tried
    once; one that does more (logit scales, wrapped heads that are not linear) gets the plain path over all its logits.
    """
    head = model.get_output_embeddings()
    softcap = getattr(text_config(model), "final_logit_softcapping", None)
    plain = not _head_is_all(model, head, softcap, entry)

    def losses(
        ids_BT: Tensor, lengths: Sequence[int] | None, states_BTD: Tensor | None, shares: Sequence[Labels]
    ) -> list[Tensor]:
        told = row_arguments(lengths, ids_BT.device)
        if entry is not None:
            entry.states_BTD = states_BTD
        if plain:
            flat = _flat(model(input_ids=ids_BT, use_cache=False, **told).logits)
            return [_plain_loss(flat[positions_N], targets_N) for positions_N, targets_N in shares]
        flat = _flat(decoder_of(model)(input_ids=ids_BT, use_cache=False, **told).last_hidden_state)
        if type(head) is not nn.Linear:
            return [_wrapped_head_loss(head, flat[places_N], targets_N, softcap) for places_N, targets_N in shares]
        positions_N, targets_N = (torch.cat(both) if len(both) > 1 else both[0] for both in zip(*shares, strict=True))
        counts = [len(targets) for _, targets in shares]
        head_rows = head.weight, head.bias
        return list(chunked_cross_entropies(flat[positions_N], *head_rows, targets_N, counts, softcap=softcap))

    return losses


def token_loss(model: Any) -> TokenLoss:
    """A function from a batch to the summed loss of its labelled tokens, with gradients to everything trained."""
    losses = share_losses(model)
    return lambda batch: losses(batch.ids_BT, batch.lengths, None, [(batch.positions_N, batch.targets_N)])[0]


def mean_loss(model: Any, encoded: Encoded, *, micro_tokens: int) -> float:
    """Nats per completion token (the end-of-text token included), without gradient and without dropout."""
    return sum(row_losses(model, encoded, micro_tokens=micro_tokens)) / sum(map(len, encoded.completions))


def row_losses(model: Any, encoded: Encoded, *, micro_tokens: int) -> list[float]:
    """Nats of each row's whole completion, in the order of the rows; as `mean_loss`, which is their mean by token.

    `micro_tokens` as in the recipe: tokens per forward pass, 0 for what the device wants.
    """
    was_training = model.training
    model.eval()
    found = [0.0] * len(encoded)
    with torch.no_grad():
        losses = share_losses(model)
        weight = next(model.parameters())
        tokens = tokens_per_pass(micro_tokens, weight.device, weight.dtype)
        for batch in micro_batches(encoded, range(len(encoded)), micro_tokens=tokens, packed=packs(model)):
            there = batch.to(weight.device)
            counts = [len(encoded.completions[row]) for row in batch.rows]
            shares = list(zip(there.positions_N.split(counts), there.targets_N.split(counts), strict=True))
            nats = torch.stack(losses(there.ids_BT, there.lengths, None, shares)).tolist()  # a GPU is waited for once
            for row, loss in zip(batch.rows, nats, strict=True):
                found[row] = loss
    model.train(was_training)
    return found


def chunked_cross_entropies(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    counts: Sequence[int],
    *,
    softcap: float | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Sums of -log softmax(softcap(W h + b))[target], one for each `counts` of the N; gradients to h, W and b where
    they are asked for (to W and b from one sum alone).
    """
    chunk = chunk or max(16, CHUNK_ELEMENTS // weight_VD.shape[0])
    learns = torch.is_grad_enabled()  # inside the function every input that can learn says that it does
    inputs = (hidden_ND, weight_VD, bias_V, targets_N, tuple(counts), softcap, chunk, learns)
    sums_S: Tensor = _ChunkedCrossEntropies.apply(*inputs)  # type: ignore[no-untyped-call]
    return sums_S


class _ChunkedCrossEntropies(torch.autograd.Function):
    """A loss is a scalar, so its gradient can be taken in the forward pass and only scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        counts: tuple[int, ...],
        softcap: float | None,
        chunk: int,
        learns: bool,
    ) -> Tensor:
        exact = torch.promote_types(hidden_ND.dtype, torch.float32)
        wants_hidden, wants_weight, wants_bias = (learns and wanted for wanted in ctx.needs_input_grad[:3])
        dhidden_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        dweight_VD = torch.zeros_like(weight_VD, dtype=exact) if wants_weight else None
        dbias_V = torch.zeros_like(bias_V, dtype=exact) if wants_bias and bias_V is not None else None
        assert len(counts) == 1 or not wants_weight, "the gradient of a head is kept for one sum"
        loss_N = torch.empty(len(targets_N), dtype=exact, device=hidden_ND.device)
        for start in range(0, len(targets_N), chunk):
            part = slice(start, start + chunk)
            h_CD, targets_C = hidden_ND[part], targets_N[part]
            capped_CV = _capped(functional.linear(h_CD, weight_VD, bias_V).to(exact), softcap)
            loss_N[part] = functional.cross_entropy(capped_CV, targets_C, reduction="none")
            if not (wants_hidden or wants_weight):
                continue
            d_CV = capped_CV.softmax(dim=-1)
            d_CV[torch.arange(len(targets_C), device=d_CV.device), targets_C] -= 1
            if softcap is not None:
                d_CV *= 1 - (capped_CV / softcap) ** 2
            low_CV = d_CV.to(hidden_ND.dtype)
            if dhidden_ND is not None:
                dhidden_ND[part] = low_CV @ weight_VD
            if dweight_VD is not None:
                dweight_VD += low_CV.T @ h_CD
            if dbias_V is not None:
                dbias_V += d_CV.sum(dim=0)
        ctx.save_for_backward(dhidden_ND, dweight_VD, dbias_V)
        ctx.dtypes = weight_VD.dtype, None if bias_V is None else bias_V.dtype
        ctx.counts = counts
        return torch.stack([own.sum() for own in loss_N.split(counts)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dhidden_ND, dweight_VD, dbias_V = ctx.saved_tensors
        scale_S = gradients[0]
        weight_dtype, bias_dtype = ctx.dtypes
        if dhidden_ND is not None:
            each = torch.cat([scale.expand(count) for scale, count in zip(scale_S, ctx.counts, strict=True)])
            dhidden_ND = dhidden_ND * each[:, None].to(dhidden_ND.dtype)
        return (
            dhidden_ND,
            None if dweight_VD is None else (dweight_VD * scale_S).to(weight_dtype),
            None if dbias_V is None else (dbias_V * scale_S).to(bias_dtype),
            None, None, None, None, None,
        )  # fmt: skip


def _flat(values_BTX: Tensor) -> Tensor:
    return values_BTX.reshape(-1, values_BTX.shape[-1])


def _wrapped_head_loss(head: nn.Module, hidden_ND: Tensor, targets_N: Tensor, softcap: float | None) -> Tensor:
    """A head that carries a trained part of its own: chunked as well, each chunk recomputed in the backward pass."""

    def loss(h_CD: Tensor, targets_C: Tensor) -> Tensor:
        logits = head(h_CD)
        return functional.cross_entropy(
            _capped(logits.to(torch.promote_types(logits.dtype, torch.float32)), softcap), targets_C, reduction="sum"
        )

    size = head.base.out_features if isinstance(head, LowRankLinear) else hidden_ND.shape[-1]
    chunk = max(16, CHUNK_ELEMENTS // size)
    parts = [
        checkpoint(loss, hidden_ND[start : start + chunk], targets_N[start : start + chunk], use_reentrant=False)
        for start in range(0, len(targets_N), chunk)
    ]
    return torch.stack(parts).sum()


def _plain_loss(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    return functional.cross_entropy(
        logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)), targets_N, reduction="sum"
    )


def _capped(logits: Tensor, softcap: float | None) -> Tensor:
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap


def _head_is_all(model: Any, head: nn.Module, softcap: float | None, entry: Entry | None) -> bool:
    """Whether softcap(head(decoder(x))) is what the model itself returns, tried on eight tokens."""
    was_training = model.training
    model.eval()
    embedding = model.get_input_embeddings().weight
    ids_BT = torch.arange(8, device=embedding.device)[None]
    if entry is not None:
        spread = torch.linspace(-1, 1, 8 * text_config(model).hidden_size, device=embedding.device)
        entry.states_BTD = spread.view(1, 8, -1).to(embedding.dtype)
    with torch.no_grad():
        hidden_BTD = decoder_of(model)(input_ids=ids_BT, use_cache=False).last_hidden_state
        ours, theirs = _capped(head(hidden_BTD).float(), softcap), model(input_ids=ids_BT, use_cache=False).logits
    model.train(was_training)
    return torch.allclose(ours, theirs.float(), rtol=2e-2, atol=2e-2)

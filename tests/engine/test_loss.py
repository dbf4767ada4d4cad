"""The chunked loss against the plain one: value and gradients, per dtype, chunk, vocabulary, soft cap and head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base
from tsugiki.engine.batches import Batch, encode, micro_batches
from tsugiki.engine.loss import _head_is_all, chunked_cross_entropies, mean_loss, row_losses, token_loss
from tsugiki.engine.plan import make_plan

PAIRS = [("部品: ", "B-23"), ("Class of a zener diode? ", "Diode"), ("x", "y z"), ("用語: サーバ ", "サーバー")]


@pytest.mark.parametrize("softcap", [None, 4.0])
def test_gradcheck(softcap: float | None) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(11, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (7,))
    assert torch.autograd.gradcheck(
        lambda h, w, b: chunked_cross_entropies(h, w, b, targets, [7], softcap=softcap, chunk=3),
        (hidden, weight, bias),
        atol=1e-6,
    )


@pytest.mark.parametrize("chunk", [1, 5, 64, None])
@pytest.mark.parametrize("vocabulary", [17, 50_000])
def test_equals_plain_cross_entropy_in_float32(chunk: int | None, vocabulary: int) -> None:
    torch.manual_seed(1)
    hidden, weight = torch.randn(33, 8, requires_grad=True), torch.randn(vocabulary, 8, requires_grad=True)
    targets = torch.randint(0, vocabulary, (33,))
    (ours,) = chunked_cross_entropies(hidden, weight, None, targets, [33], chunk=chunk)
    plain = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-4)
    for one, other in zip(
        torch.autograd.grad(ours, (hidden, weight)), torch.autograd.grad(plain, (hidden, weight)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=5e-5)


def test_bfloat16_accumulates_in_float32() -> None:
    torch.manual_seed(2)
    hidden, weight = torch.randn(500, 16).bfloat16(), torch.randn(1000, 16).bfloat16()
    targets = torch.randint(0, 1000, (500,))
    reference = functional.cross_entropy(hidden.double() @ weight.double().T, targets, reduction="sum")
    (ours,) = chunked_cross_entropies(hidden, weight, None, targets, [500], chunk=64)
    assert ours.dtype == torch.float32
    assert abs(ours.item() / reference.item() - 1) < 2e-3


def plain_loss(model: Any, batch: Batch) -> Tensor:
    """The slow twin: all logits of the model itself, then the labelled ones."""
    logits = model(input_ids=batch.ids_BT, use_cache=False).logits.flatten(0, 1)
    return functional.cross_entropy(logits[batch.positions_N], batch.targets_N, reduction="sum")


def test_nothing_is_computed_for_a_gradient_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight = torch.randn(4, 3, requires_grad=True), torch.randn(9, 3, requires_grad=True)
    monkeypatch.setattr(Tensor, "softmax", lambda *_, **__: pytest.fail("a gradient was taken"))
    with torch.no_grad():
        assert chunked_cross_entropies(hidden, weight, None, torch.tensor([1, 2, 3, 4]), [4]) > 0


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight = torch.randn(4, 3, requires_grad=True), torch.randn(9, 3)
    (loss,) = chunked_cross_entropies(hidden, weight, None, torch.tensor([1, 2, 3, 4]), [4])
    loss.backward()
    assert hidden.grad is not None and weight.grad is None


@pytest.mark.parametrize("softcap", [None, 4.0])
def test_several_sums_from_one_pass_over_the_head(softcap: float | None) -> None:
    """As candidates of a bank take them, each with a gradient of its own size; borders fall inside chunks."""
    torch.manual_seed(3)
    hidden, weight = torch.randn(9, 3, dtype=torch.float64, requires_grad=True), torch.randn(11, 3, dtype=torch.float64)
    targets, counts = torch.randint(0, 11, (9,)), (4, 1, 4)
    together = chunked_cross_entropies(hidden, weight, None, targets, counts, softcap=softcap, chunk=3)
    alone = torch.cat([
        chunked_cross_entropies(h, weight, None, t, [len(t)], softcap=softcap)
        for h, t in zip(hidden.split(counts), targets.split(counts), strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(together, alone)
    sizes = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
    (found,), (wanted,) = (torch.autograd.grad(sums @ sizes, hidden) for sums in (together, alone))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("targets", [("all-linear",), ("all-linear", "lm_head")], ids=["frozen-head", "head-with-lora"])
def test_token_loss_equals_the_models_own_logits(tiny_bases: Base, targets: tuple[str, ...]) -> None:
    """With LoRA on the head too: a fast loss that skips the head's own update is a classic silent error."""
    plan = make_plan(tiny_bases.model, PlanSpec(rank=3, dropout=0.0, targets=targets))
    trainable = attach(tiny_bases, plan, seed=0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    (batch,) = micro_batches(encode(tiny_bases.tokenizer, PAIRS, max_length=64), range(4), micro_tokens=4096)
    fast, plain = token_loss(trainable.model)(batch), plain_loss(trainable.model, batch)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-4)
    for one, other in zip(
        torch.autograd.grad(fast, list(trainable.trained.values())),
        torch.autograd.grad(plain, list(trainable.trained.values())),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_model_that_does_more_than_its_head_takes_the_plain_path(tiny_base: Base) -> None:
    head = tiny_base.model.get_output_embeddings()
    assert _head_is_all(tiny_base.model, head, None, None)
    forward = tiny_base.model.forward

    def scaled(*inputs: object, **named: object) -> object:
        output = forward(*inputs, **named)
        output.logits = output.logits * 0.5
        return output

    tiny_base.model.forward = scaled
    assert not _head_is_all(tiny_base.model, head, None, None)
    encoded = encode(tiny_base.tokenizer, PAIRS, max_length=64)
    (batch,) = micro_batches(encoded, range(4), micro_tokens=4096)
    assert torch.equal(token_loss(tiny_base.model)(batch), plain_loss(tiny_base.model, batch))


def test_mean_loss_does_not_depend_on_the_cut_and_draws_no_random_numbers(tiny_bases: Base) -> None:
    encoded = encode(tiny_bases.tokenizer, PAIRS, max_length=64)
    state = torch.get_rng_state()
    losses = [mean_loss(tiny_bases.model, encoded, micro_tokens=tokens) for tokens in (64, 256, 4096)]
    assert torch.equal(state, torch.get_rng_state())
    assert max(losses) - min(losses) < 1e-5
    one_by_one = []
    for row in range(len(encoded)):
        ids = torch.tensor([[*encoded.prompts[row], *encoded.completions[row]]])
        logits = tiny_bases.model(input_ids=ids).logits[0, len(encoded.prompts[row]) - 1 : -1]
        targets = torch.tensor(encoded.completions[row])
        one_by_one.append(float(functional.cross_entropy(logits, targets, reduction="sum")))
    assert abs(losses[0] - sum(one_by_one) / sum(map(len, encoded.completions))) < 1e-5
    assert len(set(one_by_one)) == len(PAIRS), "a row in the place of another would not be seen"
    for tokens in (1, 24, 4096):
        assert row_losses(tiny_bases.model, encoded, micro_tokens=tokens) == pytest.approx(one_by_one, abs=1e-4)

"""Blocks that are computed again: the same gradients bit for bit, less kept, and only where it is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine import footprint
from tsugiki.engine import recompute as module
from tsugiki.engine.attach import Trainable, attach
from tsugiki.engine.bank import attach_bank
from tsugiki.engine.base import Base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.footprint import training_bytes
from tsugiki.engine.gated_mlp import keeping_less
from tsugiki.engine.loss import token_loss
from tsugiki.engine.lowrank import products_of
from tsugiki.engine.norms import keeping_inputs
from tsugiki.engine.plan import make_plan
from tsugiki.engine.recompute import recomputes, recomputing
from tsugiki.engine.shared_input import sharing
from tsugiki.engine.train import train, train_bank
from tsugiki.errors import PlanError

PAIRS = [(f"部品 {index} {'軸受 ' * (index % 5)}: ", f"B-{index}") for index in range(14)]
RECIPE = Recipe(max_steps=6, batch_size=4, evaluations=2, learning_rate=5e-3, patience=100)
SPECS = {
    "lora": PlanSpec(rank=3, dropout=0.3),
    "dora": PlanSpec(rank=3, dropout=0.3, dora=True),
    "adapter": PlanSpec(method="adapter", width=4, dropout=0.3),
    "hybrid": PlanSpec(method="hybrid", rank=3, full_layers=("0",)),
    "full": PlanSpec(method="full"),
}


def trained(base: Base, spec: PlanSpec, recipe: Recipe) -> tuple[list[float], dict[str, torch.Tensor]]:
    trainable = attach(base, make_plan(base.model, spec), seed=0)
    data = encode(base.tokenizer, PAIRS, max_length=64)
    result = train(trainable, data, data, recipe, on_step=lambda step: None)
    parts = {name: part.detach().clone() for name, part in trainable.trained.items()}
    trainable.detach()
    return [entry["loss"] for entry in result.history], parts


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_training_is_the_same_bit_for_bit_with_dropout_on(tiny_bases: Base, spec: PlanSpec) -> None:
    losses, parts = trained(tiny_bases, spec, RECIPE.model_copy(update={"recompute": "never"}))
    again, others = trained(tiny_bases, spec, RECIPE.model_copy(update={"recompute": "always"}))
    assert losses == again
    assert all(torch.equal(part, others[name]) for name, part in parts.items())
    assert not any("forward" in vars(module) for module in tiny_bases.model.modules())


def kept_bytes(trainable: Trainable, loss: Any, batch: Any) -> int:
    """Bytes of all tensors that the graph of one loss keeps, weights left out."""
    kept: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in trainable.model.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(batch)
    total = sum(kept.values())
    del value
    return total


@pytest.mark.parametrize("spec", [PlanSpec(rank=3), PlanSpec(rank=3, dropout=0.0)], ids=["dropout", "plain"])
def test_what_is_kept_is_what_the_estimate_counts(tiny_bases: Base, spec: PlanSpec) -> None:
    """Norms of queries and keys included (Gemma 3). What is kept once for all blocks is not part of that estimate."""
    plan = make_plan(tiny_bases.model, spec)
    trainable = attach(tiny_bases, plan, seed=0)
    trainable.model.train()
    every = encode(tiny_bases.tokenizer, PAIRS, max_length=64)
    (batch,) = micro_batches(every, range(14), micro_tokens=4096, packed=True)
    with keeping_less(trainable.model, torch.float32), keeping_inputs(trainable.model):
        layers = trainable.low_rank_layers()
        with sharing(trainable.model, layers, products_of, lambda layer: layer.part.dropout):
            found = kept_bytes(trainable, token_loss(trainable.model), batch)
    sizes = footprint._Sizes(footprint.shapes_of(tiny_bases.model.config, torch.float32), plan, torch.float32, "none")
    tokens = batch.ids_BT.numel()
    estimated = tokens * sum(sizes._saved_per_token(block) for block in sizes.blocks)
    once = 64 * 4 * 2 * tokens  # what the last norm and the head keep
    assert 0.85 * estimated <= found <= 1.15 * (estimated + once)


def test_less_is_kept_than_otherwise(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=3)), seed=0)
    trainable.model.train()
    (batch,) = micro_batches(encode(tiny_base.tokenizer, PAIRS, max_length=64), range(14), micro_tokens=4096)
    loss = token_loss(trainable.model)
    plain = kept_bytes(trainable, loss, batch)
    with recomputing(trainable.model):
        assert kept_bytes(trainable, loss, batch) < plain / 4


def test_auto_recomputes_only_what_would_not_fit(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=3))
    needed = training_bytes(tiny_base, plan, tokens=4096)
    assert training_bytes(tiny_base, plan, tokens=4096, recompute=True) < needed
    for free, expected in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(module, "free_memory_bytes", lambda device, free=free: free)
        assert recomputes(tiny_base, plan, "auto", tokens=4096) is expected
        assert recomputes(tiny_base, plan, "never", tokens=4096) is False
        assert recomputes(tiny_base, plan, "always", tokens=4096) is True


def test_a_base_in_few_bits_needs_the_gaps_as_well(tiny_base: Base) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=3))
    packed = replace(tiny_base, spec=replace(tiny_base.spec, quantize="int8"))
    assert training_bytes(packed, plan, tokens=8) > training_bytes(tiny_base, plan, tokens=8)
    alike = [training_bytes(base, plan, tokens=8, recompute=True) for base in (packed, tiny_base)]
    assert alike[0] == alike[1]


def test_a_bank_refuses_it(tiny_base: Base) -> None:
    bank = attach_bank(tiny_base, [make_plan(tiny_base.model, PlanSpec(rank=3))], seeds=[0])
    data = encode(tiny_base.tokenizer, PAIRS, max_length=64)
    recipe = RECIPE.model_copy(update={"recompute": "always"})
    with pytest.raises(PlanError, match="bank does not recompute"):
        train_bank(bank, data, data, [recipe], on_step=lambda step: None)
    bank.detach()

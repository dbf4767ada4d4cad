"""Packed rows against padded ones: the same states, losses and gradients, and a base that cannot pack is found out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine import loss as loss_module
from tsugiki.engine import prefix_cache
from tsugiki.engine import train as train_module
from tsugiki.engine.attach import attach
from tsugiki.engine.attention import attention, masked_attention
from tsugiki.engine.base import Base
from tsugiki.engine.batches import encode, micro_batches
from tsugiki.engine.loss import mean_loss, token_loss
from tsugiki.engine.packing import KEYWORD, Rows, packs, row_arguments
from tsugiki.engine.plan import make_plan
from tsugiki.engine.structure import decoder_of
from tsugiki.engine.train import train

PAIRS = [(f"部品 {index} {'軸受 ' * (index % 5)}: ", f"B-{index}") for index in range(10)]
CPU = torch.device("cpu")
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@given(lengths, st.integers(1, 3))
def test_apart_and_together_again(sizes: list[int], heads: int) -> None:
    rows = Rows(sizes, CPU)
    x = torch.randn(1, heads, sum(sizes), 2)
    apart = rows.apart(x)
    assert apart.shape == (len(sizes), heads, max(sizes), 2)
    start = 0
    for place, size in enumerate(sizes):
        assert torch.equal(apart[place, :, :size], x[0, :, start : start + size])
        last = apart[place, :, size - 1 : size]
        assert torch.equal(apart[place, :, size:], last.expand(-1, max(sizes) - size, -1))
        assert torch.equal(rows.apart(x, 2)[place], apart[place].repeat_interleave(2, dim=0))
        gradient = rows.apart_over_zeros(x)[place]
        assert torch.equal(gradient[:, :size], apart[place, :, :size]) and not gradient[:, size:].any()
        start += size
    assert torch.equal(rows.together(apart), x.transpose(1, 2))
    assert rows.positions_1N.tolist() == [[place for size in sizes for place in range(size)]]


def block_mask(sizes: list[int], width: int = 10**6) -> Tensor:
    """Each row sees its own past, `width` tokens of it."""
    row = torch.cat([torch.full((size,), place) for place, size in enumerate(sizes)])
    every = torch.ones(len(row), len(row), dtype=torch.bool)
    return ((row[:, None] == row[None]) & every.tril() & every.triu(1 - width))[None, None]


@given(lengths)
def test_a_mask_that_says_more_than_the_rows_is_taken_apart(sizes: list[int]) -> None:
    rows = Rows(sizes, CPU)
    assert rows.mask_apart(None, causal=True) is None and rows.mask_apart(block_mask(sizes), causal=True) is None
    everything = torch.ones(1, 1, sum(sizes), sum(sizes), dtype=torch.bool)
    assert rows.mask_apart(everything.tril(), causal=True) is None  # a mask without borders gets them
    window = rows.mask_apart(block_mask(sizes, width=2), causal=True)
    assert (window is None) == (max(sizes) <= 2)
    for place, size in enumerate(sizes):
        if window is not None:
            own = torch.ones(size, size, dtype=torch.bool).tril().triu(-1)
            assert torch.equal(window[place, 0, :size, :size], own) and not window[place, 0, :, size:].any()
    same_count = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril().triu(-2)  # allows 21 pairs, as rows of 5 and 3 do
    assert Rows((5, 3), CPU).mask_apart(same_count, causal=True) is not None


@pytest.mark.parametrize("width", [10**6, 3])
def test_a_row_that_is_no_number_leaves_the_others_alone(width: int) -> None:
    """A candidate of a bank that diverges must not take the rest along, with a window neither."""
    torch.manual_seed(2)
    sizes = [4, 7, 5]
    tensors = [torch.randn(1, 2, 16, 8, requires_grad=True) for _ in range(3)]
    broken = [tensor.detach().clone() for tensor in tensors]
    for tensor in broken:
        tensor[:, :, 4:11] = float("nan")
        tensor.requires_grad_(True)
    found = []
    for q, k, v in (tensors, broken):
        y, _ = attention(torch.nn.Module(), q, k, v, block_mask(sizes, width), **{KEYWORD: Rows(sizes, CPU)})
        kept = torch.cat([y[:, :4], y[:, 11:]], dim=1)
        dq, dk, dv = torch.autograd.grad(y.nan_to_num().sum() if q is broken[0] else y.sum(), (q, k, v))
        found.append([kept, *(torch.cat([one[:, :, :4], one[:, :, 11:]], dim=2) for one in (dq, dk, dv))])
    for one, other in zip(*found, strict=True):
        assert torch.isfinite(other).all() and torch.equal(one, other)


def test_gradcheck_of_packed_attention() -> None:
    torch.manual_seed(0)
    rows = Rows((3, 1, 2), CPU)
    q, k, v = (torch.randn(1, heads, 6, 3, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    assert torch.autograd.gradcheck(
        lambda q, k, v: masked_attention(q, k, v, None, 0.7, rows), (q, k, v), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("learns", [True, False])
def test_packed_attention_is_attention_under_a_mask_of_blocks(learns: bool) -> None:
    torch.manual_seed(1)
    sizes = [4, 7, 1, 4]
    q, k, v = (torch.randn(1, 2, 16, 8, dtype=torch.float64, requires_grad=learns) for _ in range(3))
    mask = block_mask(sizes)
    ours, _ = attention(torch.nn.Module(), q, k, v, mask, **{KEYWORD: Rows(sizes, CPU)})
    theirs = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    if learns:
        dy = torch.randn_like(ours)
        for one, other in zip(
            torch.autograd.grad(ours, (q, k, v), dy), torch.autograd.grad(theirs, (q, k, v), dy), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("learns", [True, False])
def test_a_window_is_obeyed(learns: bool) -> None:
    torch.manual_seed(1)
    sizes = [4, 7, 5]
    q, k, v = (torch.randn(1, 2, 16, 8, dtype=torch.float64, requires_grad=learns) for _ in range(3))
    mask = block_mask(sizes, width=3)
    ours, _ = attention(torch.nn.Module(), q, k, v, mask, **{KEYWORD: Rows(sizes, CPU)})
    theirs = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("added", [True, False])
def test_a_mask_without_borders_gets_them(learns: bool, added: bool) -> None:
    """As a model makes it that leaves positions out of its masks (a window over the whole pass)."""
    torch.manual_seed(1)
    sizes = [4, 7, 5]
    q, k, v = (torch.randn(1, 2, 16, 8, dtype=torch.float64, requires_grad=learns) for _ in range(3))
    every = torch.ones(16, 16, dtype=torch.bool)
    window = (every.tril() & every.triu(-2))[None, None]
    given_mask = torch.zeros(window.shape, dtype=q.dtype).masked_fill(~window, -1e9) if added else window
    ours, _ = attention(torch.nn.Module(), q, k, v, given_mask, **{KEYWORD: Rows(sizes, CPU)})
    theirs = functional.scaled_dot_product_attention(q, k, v, attn_mask=block_mask(sizes, width=3)).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_attention_that_looks_ahead_stays_within_its_rows() -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 2, 7, 8, dtype=torch.float64) for _ in range(3))
    ours, _ = attention(torch.nn.Module(), q, k, v, None, is_causal=False, **{KEYWORD: Rows([3, 4], CPU)})
    for part in (slice(0, 3), slice(3, 7)):
        alone = functional.scaled_dot_product_attention(q[:, :, part], k[:, :, part], v[:, :, part])
        torch.testing.assert_close(ours[:, part], alone.transpose(1, 2), rtol=0, atol=1e-12)


def test_every_row_has_the_states_it_has_alone(tiny_bases: Base) -> None:
    """Sliding windows shorter than a row included (Gemma)."""
    encoded = encode(tiny_bases.tokenizer, PAIRS, max_length=64)
    (batch,) = micro_batches(encoded, range(10), micro_tokens=4096, packed=True)
    assert batch.lengths is not None and batch.ids_BT.shape == (1, sum(batch.lengths))
    assert packs(tiny_bases.model)
    decoder = decoder_of(tiny_bases.model)
    with torch.no_grad():
        told = row_arguments(batch.lengths, CPU)
        packed = decoder(input_ids=batch.ids_BT, use_cache=False, **told).last_hidden_state[0]
        for row, states, ids in zip(
            batch.rows, packed.split(batch.lengths), batch.ids_BT[0].split(batch.lengths), strict=True
        ):
            assert ids.tolist() == [*encoded.prompts[row], *encoded.completions[row][:-1]]
            alone = decoder(input_ids=ids[None], use_cache=False).last_hidden_state[0]
            torch.testing.assert_close(states, alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("spec", [PlanSpec(rank=4), PlanSpec(method="full")], ids=["lora", "full"])
def test_losses_and_gradients_equal_those_of_padded_rows(tiny_bases: Base, spec: PlanSpec) -> None:
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, spec), seed=0)
    for name, part in trainable.trained.items():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(part, std=0.1, generator=torch.Generator().manual_seed(1))
    encoded, loss = encode(tiny_bases.tokenizer, PAIRS, max_length=64), token_loss(tiny_bases.model)
    found = []
    for packed in (True, False):
        (batch,) = micro_batches(encoded, range(10), micro_tokens=4096, packed=packed)
        value = loss(batch) / len(batch.targets_N)
        found.append((value, torch.autograd.grad(value, list(trainable.trained.values()))))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("blocks", [("all",), ("last:1",)])
def test_a_whole_training_equals_that_on_padded_rows(
    tiny_bases: Base, blocks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With kept states too, and with dropout off: other shapes draw other numbers."""
    recipe = Recipe(max_steps=8, batch_size=4, micro_tokens=48, evaluations=2, learning_rate=5e-3)
    found = []
    for packed in (True, False):
        if not packed:
            for module in (train_module, loss_module, prefix_cache):
                monkeypatch.setattr(module, "packs", lambda model: False)
        data = encode(tiny_bases.tokenizer, PAIRS, max_length=64)
        plan = make_plan(tiny_bases.model, PlanSpec(rank=4, dropout=0.0, blocks=blocks))
        trainable = attach(tiny_bases, plan, seed=0)
        result = train(trainable, data, data, recipe, on_step=lambda step: None)
        held_out = mean_loss(tiny_bases.model, data, micro_tokens=48)
        trainable.detach()
        found.append([result.cached_blocks, held_out, *(entry["loss"] for entry in result.history)])
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_a_base_that_is_not_told_positions_gets_padded_rows(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bloom marks distance in its attention and takes no positions; another forgets them."""
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=64, hidden_size=32, n_layer=1, n_head=2)
    assert not packs(BloomForCausalLM(config))
    decoder = decoder_of(tiny_base.model)
    forward = decoder.forward

    def deaf(*, input_ids: Tensor, use_cache: bool, **_: Any) -> Any:
        return forward(input_ids=input_ids, use_cache=use_cache)

    monkeypatch.setattr(decoder, "forward", deaf)
    assert not packs(tiny_base.model)
    data = encode(tiny_base.tokenizer, PAIRS, max_length=64)
    padded = mean_loss(tiny_base.model, data, micro_tokens=64)
    monkeypatch.undo()
    assert padded == pytest.approx(mean_loss(tiny_base.model, data, micro_tokens=64), abs=1e-5)


def test_one_row_alone_needs_no_borders() -> None:
    assert row_arguments((5,), CPU) == {} == row_arguments(None, CPU)
    assert set(row_arguments((5, 2), CPU)) == {"position_ids", KEYWORD}


def test_memory_that_runs_out_while_trying_is_no_answer(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU it is a RuntimeError, which a decoder that does not pack may raise as well."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(type(decoder_of(tiny_base.model)), "forward", fails)
    said = "no such keyword"
    assert not packs(tiny_base.model)
    said = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    with pytest.raises(RuntimeError, match="can't allocate"):
        packs(tiny_base.model)

"""Ranks laid by the variance of the inputs: the shares against a slow twin, their laying out against peft's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.lora import eva

from tests.engine.test_parity_peft import logits_in_peft
from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine import rank_spread
from tsugiki.engine.adapter_files import save_adapter
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.batches import Encoded, encode
from tsugiki.engine.loss import mean_loss
from tsugiki.engine.plan import make_plan
from tsugiki.engine.rank_spread import explained_shares, share_out, spread_ranks
from tsugiki.engine.train import train

WORDS = ("pump", "valve", "seal", "relay", "motor")
PAIRS = [(f"report {WORDS[n % 5]} {n * n}", f" {WORDS[-n % 5]}") for n in range(40)]
falling = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(lambda values: sorted(values, reverse=True))
layers = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), falling, min_size=1, max_size=6)


@pytest.fixture
def examples(tiny_bases: Base) -> Encoded:
    return encode(tiny_bases.tokenizer, PAIRS, max_length=64)


@pytest.mark.parametrize("packed", [True, False])
def test_shares_are_those_of_a_decomposition_of_all_inputs(
    tiny_bases: Base, examples: Encoded, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twin: one row at a time, no padding anywhere, singular values of the centred inputs."""
    monkeypatch.setattr(rank_spread, "SAMPLED_TOKENS", 10**6)
    if not packed:
        monkeypatch.setattr(rank_spread, "packs", lambda model: False)
    names = list(make_plan(tiny_bases.model, PlanSpec(rank=4)).low_rank)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in names}
    hooks = [
        tiny_bases.model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen[name].append(inputs[0][0].double().numpy())
        )
        for name in names
    ]
    with torch.no_grad():
        for row in range(len(examples)):
            ids = [*examples.prompts[row], *examples.completions[row]][:-1]
            tiny_bases.model(input_ids=torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    found = explained_shares(tiny_bases, names, examples, most=8)
    for name in names:
        rows = np.concatenate(seen[name])
        values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
        np.testing.assert_allclose(found[name], (values / values.sum())[:8], atol=1e-5)


@given(layers, st.integers(0, 40))
def test_every_rank_is_given_and_no_layer_gets_more_than_it_has(shares: dict[str, list[float]], total: int) -> None:
    ranks = share_out(shares, total)
    assert sum(ranks.values()) == min(max(total, len(shares)), sum(map(len, shares.values())))
    assert all(1 <= ranks[name] <= len(shares[name]) for name in shares)
    taken = [shares[name][rank - 1] for name, rank in ranks.items() if rank > 1]
    left = [shares[name][rank] for name, rank in ranks.items() if rank < len(shares[name])]
    assert not taken or not left or min(taken) >= max(left)


@given(st.permutations(range(24)), st.integers(1, 23))
def test_ranks_equal_those_of_peft(order: list[int], total: int) -> None:
    """Without a least rank, which peft does not know; no two shares alike, since it orders those as it likes."""
    values = [(value + 1) / 300 for value in order]
    shares = {name: sorted(values[place * 6 : place * 6 + 6], reverse=True) for place, name in enumerate("abcd")}
    assert share_out(shares, total, least=0) == _peft_ranks(shares, total)


def _peft_ranks(shares: dict[str, list[float]], total: int) -> dict[str, int]:
    """peft keeps the function inside another one."""
    import inspect
    import textwrap
    from collections import Counter

    source = inspect.getsource(eva)
    start = source.index("    def _get_rank_distribution")
    end = source.index("\n\n", start)
    scope: dict[str, object] = {"torch": torch, "Counter": Counter}
    exec(textwrap.dedent(source[start:end]), scope)
    hooks = {
        name: (SimpleNamespace(svd=SimpleNamespace(explained_variance_ratio_=torch.tensor(falling))),)
        for name, falling in shares.items()
    }
    each, most = {name: name for name in shares}, dict.fromkeys(shares, 6)
    return dict(scope["_get_rank_distribution"](hooks, each, {}, total, most))  # type: ignore[operator]


@pytest.mark.parametrize("spec", [PlanSpec(rank=4), PlanSpec(rank=4, rslora=True, method="hybrid", full_layers=("1",))])
def test_a_spread_plan_trains_and_is_read_by_peft(
    tiny_bases: Base, examples: Encoded, spec: PlanSpec, tmp_path: Path
) -> None:
    even = make_plan(tiny_bases.model, spec)
    plan = spread_ranks(tiny_bases, even, examples)
    ranks = [part.rank for part in plan.low_rank.values()]
    assert sum(ranks) == sum(part.rank for part in even.low_rank.values())
    assert len(set(ranks)) > 1 and min(ranks) >= 1 and max(ranks) <= 8
    assert {part.scale for part in plan.low_rank.values()} == {part.scale for part in even.low_rank.values()}
    trainable = attach(tiny_bases, plan, seed=0)
    recipe = Recipe(max_steps=12, batch_size=4, learning_rate=5e-3, evaluations=3)
    before = mean_loss(trainable.model, examples, micro_tokens=0)
    found = train(trainable, examples, examples, recipe, on_step=lambda step: None)
    assert found.best_dev_loss < before
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        ours = trainable.model(input_ids=ids).logits
    save_adapter(trainable, tmp_path / "adapter", {})
    trainable.detach()
    torch.testing.assert_close(logits_in_peft(tiny_bases, tmp_path / "adapter", ids), ours, rtol=0, atol=1e-5)


def test_the_head_keeps_its_rank(tiny_llama_untied: Path) -> None:
    base = load_base(BaseSpec(str(tiny_llama_untied), precision="float32", device="cpu"))
    even = make_plan(base.model, PlanSpec(rank=4, targets=("all-linear", "lm_head")))
    plan = spread_ranks(base, even, encode(base.tokenizer, PAIRS, max_length=64))
    assert plan.low_rank["lm_head"] == even.low_rank["lm_head"] and plan != even


def test_the_base_is_as_it_was_and_rank_one_has_nothing_to_give(tiny_bases: Base, examples: Encoded) -> None:
    plan = make_plan(tiny_bases.model, PlanSpec(rank=1))
    assert spread_ranks(tiny_bases, plan, examples) is plan
    before = {name: value.clone() for name, value in tiny_bases.model.state_dict().items()}
    spread_ranks(tiny_bases, make_plan(tiny_bases.model, PlanSpec(rank=2)), examples)
    assert all(torch.equal(before[name], value) for name, value in tiny_bases.model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in tiny_bases.model.modules())
    assert not any(parameter.requires_grad for parameter in tiny_bases.model.parameters())

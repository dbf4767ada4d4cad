"""Candidates in a bank: each is what it would be alone, and the weak leave early."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine.attach import attach
from tsugiki.engine.bank import BankLinear, Share, attach_bank, join, why_alone
from tsugiki.engine.base import Base, live_weights_digest
from tsugiki.engine.batches import Encoded, encode, micro_batches
from tsugiki.engine.learner import Step, TrainResult
from tsugiki.engine.lowrank import LowRankLinear
from tsugiki.engine.plan import LowRank, make_plan
from tsugiki.engine.train import train, train_bank
from tsugiki.errors import PlanError, TrainingError

PAIRS = [(f"部品 {index} {'軸受 ' * (index % 5)}: ", f"B-{index}") for index in range(14)]
RECIPE = Recipe(max_steps=12, batch_size=4, evaluations=4, learning_rate=5e-3, checkpoint_every=3, patience=100)
CANDIDATES = [
    (PlanSpec(rank=2, dropout=0.3), RECIPE),
    (PlanSpec(rank=8, alpha=8.0, dropout=0.05), RECIPE.model_copy(update={"learning_rate": 1e-2, "seed": 7})),
    (
        PlanSpec(rank=4, alpha=4.0, dropout=0.0, rslora=True),
        RECIPE.model_copy(update={"lora_plus_ratio": 2.0, "batch_size": 3}),
    ),
    (PlanSpec(rank=3), RECIPE.model_copy(update={"micro_tokens": 64, "max_steps": 7, "schedule": "constant"})),
]


def data(base: Base) -> tuple[Encoded, Encoded]:
    return encode(base.tokenizer, PAIRS, max_length=64), encode(base.tokenizer, PAIRS[:5], max_length=64)


def solo(base: Base, spec: PlanSpec, recipe: Recipe) -> tuple[TrainResult, dict[str, torch.Tensor]]:
    trainable = attach(base, make_plan(base.model, spec), seed=recipe.seed)
    result = train(trainable, *data(base), recipe, on_step=lambda step: None)
    trainable.detach()
    return result, {name: parameter.detach() for name, parameter in trainable.trained.items()}


def together(base: Base, candidates: list[tuple[PlanSpec, Recipe]], **options: Any) -> Any:
    plans = [make_plan(base.model, spec) for spec, _ in candidates]
    bank = attach_bank(base, plans, seeds=[recipe.seed for _, recipe in candidates])
    on_step = options.pop("on_step", lambda step: None)
    try:
        results = train_bank(bank, *data(base), [recipe for _, recipe in candidates], on_step=on_step, **options)
    finally:
        bank.detach()
    return results, [candidate.trained for candidate in bank.candidates]


@pytest.mark.parametrize("blocks", [("all",), ("1",)], ids=["all-blocks", "top-block-from-the-cache"])
def test_every_candidate_equals_its_solo_run(tiny_bases: Base, blocks: tuple[str, ...]) -> None:
    """Ranks, rates, seeds, batch sizes, dropout and lengths of run all differ."""
    candidates = [(spec.model_copy(update={"blocks": blocks}), recipe) for spec, recipe in CANDIDATES]
    untouched = live_weights_digest(tiny_bases)
    results, parts = together(tiny_bases, candidates)
    for (spec, recipe), result, trained in zip(candidates, results, parts, strict=True):
        alone, own = solo(tiny_bases, spec, recipe)
        assert result.steps == alone.steps and result.best_step == alone.best_step
        assert result.tokens == alone.tokens
        assert result.cached_blocks == alone.cached_blocks == (0 if blocks == ("all",) else 1)
        for one, other in zip(result.history, alone.history, strict=True):
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert one["dev_loss"] == pytest.approx(other["dev_loss"], abs=1e-5)
        assert trained.keys() == own.keys()
        for name, part in trained.items():
            torch.testing.assert_close(part, own[name], rtol=0, atol=5e-4)
    assert live_weights_digest(tiny_bases) == untouched


def test_gradcheck_with_shares_of_different_width_and_dropout() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(5, 4, dtype=torch.float64).requires_grad_(False)
    members = [LowRankLinear(linear, LowRank(rank, 0.7, 0.4), torch.Generator().manual_seed(rank)) for rank in (1, 3)]
    for member in members:
        member.lora_B.data.normal_()
    generators = [torch.Generator(), torch.Generator()]
    layer = BankLinear(linear, members, generators)
    layer.shares = (Share(1, slice(0, 2), slice(0, 3)), Share(0, slice(2, 3), slice(0, 2)))
    x = torch.randn(3, 3, 5, dtype=torch.float64, requires_grad=True)
    weights = [member.lora_A for member in members] + [member.lora_B for member in members]

    def output(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        for generator in generators:
            generator.manual_seed(3)  # the same masks in every evaluation
        return layer(x)

    assert torch.autograd.gradcheck(output, (x, *weights), atol=1e-6, rtol=0)


def test_padding_gets_no_update() -> None:
    linear = nn.Linear(5, 4).requires_grad_(False)
    member = LowRankLinear(linear, LowRank(2, 1.0), torch.Generator().manual_seed(0))
    member.lora_B.data.normal_()
    layer = BankLinear(linear, [member], [torch.Generator()])
    layer.shares = (Share(0, slice(0, 1), slice(0, 2)),)
    x = torch.randn(2, 4, 5)
    y, plain = layer(x), linear(x)
    assert torch.equal(y[1], plain[1]) and torch.equal(y[0, 2:], plain[0, 2:])
    assert not torch.allclose(y[0, :2], plain[0, :2])


@pytest.mark.parametrize("packed", [True, False])
def test_joined_labels_point_at_the_same_tokens(tiny_base: Base, packed: bool) -> None:
    encoded = data(tiny_base)[0]
    short, long = (micro_batches(encoded, rows, micro_tokens=4096, packed=packed)[0] for rows in ((0, 5), (4, 9, 1)))
    joint = join([(2, short), (0, long)])
    assert [share.candidate for share in joint.shares] == [2, 0]
    for share, batch in zip(joint.shares, (short, long), strict=True):
        assert torch.equal(joint.ids_BT[share.rows, share.columns], batch.ids_BT)
    assert joint.lengths == (tuple(encoded.length(row) for row in (*short.rows, *long.rows)) if packed else None)
    for batch, (positions, targets) in zip((short, long), joint.labels, strict=True):
        assert torch.equal(joint.ids_BT.flatten()[positions], batch.ids_BT.flatten()[batch.positions_N])
        assert torch.equal(targets, batch.targets_N)
    alone = join([(1, short)])
    assert torch.equal(alone.ids_BT, short.ids_BT) and torch.equal(alone.labels[0][0], short.positions_N)


def test_the_weak_leave_and_the_rest_does_not_notice(tiny_base: Base) -> None:
    rates = (1e-5, 1e-2, 1e-4, 5e-3)
    candidates = [(PlanSpec(rank=2), RECIPE.model_copy(update={"learning_rate": rate})) for rate in rates]
    seen: list[Step] = []
    results, _ = together(tiny_base, candidates, keep={1: 2, 3: 1}, on_step=seen.append)
    everyone, _ = together(tiny_base, candidates)
    ranked = sorted(range(4), key=lambda at: everyone[at].history[2]["dev_loss"])
    first = {at: everyone[at].history[2]["dev_loss"] for at in range(4)}
    assert [results[at].steps for at in ranked[2:]] == [3, 3]
    assert sorted(results[at].steps for at in ranked[:2]) == [9, 12]
    winner = min(range(4), key=lambda at: results[at].best_dev_loss)
    assert results[winner].steps == 12 and not results[winner].stopped_early
    for at, result in enumerate(results):
        shared = everyone[at].history[: result.steps]
        assert [one["loss"] for one in result.history] == pytest.approx([one["loss"] for one in shared], abs=1e-5)
        assert result.stopped_early is (result.steps < 12)
        assert result.history[2]["dev_loss"] == pytest.approx(first[at], abs=1e-5)
    assert {step.candidate for step in seen if step.step > 9} == {winner}


def test_a_candidate_that_diverges_leaves_the_others_alone(tiny_base: Base) -> None:
    candidates = [CANDIDATES[0], (PlanSpec(rank=2), RECIPE)]
    plans = [make_plan(tiny_base.model, spec) for spec, _ in candidates]
    bank = attach_bank(tiny_base, plans, seeds=[0, 0])
    with torch.no_grad():
        next(iter(bank.candidates[1].trained.values())).fill_(float("inf"))
    good, bad = train_bank(bank, *data(tiny_base), [RECIPE, RECIPE], on_step=lambda step: None)
    bank.detach()
    assert isinstance(bad, TrainingError) and isinstance(good, TrainResult)
    alone, _ = solo(tiny_base, *CANDIDATES[0])
    assert good.best_dev_loss == pytest.approx(alone.best_dev_loss, abs=1e-5)
    assert math.isfinite(good.history[-1]["loss"])


@pytest.mark.parametrize("behind", [False, True], ids=["all-at-one-step", "one-starts-again"])
@pytest.mark.parametrize("killed_at", [5, 7, 8, 10])
def test_a_killed_bank_goes_on_as_if_nothing_had_happened(
    tiny_base: Base, tmp_path: Path, killed_at: int, behind: bool
) -> None:
    rates = (1e-5, 1e-2, 1e-4, 5e-3)
    candidates = [(PlanSpec(rank=2), RECIPE.model_copy(update={"learning_rate": rate})) for rate in rates]
    whole, _ = together(tiny_base, candidates, keep={2: 2})

    def killed(step: Step) -> None:
        if step.step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(tiny_base, candidates, keep={2: 2}, checkpoint=tmp_path, on_step=killed)
    if behind:
        (tmp_path / "candidate-0" / "checkpoint.safetensors").unlink()
    resumed, _ = together(tiny_base, candidates, keep={2: 2}, checkpoint=tmp_path)
    assert sorted(one.steps for one in whole) == [6, 6, 12, 12]
    for one, other in zip(whole, resumed, strict=True):
        assert (one.steps, one.tokens) == (other.steps, other.tokens)
        assert [entry["loss"] for entry in one.history] == pytest.approx(
            [entry["loss"] for entry in other.history], abs=1e-5
        )


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        ([PlanSpec(method="full")], "trains more than low-rank updates"),
        ([PlanSpec(method="adapter")], "trains more than low-rank updates"),
        ([PlanSpec(method="hybrid", full_layers=("0",))], "trains more than low-rank updates"),
        ([PlanSpec(dora=True)], "DoRA"),
        ([PlanSpec(targets=("q_proj", "lm_head"))], "adapts the head"),
        ([PlanSpec(targets=("q_proj",)), PlanSpec(targets=("v_proj",))], "name different layers"),
    ],
)
def test_what_cannot_share_a_bank_is_refused(tiny_base: Base, specs: list[PlanSpec], reason: str) -> None:
    plans = [make_plan(tiny_base.model, spec) for spec in specs]
    with pytest.raises(PlanError, match=reason):
        attach_bank(tiny_base, plans, seeds=[0] * len(plans))
    assert not [module for module in tiny_base.model.modules() if isinstance(module, BankLinear)]


def test_a_base_that_draws_random_numbers_itself_trains_candidates_alone(tiny_base: Base) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=2))
    assert why_alone(tiny_base, plan) is None
    tiny_base.model.model.layers[0].self_attn.attention_dropout = 0.1
    with pytest.raises(PlanError, match="draws random numbers"):
        attach_bank(tiny_base, [plan], seeds=[0])


def test_a_plan_that_fails_halfway_leaves_the_base_as_it_was(tiny_base: Base) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=2))
    broken = replace(plan, low_rank={**plan.low_rank, "model.norm": LowRank(2, 1.0)})
    before = [type(module) for module in tiny_base.model.modules()]
    with pytest.raises(PlanError, match=r"model\.norm is a LlamaRMSNorm, not a linear layer"):
        attach_bank(tiny_base, [broken], seeds=[0])
    with pytest.raises(PlanError, match=r"model\.norm is a LlamaRMSNorm, not a linear layer"):
        attach(tiny_base, broken, seed=0)
    assert [type(module) for module in tiny_base.model.modules()] == before

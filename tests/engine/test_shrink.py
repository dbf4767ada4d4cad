"""Cut updates are the best of their rank, and leave no trace where they are only tried."""

import pytest
import torch

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.plan import make_plan
from tsugiki.engine.shrink import losses_by_rank, shrink


def trained(base, **knobs):
    """A plan whose parts hold random numbers, the later ranks weaker than the earlier."""
    trainable = attach(base, make_plan(base.model, PlanSpec(rank=6, **knobs)), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, part in trainable.trained.items():
            if name.endswith(".lora_B"):
                part.copy_(torch.randn(part.shape, generator=generator) * 0.5 ** torch.arange(6))
    return trainable


def updates(trainable):
    return {name: layer.lora_B.detach() @ layer.lora_A.detach() for name, layer in trainable.low_rank_layers().items()}


def logits(base):
    with torch.no_grad():
        return base.model(input_ids=torch.arange(9)[None]).logits


@pytest.mark.parametrize("knobs", [{}, {"dora": True}, {"method": "hybrid", "full_layers": ("0",)}])
def test_a_cut_update_is_the_best_of_its_rank(tiny_base, knobs):
    trainable = trained(tiny_base, **knobs)
    before = updates(trainable)
    smaller = shrink(trainable, 2)
    for name, cut in updates(smaller).items():
        u, values, v = torch.linalg.svd(before[name])
        torch.testing.assert_close(cut, (u[:, :2] * values[:2]) @ v[:2], atol=1e-5, rtol=0)
        assert smaller.plan.low_rank[name].rank == 2
        assert smaller.plan.low_rank[name].scale == trainable.plan.low_rank[name].scale
    smaller.detach()


def test_a_cut_to_the_full_rank_changes_nothing(tiny_base):
    trainable = trained(tiny_base)
    before = logits(tiny_base)
    whole = shrink(trainable, 6)
    torch.testing.assert_close(logits(tiny_base), before, atol=1e-5, rtol=0)
    assert whole.trained.keys() == trainable.trained.keys()
    whole.detach()


def test_a_layer_narrower_than_its_rank_keeps_its_shape(tiny_base):
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=200)), seed=0)
    with torch.no_grad():
        for name, part in trainable.trained.items():
            if name.endswith(".lora_B"):
                part.normal_()
    before = updates(trainable)
    smaller = shrink(trainable, 150)
    for name, cut in updates(smaller).items():
        torch.testing.assert_close(cut, before[name], atol=1e-3, rtol=1e-4)
    smaller.detach()


def test_trying_ranks_ends_at_the_first_that_is_too_small_and_leaves_no_trace(tiny_base):
    trainable = trained(tiny_base)
    parts = {name: part.detach().clone() for name, part in trainable.trained.items()}
    whole = updates(trainable)

    def lost() -> float:
        return float(sum((whole[name] - cut).square().sum() for name, cut in updates(trainable).items()))

    found = losses_by_rank(trainable, (1, 2, 4, 6), lost, tolerance=float("inf"))
    assert list(found) == [6, 4, 2, 1]
    assert found[6] == 0 < found[4] < found[2] < found[1]
    stopped = losses_by_rank(trainable, (1, 2, 4, 6), lost, tolerance=(found[4] + found[2]) / 2)
    assert list(stopped) == [6, 4, 2]
    assert list(losses_by_rank(trainable, (1, 2, 4), lambda: float("nan"), tolerance=1.0)) == [4, 2]
    for name, part in trainable.trained.items():
        assert torch.equal(part, parts[name])
    trainable.detach()

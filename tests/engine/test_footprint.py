"""The estimate against what is really attached, and in the direction each knob must move it."""

from __future__ import annotations

import pytest
import torch

from tsugiki.config import MethodName, PlanSpec, Recipe
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base
from tsugiki.engine.footprint import Footprint, Workload, estimate_footprint, refuse_what_does_not_fit
from tsugiki.engine.plan import make_plan
from tsugiki.engine.structure import structure_of
from tsugiki.errors import DoesNotFit

TEXTS = Workload(longest_example=64, longest_prompt=48, max_new_tokens=16)


def estimate(base: Base, spec: PlanSpec, dtype: torch.dtype = torch.float32, **recipe: int) -> Footprint:
    return estimate_footprint(base.model.config, spec, Recipe(**recipe), TEXTS, dtype=dtype)


def part(footprint: Footprint, phase: str, name: str) -> int:
    return next(each for each in footprint.phases if each.name == phase).parts[name]


@pytest.mark.parametrize("method", ["lora", "adapter", "hybrid", "full"])
def test_the_counts_are_those_of_the_attached_parts(tiny_bases: Base, method: MethodName) -> None:
    footprint = estimate(tiny_bases, PlanSpec(method=method, rank=4, width=8))
    attached = PlanSpec(method=method, rank=4, width=8, full_layers=("1",))  # 'auto' sizes stand for any one block
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, attached), seed=0)
    assert footprint.trainable_parameters == trainable.trainable_parameters
    assert footprint.base_parameters == tiny_bases.identity.parameters
    assert part(footprint, "train", "weights") == footprint.base_parameters * 4
    assert part(footprint, "train", "optimiser") == footprint.trainable_parameters * 8


def test_nothing_is_allocated_for_an_estimate_and_a_merge_is_only_estimated_where_there_is_one(tiny_base: Base) -> None:
    lora, adapter = estimate(tiny_base, PlanSpec()), estimate(tiny_base, PlanSpec(method="adapter"))
    assert [phase.name for phase in lora.phases] == ["train", "evaluate", "generate", "merge", "save"]
    assert [phase.name for phase in adapter.phases] == ["train", "evaluate", "generate", "save"]
    assert lora.as_json()["peak"]["bytes"] == lora.peak.total == max(phase.total for phase in lora.phases)


def test_half_precision_halves_the_frozen_weights_and_adds_masters_only_to_full(tiny_base: Base) -> None:
    full, half = (estimate(tiny_base, PlanSpec(), dtype) for dtype in (torch.float32, torch.bfloat16))
    assert part(full, "train", "weights") == 2 * part(half, "train", "weights")
    assert part(full, "train", "optimiser") == part(half, "train", "optimiser")
    spec = PlanSpec(method="full")
    full, half = (estimate(tiny_base, spec, dtype) for dtype in (torch.float32, torch.bfloat16))
    masters = part(half, "train", "optimiser") - part(full, "train", "optimiser")
    assert masters == 4 * half.trainable_parameters


def test_activations_grow_with_the_tokens_of_a_micro_batch_up_to_the_batch(tiny_base: Base) -> None:
    small = estimate(tiny_base, PlanSpec(), micro_tokens=128, batch_size=8)
    large = estimate(tiny_base, PlanSpec(), micro_tokens=256, batch_size=8)
    assert part(large, "train", "activations") == pytest.approx(2 * part(small, "train", "activations"), rel=1e-6)
    capped = estimate(tiny_base, PlanSpec(), micro_tokens=100_000, batch_size=8)
    assert part(capped, "train", "activations") == pytest.approx(4 * part(small, "train", "activations"), rel=1e-6)


def test_a_base_in_few_bits_leaves_gaps_between_activations_on_a_cpu_alone(tiny_base: Base) -> None:
    packed = Recipe(quantize="int8", micro_tokens=8, batch_size=1)
    short = Workload(longest_example=8, longest_prompt=4, max_new_tokens=4)

    def found(recipe: Recipe, *, on_gpu: bool = False) -> dict[str, int]:
        config = tiny_base.model.config
        footprint = estimate_footprint(config, PlanSpec(), recipe, short, dtype=torch.float32, on_gpu=on_gpu)
        return dict(footprint.phases[-5].parts)  # train, behind the loading that only a CPU has

    blocks = [linear for block in structure_of(tiny_base.model).blocks for linear in block.linears]
    weights = [tiny_base.model.get_submodule(name).weight for name in blocks]
    assert found(packed)["gaps"] == sum(4 * (weight.numel() - 8 * len(weight)) for weight in weights)
    assert "gaps" not in found(packed, on_gpu=True)
    assert "gaps" not in found(packed.model_copy(update={"quantize": "none"}))
    assert "gaps" not in found(packed.model_copy(update={"recompute": "always"}))


def test_the_order_of_the_methods_is_the_one_the_product_claims(tiny_base: Base) -> None:
    lora, hybrid, full = (
        part(estimate(tiny_base, PlanSpec(method=method, rank=2)), "train", "optimiser")
        for method in ("lora", "hybrid", "full")
    )
    assert lora < hybrid < full


def test_what_does_not_fit_is_refused_with_the_phase_and_both_numbers(tiny_base: Base) -> None:
    footprint = estimate(tiny_base, PlanSpec(method="full"))
    refuse_what_does_not_fit(footprint, footprint.peak.total)
    with pytest.raises(DoesNotFit, match=r"The phase '\w+' needs about .* GB, most of it for .*, and 0\.0 GB are free"):
        refuse_what_does_not_fit(footprint, 1000)


def test_a_tied_weight_counts_once_whatever_it_is_called(tiny_base: Base) -> None:
    spec = PlanSpec(method="hybrid", rank=4, full_layers=("lm_head",))
    trainable = attach(tiny_base, make_plan(tiny_base.model, spec), seed=0)
    assert estimate(tiny_base, spec).trainable_parameters == trainable.trainable_parameters

"""Plans laid over real architectures: what is trained, what is counted, what is refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from tsugiki.config import MethodName, PlanSpec
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base
from tsugiki.engine.plan import make_plan, plan_from_json
from tsugiki.engine.structure import structure_of
from tsugiki.errors import BaseModelError, PlanError

SPECS = {
    "lora": PlanSpec(rank=4),
    "dora": PlanSpec(rank=4, dora=True, rslora=True),
    "adapter": PlanSpec(method="adapter", width=5),
    "hybrid": PlanSpec(method="hybrid", rank=2, full_layers=("0", "*.1.mlp.up_proj")),
    "full": PlanSpec(method="full"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_plan_survives_json(tiny_bases: Base, spec: PlanSpec) -> None:
    plan = make_plan(tiny_bases.model, spec)
    assert plan_from_json(json.loads(json.dumps(plan.as_json()))) == plan
    assert plan.describe()


def test_all_linear_means_the_seven_layers_of_every_block_and_not_the_head(tiny_bases: Base) -> None:
    plan = make_plan(tiny_bases.model, PlanSpec(rank=4))
    assert len(plan.low_rank) == 2 * 7
    assert not any("lm_head" in name for name in plan.low_rank)
    trainable = attach(tiny_bases, plan, seed=0)
    by_shape = sum(
        4 * (layer.base.in_features + layer.base.out_features) for layer in trainable.low_rank_layers().values()
    )
    assert trainable.trainable_parameters == by_shape
    assert trainable.trainable_share == by_shape / tiny_bases.identity.parameters


def test_scale_is_alpha_over_rank_or_over_its_root(tiny_base: Base) -> None:
    plain = make_plan(tiny_base.model, PlanSpec(rank=16, alpha=8.0))
    rooted = make_plan(tiny_base.model, PlanSpec(rank=16, alpha=8.0, rslora=True))
    assert {part.scale for part in plain.low_rank.values()} == {0.5}
    assert {part.scale for part in rooted.low_rank.values()} == {8 / math.sqrt(16)}


def test_full_is_every_weight_once_and_tied_weights_stay_tied(tiny_bases: Base) -> None:
    trainable = attach(tiny_bases, make_plan(tiny_bases.model, PlanSpec(method="full")), seed=0)
    assert trainable.trainable_share == 1.0
    model = tiny_bases.model
    tied = model.config.get_text_config().tie_word_embeddings
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_hybrid_trains_each_weight_one_way(tiny_bases: Base) -> None:
    plan = make_plan(tiny_bases.model, SPECS["hybrid"])
    assert not {f"{name}.weight" for name in plan.low_rank} & set(plan.full)
    assert "model.layers.1.mlp.up_proj.weight" in plan.full
    assert all(name.startswith("model.layers.1.") for name in plan.low_rank) and len(plan.low_rank) == 6
    norms = [name for name in plan.full if "norm" in name]
    assert norms, "a block that is trained in full includes its norms"


def test_only_the_parts_of_the_plan_require_a_gradient(tiny_bases: Base) -> None:
    for spec in SPECS.values():
        trainable = attach(tiny_bases, make_plan(tiny_bases.model, spec), seed=0)
        wanting = {id(parameter) for parameter in tiny_bases.model.parameters() if parameter.requires_grad}
        assert wanting == {id(parameter) for parameter in trainable.trained.values()}
        trainable.detach()
        assert not any(parameter.requires_grad for parameter in tiny_bases.model.parameters())


def test_detach_gives_back_the_very_same_modules(tiny_bases: Base) -> None:
    before = {name: id(module) for name, module in tiny_bases.model.named_modules()}
    weights = {name: id(parameter) for name, parameter in tiny_bases.model.named_parameters()}
    for spec in SPECS.values():
        attach(tiny_bases, make_plan(tiny_bases.model, spec), seed=0).detach()
    assert {name: id(module) for name, module in tiny_bases.model.named_modules()} == before
    assert {name: id(parameter) for name, parameter in tiny_bases.model.named_parameters()} == weights


def test_equal_seeds_give_equal_parts(tiny_base: Base) -> None:
    plan, drawn = make_plan(tiny_base.model, PlanSpec(rank=4)), []
    for seed in (1, 1, 2):
        trainable = attach(tiny_base, plan, seed=seed)
        drawn.append([parameter.detach().clone() for parameter in trainable.trained.values()])
        trainable.detach()
    assert all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[2], strict=True))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PlanSpec(targets=("qkv",)), "no linear layer of LlamaForCausalLM ends with 'qkv'.*q_proj"),
        (PlanSpec(method="hybrid", full_layers=("7",)), "there is no block 7; the base has blocks 0 to 1"),
        (PlanSpec(method="hybrid", full_layers=("*.nothing",)), r"matches '\*.nothing'"),
        (PlanSpec(method="hybrid", full_layers=("0", "1")), "No linear layer is left for a low-rank update"),
        (PlanSpec(method="hybrid", full_layers=("auto",)), "still 'auto'"),
        (PlanSpec(blocks=("2",)), "blocks: there is no block 2; the base has blocks 0 to 1"),
        (PlanSpec(blocks=("last:0",)), "'last:0' names no blocks of a base that has 2.*'last:2'"),
        (PlanSpec(method="adapter", blocks=("top",)), "'top' names no blocks"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(tiny_base: Base, spec: PlanSpec, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(tiny_base.model, spec)


def test_a_plan_of_another_base_is_refused(tiny_base: Base) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(rank=2))
    other = plan_from_json({**plan.as_json(), "low_rank": {"model.layers.9.mlp.up_proj": {"rank": 2, "scale": 1.0}}})
    with pytest.raises(PlanError, match=r"no module model.layers.9"):
        attach(tiny_base, other, seed=0)
    wrong = plan_from_json({**plan.as_json(), "low_rank": {}, "full": ["model.norm.bias"]})
    with pytest.raises(PlanError, match=r"no weight model.norm.bias"):
        attach(tiny_base, wrong, seed=0)


@pytest.mark.parametrize("method", ["lora", "adapter", "hybrid"])
def test_small_parts_stand_in_the_chosen_blocks_only(tiny_base: Base, method: MethodName) -> None:
    plan = make_plan(tiny_base.model, PlanSpec(method=method, blocks=("last:1",), full_layers=("0.mlp.up_proj",)))
    assert all(name.startswith("model.layers.1.") for name in (*plan.low_rank, *plan.bottlenecks))
    assert plan.full == (("model.layers.0.mlp.up_proj.weight",) if method == "hybrid" else ())
    both = make_plan(tiny_base.model, PlanSpec(method=method, blocks=("0", "-1"), full_layers=("0.mlp.up_proj",)))
    assert both == make_plan(tiny_base.model, PlanSpec(method=method, full_layers=("0.mlp.up_proj",)))


def test_a_model_without_decoder_blocks_is_refused() -> None:
    with pytest.raises(BaseModelError, match="Sequential has no list of decoder blocks"):
        structure_of(nn.Sequential(nn.Linear(2, 2)))


def test_a_tied_weight_named_twice_is_trained_once_and_given_back(tiny_base: Base) -> None:
    spec = PlanSpec(method="hybrid", rank=2, full_layers=("lm_head", "embed_tokens"))
    model = tiny_base.model
    frozen = model.get_input_embeddings().weight
    trainable = attach(tiny_base, make_plan(model, spec), seed=0)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight is not frozen
    assert sum(parameter.shape == frozen.shape for parameter in trainable.trained.values()) == 1
    trainable.detach()
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight is frozen
    assert not frozen.requires_grad


def test_the_blocks_are_those_of_the_language_model_and_not_of_a_tower_before_it() -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**small, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 300},
        vision_config={**small, "image_size": 28, "patch_size": 14},
    )
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(config)
    towers = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    assert any("vision" in name for name in towers)
    structure = structure_of(model)
    assert len(structure.blocks) == 2 and all("language_model.layers." in block.name for block in structure.blocks)
    assert model.get_submodule(structure.blocks[1].mlp) is model.get_decoder().layers[1].mlp


def test_a_linear_layer_that_does_more_is_left_alone(tiny_base: Base) -> None:
    class Router(nn.Linear):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            y = super().forward(x)
            return y, y.argmax(dim=-1)

    class Renamed(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.T

    mlp = tiny_base.model.model.layers[0].mlp
    mlp.router, mlp.other = Router(64, 4, bias=False), Renamed(64, 4, bias=False)
    linears = structure_of(tiny_base.model).linears
    assert "model.layers.0.mlp.other" in linears and "model.layers.0.mlp.router" not in linears
    with pytest.raises(PlanError, match="no linear layer"):
        make_plan(tiny_base.model, PlanSpec(targets=("router",)))

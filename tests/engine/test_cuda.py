"""On a GPU: what is trained, answered and saved there is what a CPU trains, answers and saves. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.engine.test_generate import PROMPTS
from tests.engine.test_train import PLANS, RECIPE, data
from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine.adapter_files import load_adapter, save_adapter
from tsugiki.engine.attach import Trainable, attach, merge, unmerge
from tsugiki.engine.bank import attach_bank
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base
from tsugiki.engine.generate import generate
from tsugiki.engine.gradients import choose_blocks
from tsugiki.engine.learner import Step, TrainResult
from tsugiki.engine.loss import mean_loss
from tsugiki.engine.plan import make_plan
from tsugiki.engine.train import train, train_bank
from tsugiki.errors import DoesNotFit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

KINDS = ("tiny_llama", "tiny_llama_untied", "tiny_qwen2", "tiny_gemma3")


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


@pytest.fixture
def limited() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def load(folder: Path, device: str, precision: str = "float32", quantize: str = "none") -> Base:
    return load_base(BaseSpec(str(folder), precision, device, quantize))  # type: ignore[arg-type]


def run(base: Base, spec: PlanSpec, recipe: Recipe = RECIPE, **options: Path) -> tuple[Trainable, TrainResult]:
    trainable = attach(base, make_plan(base.model, spec), seed=recipe.seed)
    return trainable, train(trainable, *data(base), recipe, on_step=lambda step: None, **options)


def no_dropout(spec: PlanSpec) -> PlanSpec:
    """Both devices draw other random numbers."""
    return spec.model_copy(update={"dropout": 0.0})


def losses(result: TrainResult) -> list[float]:
    return [value for entry in result.history for value in (entry["loss"], entry["dev_loss"])]


@pytest.mark.parametrize("spec", PLANS.values(), ids=PLANS)
def test_every_method_takes_the_course_that_it_takes_on_a_cpu(folder: Path, spec: PlanSpec) -> None:
    (_, there), (_, here) = run(load(folder, "cuda"), no_dropout(spec)), run(load(folder, "cpu"), no_dropout(spec))
    assert losses(there) == pytest.approx(losses(here), abs=2e-3)
    assert (there.steps, there.tokens) == (here.steps, here.tokens)


@pytest.mark.parametrize("spec", PLANS.values(), ids=PLANS)
def test_every_method_learns_in_bfloat16_and_leaves_the_base_untouched(folder: Path, spec: PlanSpec) -> None:
    base = load(folder, "cuda", "auto")
    assert base.dtype == torch.bfloat16, "a GPU of today multiplies it natively"
    rate = 2e-3 if spec.method == "full" else 1e-2
    before = live_weights_digest(base)
    untouched = mean_loss(base.model, data(base)[1], micro_tokens=4096)
    trainable, result = run(base, spec, RECIPE.model_copy(update={"max_steps": 30, "learning_rate": rate}))
    assert result.best_dev_loss < untouched - 0.5
    trainable.detach()
    assert live_weights_digest(base) == before
    assert mean_loss(base.model, data(base)[1], micro_tokens=4096) == untouched


def test_blocks_that_nobody_trains_are_computed_once_and_change_nothing(folder: Path) -> None:
    """The last block alone is trained, so that the states below it can be kept."""
    spec = PlanSpec(rank=4, dropout=0.0, blocks=("last:1",))
    (_, there), (_, here) = run(load(folder, "cuda"), spec), run(load(folder, "cpu"), spec)
    assert there.cached_blocks == here.cached_blocks == 1
    assert losses(there) == pytest.approx(losses(here), abs=2e-3)


def test_activations_computed_again_are_the_same(folder: Path) -> None:
    again = RECIPE.model_copy(update={"recompute": "always"})
    (_, kept), (_, computed) = run(load(folder, "cuda"), PLANS["lora"]), run(load(folder, "cuda"), PLANS["lora"], again)
    assert computed.recomputed and not kept.recomputed
    assert losses(computed) == pytest.approx(losses(kept), abs=2e-3)


def test_candidates_of_a_bank_take_their_own_course(folder: Path) -> None:
    specs = [PlanSpec(rank=2, dropout=0.3), PlanSpec(rank=8, alpha=8.0, dropout=0.05)]
    recipes = [RECIPE, RECIPE.model_copy(update={"learning_rate": 1e-2, "seed": 7})]
    base = load(folder, "cuda")
    plans = [make_plan(base.model, spec) for spec in specs]
    bank = attach_bank(base, plans, seeds=[recipe.seed for recipe in recipes])
    found = train_bank(bank, *data(base), recipes, on_step=lambda step: None)
    bank.detach()
    for spec, recipe, result in zip(specs, recipes, found, strict=True):
        trainable, alone = run(base, spec, recipe)
        trainable.detach()
        assert isinstance(result, TrainResult)
        assert losses(result) == pytest.approx(losses(alone), abs=2e-3)


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_a_base_in_few_bits_trains_as_on_a_cpu(tiny_gemma3: Path, quantize: str) -> None:
    if quantize == "nf4":
        pytest.importorskip("bitsandbytes")
    spec = PlanSpec(rank=4, dropout=0.0)
    there = run(load(tiny_gemma3, "cuda", quantize=quantize), spec)[1]
    here = run(load(tiny_gemma3, "cpu", quantize=quantize), spec)[1]
    assert losses(there) == pytest.approx(losses(here), abs=2e-3)


def test_answers_are_those_of_a_cpu(folder: Path) -> None:
    answers = [generate(base.model, base.tokenizer, PROMPTS, max_new_tokens=12)
               for base in (load(folder, "cuda"), load(folder, "cpu"))]  # fmt: skip
    assert answers[0] == answers[1]


@pytest.mark.parametrize("spec", PLANS.values(), ids=PLANS)
def test_an_adapter_trained_on_a_gpu_serves_on_a_cpu(tiny_llama: Path, tmp_path: Path, spec: PlanSpec) -> None:
    trainable, result = run(load(tiny_llama, "cuda"), spec)
    save_adapter(trainable, tmp_path / "adapter", {})
    base = load(tiny_llama, "cpu")
    loaded = load_adapter(base, tmp_path / "adapter")
    loss = mean_loss(loaded.model, data(base)[1], micro_tokens=4096)
    assert loss == pytest.approx(result.best_dev_loss, abs=1e-3)


def test_what_is_merged_answers_alike_and_comes_out_again(tiny_llama: Path) -> None:
    trainable, _ = run(load(tiny_llama, "cuda"), PLANS["lora"])
    base = trainable.base
    apart = generate(trainable.model, base.tokenizer, PROMPTS, max_new_tokens=8)
    assert merge(trainable) < 1e-4
    assert generate(trainable.model, base.tokenizer, PROMPTS, max_new_tokens=8) == apart
    unmerge(trainable)
    assert generate(trainable.model, base.tokenizer, PROMPTS, max_new_tokens=8) == apart


def test_a_killed_run_goes_on(tiny_llama: Path, tmp_path: Path) -> None:
    whole = run(load(tiny_llama, "cuda"), PLANS["lora"])[1]

    def killed(step: Step) -> None:
        if step.step == 8:
            raise KeyboardInterrupt

    base = load(tiny_llama, "cuda")
    trainable = attach(base, make_plan(base.model, PLANS["lora"]), seed=RECIPE.seed)
    with pytest.raises(KeyboardInterrupt):
        train(trainable, *data(base), RECIPE, on_step=killed, checkpoint=tmp_path)
    resumed = run(load(tiny_llama, "cuda"), PLANS["lora"], checkpoint=tmp_path)[1]
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-4)


def test_memory_that_runs_out_in_training_is_said_with_advice(tiny_llama: Path, limited: None) -> None:
    """This process may have no more than it has, and all of that is taken."""
    base = load(tiny_llama, "cuda")
    trainable = attach(base, make_plan(base.model, PLANS["lora"]), seed=0)
    held = torch.cuda.memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(held)
    taken, size = [], 2**22
    while size >= 512:
        try:
            taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    with pytest.raises(DoesNotFit, match="Out of memory"):
        train(trainable, *data(base), RECIPE, on_step=lambda step: None)


def test_layers_for_a_hybrid_are_chosen_as_on_a_cpu(tiny_llama: Path) -> None:
    spec = PlanSpec(method="hybrid", rank=4)
    chosen = []
    for device in ("cuda", "cpu"):
        base = load(tiny_llama, device)
        chosen.append(choose_blocks(base, data(base)[0], spec, micro_tokens=4096))
    assert chosen[0] == chosen[1]

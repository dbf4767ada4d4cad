"""The loop: it learns, resumes bit for bit, weighs tokens, proves gradients and keeps the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine import train as train_module
from tsugiki.engine import turns
from tsugiki.engine.attach import Trainable, attach
from tsugiki.engine.attention import NAME
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base
from tsugiki.engine.batches import Encoded, encode
from tsugiki.engine.checkpoint import FILE
from tsugiki.engine.gradients import choose_blocks, gradient_ratios
from tsugiki.engine.learner import Step, TrainResult
from tsugiki.engine.loss import mean_loss
from tsugiki.engine.optimizer import MasterAdamW
from tsugiki.engine.plan import make_plan
from tsugiki.engine.train import train
from tsugiki.errors import DoesNotFit, TrainingError

WORDS = ["軸受", "ポンプ", "弁", "diode", "relay", "fuse", "motor", "継手"]
PAIRS = [(f"部品 {index} {word}: ", f"{word[0]}-{index}") for index, word in enumerate(WORDS * 2)]
RECIPE = Recipe(max_steps=12, batch_size=4, evaluations=4, learning_rate=5e-3, checkpoint_every=3, patience=100)
PLANS = {
    "lora": PlanSpec(rank=4),
    "dora": PlanSpec(rank=4, dora=True),
    "adapter": PlanSpec(method="adapter", width=8),
    "parallel": PlanSpec(method="adapter", bottleneck="parallel", width=8),
    "hybrid": PlanSpec(method="hybrid", rank=4, full_layers=("-1",)),
    "full": PlanSpec(method="full"),
}


def data(base: Base) -> tuple[Encoded, Encoded]:
    encoded = encode(base.tokenizer, PAIRS, max_length=64)
    return encoded, encode(base.tokenizer, PAIRS[:6], max_length=64)


def run(
    base: Base, spec: PlanSpec, recipe: Recipe = RECIPE, **options: Any
) -> tuple[Trainable, TrainResult, list[Step]]:
    steps: list[Step] = []
    trainable = attach(base, make_plan(base.model, spec), seed=recipe.seed)
    train_set, dev_set = data(base)
    on_step = options.pop("on_step", steps.append)
    result = train(trainable, train_set, dev_set, recipe, on_step=on_step, **options)
    return trainable, result, steps


@pytest.mark.parametrize("spec", PLANS.values(), ids=PLANS)
def test_every_method_learns_and_leaves_the_base_untouched(tiny_bases: Base, spec: PlanSpec) -> None:
    recipe = RECIPE.model_copy(update={"max_steps": 30, "learning_rate": 2e-3 if spec.method == "full" else 1e-2})
    before, untouched = (
        live_weights_digest(tiny_bases),
        mean_loss(tiny_bases.model, data(tiny_bases)[1], micro_tokens=4096),
    )
    trainable, result, steps = run(tiny_bases, spec, recipe)
    assert result.best_dev_loss < untouched - 0.5
    assert abs(mean_loss(trainable.model, data(tiny_bases)[1], micro_tokens=4096) - result.best_dev_loss) < 1e-5
    assert [step.step for step in steps] == list(range(1, result.steps + 1))
    epochs, rest = divmod(30 * recipe.batch_size, len(PAIRS))
    assert epochs * data(tiny_bases)[0].tokens < result.tokens <= (epochs + bool(rest)) * data(tiny_bases)[0].tokens
    trainable.detach()
    assert live_weights_digest(tiny_bases) == before
    assert mean_loss(tiny_bases.model, data(tiny_bases)[1], micro_tokens=4096) == untouched


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", PLANS.values(), ids=PLANS)
def test_half_then_resume_then_half_is_the_whole_bit_for_bit(
    tiny_llama: Path, tmp_path: Path, spec: PlanSpec, precision: str
) -> None:
    """The process is killed in the middle of a step after the checkpoint; a new one goes on from the file alone."""
    base_spec = BaseSpec(str(tiny_llama), precision, "cpu")  # type: ignore[arg-type]
    whole, whole_result, _ = run(load_base(base_spec), spec)

    def killed(step: Step) -> None:
        if step.step == 8:  # the last checkpoint is that of step 6
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(load_base(base_spec), spec, checkpoint=tmp_path, on_step=killed)
    torch.manual_seed(12345)
    resumed, resumed_result, steps = run(load_base(base_spec), spec, checkpoint=tmp_path)
    assert steps[0].step == 7
    assert resumed_result.history == whole_result.history
    assert resumed_result.best_step == whole_result.best_step
    for name, parameter in whole.trained.items():
        assert torch.equal(parameter, resumed.trained[name]), name


def test_a_checkpoint_of_other_inputs_is_refused(tiny_base: Base, tmp_path: Path) -> None:
    trainable, _, _ = run(tiny_base, PlanSpec(rank=4), checkpoint=tmp_path)
    trainable.detach()
    with pytest.raises(TrainingError, match="made with another plan, recipe"):
        run(tiny_base, PlanSpec(rank=2), RECIPE.model_copy(update={"seed": 4}), checkpoint=tmp_path)


def test_a_damaged_checkpoint_is_named(tiny_base: Base, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x10\0\0\0\0\0\0\0not a header")
    with pytest.raises(TrainingError, match="cannot be read"):
        run(tiny_base, PlanSpec(rank=4), checkpoint=tmp_path)


def test_only_the_best_file_that_the_checkpoint_names_stays(tiny_base: Base, tmp_path: Path) -> None:
    _, result, _ = run(tiny_base, PlanSpec(rank=4), checkpoint=tmp_path)
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == [f"best-{result.best_step}.safetensors", FILE]


def test_accumulated_micro_batches_equal_the_large_batch(tiny_base: Base) -> None:
    """Rows of very different length, so that a mean of means would be wrong."""
    spec = PlanSpec(rank=4, dropout=0.0)
    recipes = [RECIPE.model_copy(update={"micro_tokens": tokens, "max_steps": 5}) for tokens in (64, 4096)]
    losses = []
    for recipe in recipes:
        trainable, result, _ = run(tiny_base, spec, recipe)
        losses.append([entry["loss"] for entry in result.history])
        trainable.detach()
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_seeds_repeat_a_run_and_change_it(tiny_base: Base) -> None:
    histories = []
    for seed in (0, 0, 1):
        torch.manual_seed(torch.seed() % 1000)
        trainable, result, _ = run(
            tiny_base, PlanSpec(rank=4), RECIPE.model_copy(update={"seed": seed, "max_steps": 4})
        )
        histories.append(result.history)
        trainable.detach()
    assert histories[0] == histories[1] != histories[2]


def test_a_part_that_nothing_reaches_stops_training_by_name(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=4)), seed=0)
    name, layer = next(iter(trainable.low_rank_layers().items()))
    layer.forward = layer.base.forward  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=rf"reaches {name}.lora_B"):
        train(trainable, *data(tiny_base), RECIPE, on_step=lambda step: None)


def test_a_diverging_run_stops_with_its_learning_rate(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=4)), seed=0)
    with torch.no_grad():
        next(iter(trainable.trained.values())).fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"diverged|No finite"):
        train(trainable, *data(tiny_base), RECIPE, on_step=lambda step: None)


def test_a_run_that_diverges_later_on_says_at_which_step_and_rate(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=4)), seed=0)

    def spoil(step: Any) -> None:
        if step.step == 3:
            next(iter(trainable.trained.values())).data.fill_(float("inf"))

    with pytest.raises(TrainingError, match=rf"at step 4; training has diverged.*it is {RECIPE.learning_rate:g}"):
        train(trainable, *data(tiny_base), RECIPE.model_copy(update={"evaluations": 1}), on_step=spoil)


def test_a_dev_loss_that_is_no_number_stops_the_run(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PlanSpec(rank=4)), seed=0)
    recipe = RECIPE.model_copy(update={"evaluations": RECIPE.max_steps})
    real = turns._one_step

    def spoiling(*given: Any) -> Any:
        found = real(*given)
        next(iter(trainable.trained.values())).data.fill_(float("nan"))
        return found

    with pytest.MonkeyPatch.context() as patched, pytest.raises(TrainingError, match=r"dev loss is nan at step 1"):
        patched.setattr(turns, "_one_step", spoiling)
        train(trainable, *data(tiny_base), recipe, on_step=lambda step: None)


def test_an_error_before_the_first_step_leaves_nothing_behind(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(BaseSpec(str(tiny_llama), "bfloat16", "cpu"))
    trainable = attach(base, make_plan(base.model, PlanSpec(method="full")), seed=0)
    real = train_module.packs

    def failing(model: Any) -> bool:
        model.train()
        raise RuntimeError("no luck")

    monkeypatch.setattr(train_module, "packs", failing)
    with pytest.raises(RuntimeError, match="no luck"):
        train(trainable, *data(base), RECIPE, on_step=lambda step: None)
    assert not base.model.training
    monkeypatch.setattr(train_module, "packs", real)
    assert train(trainable, *data(base), RECIPE, on_step=lambda step: None).steps > 0


def test_early_stop_returns_the_best_weights(tiny_base: Base) -> None:
    recipe = Recipe(max_steps=200, batch_size=4, evaluations=100, learning_rate=0.5, patience=3, schedule="constant")
    trainable, result, steps = run(tiny_base, PlanSpec(rank=4, dropout=0.0), recipe)
    assert result.stopped_early and len(steps) == result.steps < 200
    dev = [entry["dev_loss"] for entry in result.history if entry["dev_loss"] is not None]
    assert result.best_dev_loss == min(dev)
    assert abs(mean_loss(trainable.model, data(tiny_base)[1], micro_tokens=4096) - min(dev)) < 1e-5


def test_out_of_memory_is_a_result_with_the_next_step(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(turns, "_one_step", full)
    with pytest.raises(DoesNotFit, match=r"batches of 192 tokens.*Halve micro_tokens"):
        run(tiny_base, PlanSpec(rank=4))


def test_a_bfloat16_base_is_trained_through_float32_masters(tiny_llama: Path) -> None:
    """An update far below bfloat16's resolution must add up over steps instead of being rounded away."""
    base = load_base(BaseSpec(str(tiny_llama), "bfloat16", "cpu"))
    recipe = RECIPE.model_copy(
        update={"learning_rate": 2e-5, "max_steps": 40, "schedule": "constant", "evaluations": 1}
    )
    trainable, _, _ = run(base, PlanSpec(method="full"), recipe)
    moved = (
        sum(int((trainable.trained[name] != frozen).sum()) for name, frozen in trainable.replaced.items())
        / trainable.trainable_parameters
    )
    assert moved > 0.2
    assert all(parameter.dtype == torch.bfloat16 for parameter in trainable.trained.values())


def test_gradient_ratio_finds_the_block_that_is_out_of_tune(tiny_base: Base) -> None:
    with torch.no_grad():
        tiny_base.model.model.layers[0].mlp.down_proj.weight.mul_(1e-3)
    encoded, _ = data(tiny_base)
    ratios = gradient_ratios(tiny_base, encoded, micro_tokens=4096)
    assert set(ratios) == {0, 1} and ratios[0] > ratios[1]
    spec = PlanSpec(method="hybrid", full_layers=("auto",), full_blocks=1)
    assert choose_blocks(tiny_base, encoded, spec, micro_tokens=4096).full_layers == ("0",)
    assert not any(parameter.requires_grad for parameter in tiny_base.model.parameters())


def test_hybrid_gives_full_layers_their_own_rate(tiny_base: Base) -> None:
    trainable = attach(tiny_base, make_plan(tiny_base.model, PLANS["hybrid"]), seed=0)
    optimizer = MasterAdamW(trainable, RECIPE.model_copy(update={"lora_plus_ratio": 4.0}))
    assert sorted(optimizer.peaks) == pytest.approx([5e-4, 5e-3, 2e-2])
    trainable.detach()


def test_training_leaves_the_choice_of_attention_alone(tiny_base: Base) -> None:
    """An estimate made on the way must not write into the configuration of the base."""
    assert tiny_base.model.config._attn_implementation == NAME
    run(tiny_base, PlanSpec(rank=2))
    assert tiny_base.model.config._attn_implementation == NAME


def test_the_estimate_for_recomputing_counts_the_largest_pass(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(train_module, "recomputes", lambda *_, tokens: bool(asked.append(tokens)))
    longest = max(map(data(tiny_base)[0].length, range(len(PAIRS))))
    for micro_tokens, expected in ((64, 64), (100_000, 4 * longest), (1, longest)):
        trainable, _, _ = run(tiny_base, PlanSpec(rank=2), RECIPE.model_copy(update={"micro_tokens": micro_tokens}))
        trainable.detach()
        assert asked.pop() == expected

"""What enters the lowest trained block is computed once per row, and training cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine import train as train_module
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base
from tsugiki.engine.batches import Encoded, encode, micro_batches
from tsugiki.engine.learner import TrainResult
from tsugiki.engine.packing import row_arguments
from tsugiki.engine.plan import Plan, make_plan
from tsugiki.engine.prefix_cache import cut_below, frozen_blocks, with_states, worth_caching
from tsugiki.engine.structure import decoder_of, structure_of
from tsugiki.engine.train import train

PAIRS = [(f"部品 {index} {'軸受 ' * (index % 5)}: ", f"B-{index}") for index in range(14)]
TOP = PlanSpec(rank=4, blocks=("1",))
RECIPE = Recipe(max_steps=9, batch_size=4, evaluations=3, learning_rate=5e-3, patience=100)


def data(base: Base) -> tuple[Encoded, Encoded]:
    return encode(base.tokenizer, PAIRS, max_length=64), encode(base.tokenizer, PAIRS[:5], max_length=64)


def run(base: Base, spec: PlanSpec, recipe: Recipe = RECIPE, **options: Any) -> tuple[TrainResult, dict[str, Any]]:
    trainable = attach(base, make_plan(base.model, spec), seed=0)
    result = train(trainable, *data(base), recipe, on_step=lambda step: None, **options)
    parts = {name: parameter.detach().clone() for name, parameter in trainable.trained.items()}
    trainable.detach()
    return result, parts


def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsugiki.engine.train.worth_caching", lambda *_, **__: False)


HYBRID = PlanSpec(method="hybrid", rank=2, blocks=("1",), full_layers=("1.mlp.down_proj",))


@pytest.mark.parametrize(
    "spec",
    [TOP, HYBRID, PlanSpec(method="adapter", width=4, blocks=("-1",)), PlanSpec(targets=("lm_head",))],
    ids=["lora", "hybrid", "adapter", "head-only"],
)
def test_training_from_the_cache_equals_training_through_all_blocks(
    tiny_bases: Base, spec: PlanSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    untouched = live_weights_digest(tiny_bases)
    cached, parts = run(tiny_bases, spec)
    without_cache(monkeypatch)
    plain, others = run(tiny_bases, spec)
    assert cached.cached_blocks >= 1 and plain.cached_blocks == 0
    for one, other in zip(cached.history, plain.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["dev_loss"] == pytest.approx(other["dev_loss"], abs=1e-5)
    for name, part in parts.items():
        torch.testing.assert_close(part, others[name], rtol=0, atol=2e-4)
    assert live_weights_digest(tiny_bases) == untouched


def test_states_are_bit_equal_to_a_forward_pass_in_the_same_batch(tiny_bases: Base) -> None:
    encoded = with_states(tiny_bases, data(tiny_bases)[0], 1, micro_tokens=128)
    seen: list[torch.Tensor] = []
    block = tiny_bases.model.get_submodule(structure_of(tiny_bases.model).blocks[1].name)
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batches = micro_batches(encoded, range(len(encoded)), micro_tokens=128, packed=True)
    assert len(batches) > 1
    for batch in batches:
        with torch.no_grad():
            told = row_arguments(batch.lengths, batch.ids_BT.device)
            decoder_of(tiny_bases.model)(input_ids=batch.ids_BT, use_cache=False, **told)
        again = seen.pop()
        states_BTD = batch.entering()
        assert states_BTD is not None and torch.equal(states_BTD, again)
        (whole,) = micro_batches(encoded, batch.rows, micro_tokens=10**6)
        padded = whole.entering()
        assert padded is not None
        for row, states_TD in zip(batch.rows, again[0].split(batch.lengths), strict=True):
            own_TD = padded[whole.rows.index(row)]
            assert torch.equal(own_TD[: len(states_TD)], states_TD) and not own_TD[len(states_TD) :].any()
    hook.remove()


def test_a_file_is_written_once_and_read_again(
    tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run(tiny_base, TOP, prefix_folder=tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2, "one for the training rows and one for dev"

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("tsugiki.engine.prefix_cache._compute", never)
    second, _ = run(tiny_base, TOP, prefix_folder=tmp_path)
    assert second.history == first.history
    monkeypatch.undo()
    other = encode(tiny_base.tokenizer, PAIRS[1:], max_length=64)
    with_states(tiny_base, other, 1, micro_tokens=4096, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3, "other rows, another file"


def test_a_broken_file_is_computed_again(tiny_base: Base, tmp_path: Path) -> None:
    encoded = data(tiny_base)[0]
    good = with_states(tiny_base, encoded, 1, micro_tokens=4096, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = with_states(tiny_base, encoded, 1, micro_tokens=4096, folder=tmp_path)
    assert torch.equal(good.states.flat_ND, again.states.flat_ND)  # type: ignore[union-attr]


def test_how_many_blocks_stay_frozen(tiny_llama_untied: Path, tiny_base: Base) -> None:
    model = tiny_base.model

    def frozen(**values: Any) -> int:
        return frozen_blocks(model, make_plan(model, PlanSpec(**values)))

    assert frozen() == 0
    assert frozen(blocks=("1",)) == 1
    assert frozen(blocks=("last:1",)) == 1
    assert frozen(targets=("lm_head",)) == 2
    assert frozen(method="full") == 0
    assert frozen(method="adapter", blocks=("-1",)) == 1
    assert frozen_blocks(model, Plan("full", full=("model.norm.weight",))) == 2
    assert frozen_blocks(model, Plan("full", full=("model.embed_tokens.weight",))) == 0


def test_a_tied_head_trained_in_full_is_the_embedding_too(tiny_base: Base, tiny_llama_untied: Path) -> None:
    spec = PlanSpec(method="hybrid", rank=2, blocks=("1",), full_layers=("lm_head",))
    assert frozen_blocks(tiny_base.model, make_plan(tiny_base.model, spec)) == 0
    untied = load_base(BaseSpec(str(tiny_llama_untied), "float32", "cpu"))
    assert frozen_blocks(untied.model, make_plan(untied.model, spec)) == 1
    result, _ = run(tiny_base, spec)
    assert result.cached_blocks == 0


def test_what_is_read_once_or_does_not_fit_is_not_cached(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = data(tiny_base)
    rows = len(sets[0])
    assert worth_caching(tiny_base, 1, sets, rows_read=rows + 1)
    assert not worth_caching(tiny_base, 1, sets, rows_read=rows)
    assert not worth_caching(tiny_base, 0, sets, rows_read=99)
    tokens = sum(encoded.length(row) for encoded in sets for row in range(len(encoded)))
    needed = 4 * tokens * 64 * 4  # a quarter of what is free may be taken; 64 float32 numbers a token
    for free, expected in ((needed, True), (needed - 4, False)):
        monkeypatch.setattr("tsugiki.engine.prefix_cache.free_memory_bytes", lambda device, free=free: free)
        assert worth_caching(tiny_base, 1, sets, rows_read=99) is expected


@pytest.mark.parametrize("place", ["attention", "module"])
def test_a_prefix_that_draws_random_numbers_is_not_cached(tiny_base: Base, place: str) -> None:
    first = tiny_base.model.model.layers[0]
    if place == "attention":
        first.self_attn.attention_dropout = 0.1
    else:
        first.mlp.act_fn = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.Dropout(0.1))
    assert not worth_caching(tiny_base, 1, data(tiny_base), rows_read=99)


def test_a_decoder_that_does_more_between_its_blocks_is_not_cut(tiny_base: Base) -> None:
    block = tiny_base.model.model.layers[1]
    forward = block.forward
    seen: list[torch.Tensor] = []
    tiny_base.model.model.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    block.forward = lambda hidden, **named: forward(hidden, **named) + (seen[-1] if seen else 0)

    def forget(*_: Any) -> None:
        seen.clear()

    tiny_base.model.model.register_forward_pre_hook(forget)
    assert not worth_caching(tiny_base, 1, data(tiny_base), rows_read=99)


def test_a_cache_that_cannot_be_written_stops_nothing(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsugiki.engine.prefix_cache.write_whole", full)
    encoded = with_states(tiny_base, data(tiny_base)[0], 1, micro_tokens=4096, folder=Path("/nowhere"))
    assert encoded.states is not None


def test_another_cut_pass_size_or_base_is_another_file(tiny_base: Base, tiny_qwen2: Path, tmp_path: Path) -> None:
    encoded = data(tiny_base)[0]
    other = load_base(BaseSpec(str(tiny_qwen2), "float32", "cpu"))
    for base, blocks, tokens in ((tiny_base, 1, 4096), (tiny_base, 2, 4096), (tiny_base, 1, 64), (other, 1, 4096)):
        with_states(base, encoded, blocks, micro_tokens=tokens, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_blocks_come_back_also_after_an_error(tiny_base: Base) -> None:
    before = list(tiny_base.model.model.layers)
    with pytest.raises(KeyError), cut_below(tiny_base.model, 2):
        raise KeyError
    assert list(tiny_base.model.model.layers) == before


def test_states_do_not_change_the_digest_of_the_rows(tiny_base: Base) -> None:
    encoded = data(tiny_base)[0]
    kept = with_states(tiny_base, encoded, 1, micro_tokens=4096)
    assert kept == encoded and kept.digest == encoded.digest
    assert replace(kept, states=None) == encoded


def test_a_resumed_run_keeps_to_the_cut_it_began_with(
    tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever memory is free by then: both ways differ in their rounding."""
    rows = data(tiny_base)
    recipe = Recipe(max_steps=6, batch_size=4, evaluations=1, checkpoint_every=2, micro_tokens=64)
    spec = PlanSpec(rank=2, blocks=("last:1",))
    found = []
    for stops in (False, True):
        trainable = attach(tiny_base, make_plan(tiny_base.model, spec), seed=0)
        if stops:
            with pytest.raises(KeyboardInterrupt):
                train(trainable, *rows, recipe, on_step=_stop_at_three, checkpoint=tmp_path)
            trainable.detach()
            trainable = attach(tiny_base, make_plan(tiny_base.model, spec), seed=0)
            monkeypatch.setattr(train_module, "worth_caching", lambda *_, **__: False)
        result = train(trainable, *rows, recipe, on_step=lambda step: None, checkpoint=tmp_path if stops else None)
        found.append((result.cached_blocks, [part.detach().clone() for part in trainable.trained.values()]))
        trainable.detach()
    assert found[0][0] == found[1][0] == 1
    assert all(torch.equal(one, other) for one, other in zip(found[0][1], found[1][1], strict=True))


def _stop_at_three(step: Any) -> None:
    if step.step == 3:
        raise KeyboardInterrupt

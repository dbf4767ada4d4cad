"""The one training loop. A plan decides what is trained; nothing here knows which method it is.

Called by `work`. Seeds come first, every part is proven to receive a gradient, the loss of a step is the mean over all
its completion tokens however the step was cut up, and a killed run goes on from its checkpoint bit for bit (on a CPU).
One plan trains alone (`train`); several low-rank plans train side by side in a bank (`train_bank`), each as it would
alone: every learner has its own order of rows, random numbers, optimiser, checkpoint and early stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from tsugiki.config import Recipe
from tsugiki.engine.attach import Trainable
from tsugiki.engine.attention import uses_ours
from tsugiki.engine.bank import Bank, bank_products
from tsugiki.engine.base import Base
from tsugiki.engine.batches import Encoded
from tsugiki.engine.device import tokens_per_pass
from tsugiki.engine.footprint import tokens_of_a_pass
from tsugiki.engine.gated_mlp import keeping_less
from tsugiki.engine.learner import Learner, TrainResult
from tsugiki.engine.loss import share_losses
from tsugiki.engine.lowrank import products_of
from tsugiki.engine.norms import keeping_inputs
from tsugiki.engine.packing import packs
from tsugiki.engine.prefix_cache import cut_below, frozen_blocks, with_states, worth_caching
from tsugiki.engine.recompute import recomputes, recomputing
from tsugiki.engine.rotary import rotating_back
from tsugiki.engine.shared_input import sharing
from tsugiki.engine.turns import OnStep, Passing, in_turn, let_the_weak_leave, take_turn
from tsugiki.errors import DoesNotFit, PlanError, TrainingError, out_of_memory


def train(
    trainable: Trainable,
    train_set: Encoded,
    dev_set: Encoded,
    recipe: Recipe,
    *,
    on_step: OnStep,
    checkpoint: Path | None = None,
    prefix_folder: Path | None = None,
) -> TrainResult:
    """Train the attached parts; afterwards they hold the weights with the best dev loss.

    `checkpoint` is a folder to save to and to go on from; the caller removes it when it has what it needs. Where the
    plan leaves the first blocks alone, their output is computed once per row, and kept in `prefix_folder` if given.
    Raises TrainingError (a part without gradient, a loss that is no number) and DoesNotFit (out of memory).
    """
    torch.manual_seed(recipe.seed)
    base = trainable.base
    generators = {"cpu": torch.default_generator}
    if base.device.type == "cuda":
        generators["cuda"] = torch.cuda.default_generators[base.device.index or 0]
    (result,) = _train(base, None, [trainable], [recipe], [generators], train_set, dev_set, on_step, [checkpoint],
                       prefix_folder, {})  # fmt: skip
    if isinstance(result, TrainingError):
        raise result
    return result


def train_bank(
    bank: Bank,
    train_set: Encoded,
    dev_set: Encoded,
    recipes: Sequence[Recipe],
    *,
    on_step: OnStep,
    checkpoint: Path | None = None,
    prefix_folder: Path | None = None,
    keep: Mapping[int, int] | None = None,
) -> list[TrainResult | TrainingError]:
    """Train the candidates of a bank side by side, one recipe each; one that diverges is an error among results.

    `keep` is successive halving on dev loss (arXiv 1502.07943): {n: count} lets the `count` best go on after the n-th
    evaluation; the rows of the others are freed, and their results say that they stopped early. Equal recipes but for
    rate and seed are the usual case; with other numbers of evaluations `keep` counts each candidate's own.
    """
    if any(recipe.recompute == "always" for recipe in recipes):
        raise PlanError(
            "A bank does not recompute activations.", fix="Train the candidates alone, or leave it to auto."
        )
    folders = [None if checkpoint is None else checkpoint / f"candidate-{at}" for at in range(len(recipes))]
    generators = [{"own": generator} for generator in bank.generators]
    return _train(bank.base, bank, bank.candidates, recipes, generators, train_set, dev_set, on_step, folders,
                  prefix_folder, keep or {})  # fmt: skip


def does_not_fit(recipe: Recipe, tokens: int) -> DoesNotFit:
    return DoesNotFit(
        f"Out of memory with batches of {tokens} tokens and examples of up to {recipe.max_length} tokens.",
        fix="Halve micro_tokens, lower max_length, or train fewer parts (a smaller rank, lora instead of full).",
    )


def _train(
    base: Base,
    bank: Bank | None,
    trainables: Sequence[Trainable],
    recipes: Sequence[Recipe],
    generators: Sequence[Mapping[str, torch.Generator]],
    train_set: Encoded,
    dev_set: Encoded,
    on_step: OnStep,
    folders: Sequence[Path | None],
    prefix_folder: Path | None,
    keep: Mapping[int, int],
) -> list[TrainResult | TrainingError]:
    tokens = tokens_per_pass(recipes[0].micro_tokens, base.device, base.dtype)
    learners: list[Learner] = []
    try:
        with _memory_errors(recipes[0], tokens):
            for at, (trainable, recipe, own, folder) in enumerate(
                zip(trainables, recipes, generators, folders, strict=True)
            ):
                learners.append(Learner(at, trainable, recipe, own, (train_set, dev_set), folder))
            packed = _packs(base, bank)
            cut = _blocks_to_cache(base, learners, (train_set, dev_set))
            if cut:
                train_set, dev_set = (
                    with_states(base, encoded, cut, micro_tokens=tokens, folder=prefix_folder)
                    for encoded in (train_set, dev_set)
                )
                _count_the_prefix(learners, train_set, dev_set)
            recomputed = bank is None and _must_recompute(learners[0], tokens, train_set)
            less = recomputing(base.model) if recomputed else keeping_less(base.model, base.dtype)
            sharing_inputs, norms = _sharing(base, bank, trainables), keeping_inputs(base.model)
            rotary = rotating_back(base.model)
            with sharing_inputs, norms, rotary, less, cut_below(base.model, cut) as entry:
                passing = Passing(base, bank, share_losses(base.model, entry), packed)
                let_the_weak_leave(learners, keep)  # again after a resume: it is not in their checkpoints
                while turn := in_turn(learners):
                    take_turn(passing, turn, train_set, dev_set, on_step)
                    let_the_weak_leave(learners, keep)
            return [learner.error or learner.result(cut, recomputed=recomputed) for learner in learners]
    finally:
        for learner in learners:
            learner.optimizer.close()
        base.model.eval()


def _packs(base: Base, bank: Bank | None) -> bool:
    if bank is None:
        return packs(base.model)
    bank.take(())  # tried on the base alone
    # Only our attention takes rows apart; another one's masks let a number that is none through to other candidates.
    return uses_ours(base.model) and packs(base.model)


@contextmanager
def _memory_errors(recipe: Recipe, tokens: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error) is None:
            raise
        raise does_not_fit(recipe, tokens) from error


def _sharing(base: Base, bank: Bank | None, trainables: Sequence[Trainable]) -> AbstractContextManager[None]:
    """Layers that read one input are computed together, alone and in a bank alike, so that both draw equal masks."""
    if bank is not None:
        return sharing(
            base.model, bank.layers, bank_products, lambda layer: tuple(member.part.dropout for member in layer.members)
        )
    layers = {name: layer for name, layer in trainables[0].low_rank_layers().items() if not layer.part.dora}
    return sharing(base.model, layers, products_of, lambda layer: layer.part.dropout)


def _must_recompute(learner: Learner, tokens: int, train_set: Encoded) -> bool:
    longest = max(map(train_set.length, range(len(train_set))))
    recipe = learner.recipe.model_copy(update={"micro_tokens": tokens})
    base, plan = learner.trainable.base, learner.trainable.plan
    return recomputes(base, plan, recipe.recompute, tokens=tokens_of_a_pass(longest, recipe))


def _blocks_to_cache(base: Base, learners: Sequence[Learner], data: tuple[Encoded, Encoded]) -> int:
    """A run that goes on from a checkpoint keeps to what was decided, since both ways differ in their rounding."""
    decided = [learner.progress.cached_blocks for learner in learners if learner.progress.cached_blocks is not None]
    blocks = min(frozen_blocks(base.model, learner.trainable.plan) for learner in learners)
    read = sum(learner.recipe.max_steps * learner.recipe.batch_size for learner in learners)
    cut = decided[0] if decided else blocks if worth_caching(base, blocks, data, rows_read=read) else 0
    for learner in learners:
        learner.progress.cached_blocks = cut
    return cut


def _count_the_prefix(learners: Sequence[Learner], *data: Encoded) -> None:
    """Whoever computed it, a run that trains on it has needed it: its seconds belong to the training."""
    seconds = sum(encoded.states.seconds for encoded in data if encoded.states is not None)
    for learner in learners:
        if learner.progress.step == 0:
            learner.progress.seconds += seconds / len(learners)

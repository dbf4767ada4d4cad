"""The one training loop. A plan decides what is trained; nothing here knows which method it is.

Called by `work`. Seeds come first, every part is proven to receive a gradient, the loss of a step is the mean over all
its completion tokens however the step was cut up, and a killed run goes on from its checkpoint bit for bit (on a CPU).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tsugiki.config import Recipe
from tsugiki.engine.attach import Trainable
from tsugiki.engine.batches import Encoded, batch_order, micro_batches
from tsugiki.engine.checkpoint import BestParts, Progress, load_checkpoint, save_checkpoint
from tsugiki.engine.loss import TokenLoss, mean_loss, token_loss
from tsugiki.engine.optimizer import MasterAdamW, rate_share
from tsugiki.errors import DoesNotFit, TrainingError
from tsugiki.fingerprint import digest_json

STARTS_WITHOUT_GRADIENT = (".lora_A", ".down", ".down_bias")  # their partner is zero until the first update


@dataclass(frozen=True)
class Step:
    """What a caller hears after each optimiser step. `loss` is nats per completion token of that step."""

    step: int
    of: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    dev_loss: float | None


@dataclass(frozen=True)
class TrainResult:
    """`tokens` are read and predicted tokens without padding; `seconds` are those spent in steps, not in evaluation."""

    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    best_step: int
    best_dev_loss: float
    history: tuple[dict[str, Any], ...]
    stopped_early: bool


def train(
    trainable: Trainable,
    train_set: Encoded,
    dev_set: Encoded,
    recipe: Recipe,
    *,
    on_step: Callable[[Step], None],
    checkpoint: Path | None = None,
) -> TrainResult:
    """Train the attached parts; afterwards they hold the weights with the best dev loss.

    `checkpoint` is a folder to save to and to go on from; the caller removes it when it has what it needs.
    Raises TrainingError (a part without gradient, a loss that is no number) and DoesNotFit (out of memory).
    """
    try:
        return _train(trainable, train_set, dev_set, recipe, on_step, checkpoint)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise does_not_fit(recipe) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise does_not_fit(recipe) from error
        raise


def does_not_fit(recipe: Recipe) -> DoesNotFit:
    return DoesNotFit(
        f"Out of memory with batches of {recipe.micro_tokens} padded tokens and examples of up to "
        f"{recipe.max_length} tokens.",
        fix="Halve micro_tokens, lower max_length, or train fewer parts (a smaller rank, lora instead of full).",
    )


def _train(
    trainable: Trainable,
    train_set: Encoded,
    dev_set: Encoded,
    recipe: Recipe,
    on_step: Callable[[Step], None],
    checkpoint: Path | None,
) -> TrainResult:
    torch.manual_seed(recipe.seed)
    inputs = {
        "base": trainable.base.identity.digest,
        "plan": digest_json(trainable.plan.as_json()),
        "recipe": digest_json(recipe.model_dump(mode="json")),
        "data": digest_json([train_set.digest, dev_set.digest]),
    }
    optimizer = MasterAdamW(trainable, recipe)
    best = BestParts(trainable, checkpoint)
    progress = (load_checkpoint(checkpoint, inputs, optimizer) if checkpoint else None) or Progress(inputs)
    evaluate_every = max(1, recipe.max_steps // recipe.evaluations)
    loss = token_loss(trainable.model)
    order = islice(batch_order(train_set, batch_size=recipe.batch_size, seed=recipe.seed), progress.step, None)
    try:
        while progress.step < recipe.max_steps and progress.without_best < recipe.patience:
            started = time.perf_counter()
            step_loss, tokens = _one_step(trainable, train_set, order, recipe, optimizer, loss, progress.step)
            progress.step += 1
            progress.tokens += tokens
            progress.seconds += time.perf_counter() - started
            dev_loss = None
            if progress.step % evaluate_every == 0 or progress.step == recipe.max_steps:
                dev_loss = mean_loss(trainable.model, dev_set, micro_tokens=recipe.micro_tokens)
                _note_dev_loss(progress, dev_loss, best)
            assert progress.history is not None
            progress.history.append({"step": progress.step, "loss": step_loss, "dev_loss": dev_loss})
            if checkpoint and progress.step % recipe.checkpoint_every == 0:
                save_checkpoint(checkpoint, progress, optimizer)
            on_step(_report(progress, recipe, step_loss, dev_loss))
    finally:
        optimizer.close()
    best.restore(progress.best_step)
    trainable.model.eval()
    return _result(progress, recipe)


def _one_step(
    trainable: Trainable,
    train_set: Encoded,
    order: Iterator[tuple[int, ...]],
    recipe: Recipe,
    optimizer: MasterAdamW,
    loss: TokenLoss,
    step: int,
) -> tuple[float, int]:
    """One optimiser step; returns the loss per completion token and the tokens of the step."""
    trainable.model.train()
    batches = micro_batches(train_set, next(order), micro_tokens=recipe.micro_tokens)
    labels = sum(len(batch.targets_N) for batch in batches)
    total = 0.0
    for batch in batches:
        part = loss(batch.to(trainable.base.device)) / labels
        part.backward()
        total += float(part.detach())
    if step < 2:
        _prove_gradients(optimizer, step)
    norm = optimizer.step(step)
    if not math.isfinite(total) or not math.isfinite(norm):
        raise TrainingError(
            f"The loss is {total:.3g} and the gradient norm {norm:.3g} at step {step + 1}; training has diverged.",
            fix=f"Lower the learning rate (it is {recipe.learning_rate:g}) or the LoRA alpha.",
        )
    return total, sum(batch.tokens for batch in batches)


def _prove_gradients(optimizer: MasterAdamW, step: int) -> None:
    """Every trained tensor must have a finite gradient other than zero, or the run would teach less than it says.

    In the first step that cannot hold for the inner half of a pair whose outer half starts at zero; in the second it
    must.
    """
    silent = []
    for name, master in optimizer.masters.items():
        if step == 0 and name.endswith(STARTS_WITHOUT_GRADIENT):
            continue
        if master.grad is None or not bool(torch.isfinite(master.grad).all()) or not bool(master.grad.any()):
            silent.append(name)
    if silent:
        shown = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
        raise TrainingError(
            f"No finite, non-zero gradient reaches {shown} (step {step + 1}).",
            fix="Leave these out of the plan (targets, full_layers), or check the data for empty completions.",
        )


def _note_dev_loss(progress: Progress, dev_loss: float, best: BestParts) -> None:
    if not math.isfinite(dev_loss):
        raise TrainingError(
            f"The dev loss is {dev_loss} at step {progress.step}; training has diverged.",
            fix="Lower the learning rate.",
        )
    if progress.best_dev_loss is None or dev_loss < progress.best_dev_loss:
        progress.best_dev_loss, progress.best_step, progress.without_best = dev_loss, progress.step, 0
        best.keep(progress.step)
    else:
        progress.without_best += 1


def _report(progress: Progress, recipe: Recipe, loss: float, dev_loss: float | None) -> Step:
    per_step = progress.seconds / progress.step
    return Step(
        step=progress.step,
        of=recipe.max_steps,
        loss=loss,
        learning_rate=recipe.learning_rate * rate_share(progress.step - 1, recipe),
        tokens_per_second=progress.tokens / progress.seconds,
        seconds_left=per_step * (recipe.max_steps - progress.step),
        dev_loss=dev_loss,
    )


def _result(progress: Progress, recipe: Recipe) -> TrainResult:
    assert progress.best_dev_loss is not None and progress.history is not None
    return TrainResult(
        steps=progress.step,
        tokens=progress.tokens,
        seconds=progress.seconds,
        tokens_per_second=progress.tokens / progress.seconds,
        best_step=progress.best_step,
        best_dev_loss=progress.best_dev_loss,
        history=tuple(progress.history),
        stopped_early=progress.step < recipe.max_steps,
    )

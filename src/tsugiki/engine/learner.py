"""One plan in training: its optimiser, its order of rows, its progress, its best weights. `train` runs one or many.

Knows nothing of batches, losses or devices; it is told the loss of each step whose gradients are already there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tsugiki.config import Recipe
from tsugiki.engine.attach import Trainable
from tsugiki.engine.batches import Encoded, batch_order
from tsugiki.engine.checkpoint import BestParts, Progress, load_checkpoint, save_checkpoint
from tsugiki.engine.optimizer import MasterAdamW, rate_share
from tsugiki.errors import TrainingError
from tsugiki.fingerprint import digest_json

STARTS_WITHOUT_GRADIENT = (".lora_A", ".down", ".down_bias")  # their partner is zero until the first update


@dataclass(frozen=True)
class Step:
    """What a caller hears after each optimiser step. `loss` is nats per completion token of that step."""

    step: int
    of: int
    tokens: int  # of the rows of this step, read and predicted
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    dev_loss: float | None
    candidate: int = 0


@dataclass(frozen=True)
class TrainResult:
    """`tokens` are read and predicted tokens without padding; `seconds` are those spent in steps, not in evaluation.

    Computing what is kept of the blocks below the lowest trained one (`prefix_cache`) counts as training. In a bank a
    step's seconds are shared out by the tokens of its candidates.
    """

    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    best_step: int
    best_dev_loss: float
    history: tuple[dict[str, Any], ...]
    stopped_early: bool
    cached_blocks: int  # blocks below the lowest trained one whose output was computed once per row
    recomputed: bool  # activations were computed again in the backward pass


class Learner:
    """`generators` are all that its training draws from; `folder` holds its checkpoint, from which it goes on."""

    def __init__(
        self,
        candidate: int,
        trainable: Trainable,
        recipe: Recipe,
        generators: Mapping[str, torch.Generator],
        data: tuple[Encoded, Encoded],
        folder: Path | None,
    ) -> None:
        self.candidate, self.trainable, self.recipe = candidate, trainable, recipe
        self.generators, self.folder = generators, folder
        train_set, dev_set = data
        inputs = {
            "base": trainable.base.identity.digest,
            "plan": digest_json(trainable.plan.as_json()),
            "recipe": digest_json(recipe.model_dump(mode="json")),
            "data": digest_json([train_set.digest, dev_set.digest]),
        }
        self.optimizer = MasterAdamW(trainable, recipe)
        self.best = BestParts(trainable, folder)
        loaded = load_checkpoint(folder, inputs, self.optimizer, generators) if folder else None
        self.progress = loaded or Progress(inputs)
        order = batch_order(train_set, batch_size=recipe.batch_size, seed=recipe.seed)
        self.order = islice(order, self.progress.step, None)
        self.error: TrainingError | None = None
        self.step_tokens = 0

    @property
    def learns(self) -> bool:
        done = self.progress.step >= self.recipe.max_steps or self.progress.without_best >= self.recipe.patience
        return not (done or self.progress.left or self.error)

    @property
    def dev_losses(self) -> list[float]:
        return [float(entry["dev_loss"]) for entry in self.progress.history if entry["dev_loss"] is not None]

    @property
    def is_due(self) -> bool:
        """Whether a dev loss belongs to the step just taken: evenly spread, the last behind the last step."""
        step, of, times = self.progress.step, self.recipe.max_steps, self.recipe.evaluations
        return step * times // of > (step - 1) * times // of

    def update(self, loss: float) -> None:
        """One optimiser step with the gradients gathered so far; `loss` is nats per completion token."""
        step = self.progress.step
        if step < 2:
            _prove_gradients(self.optimizer, step)
        norm = self.optimizer.step(step)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingError(
                f"The loss is {loss:.3g} and the gradient norm {norm:.3g} at step {step + 1}; training has diverged.",
                fix=f"Lower the learning rate (it is {self.recipe.learning_rate:g}) or the LoRA alpha.",
            )

    def count(self, tokens: int, seconds: float) -> None:
        self.progress.step += 1
        self.progress.tokens += tokens
        self.step_tokens = tokens
        self.progress.seconds += seconds

    def note(self, loss: float, dev_loss: float | None) -> Step:
        """Put the step on record, keep the weights if they are the best so far, save the checkpoint if it is time."""
        if dev_loss is not None:
            self._note_dev_loss(dev_loss)
        self.progress.history.append({"step": self.progress.step, "loss": loss, "dev_loss": dev_loss})
        if self.folder and self.progress.step % self.recipe.checkpoint_every == 0:
            save_checkpoint(self.folder, self.progress, self.optimizer, self.generators)
        return self._step(loss, dev_loss)

    def fail(self, error: TrainingError) -> None:
        self.error = error
        self.optimizer.free()

    def leave(self) -> None:
        self.progress.left = True
        self.optimizer.free()

    def result(self, cached_blocks: int, *, recomputed: bool) -> TrainResult:
        """Afterwards the trained parts hold the weights with the best dev loss."""
        progress = self.progress
        assert progress.best_dev_loss is not None
        self.best.restore(progress.best_step)
        return TrainResult(
            steps=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            tokens_per_second=progress.tokens / progress.seconds,
            best_step=progress.best_step,
            best_dev_loss=progress.best_dev_loss,
            history=tuple(progress.history),
            stopped_early=progress.step < self.recipe.max_steps,
            cached_blocks=cached_blocks,
            recomputed=recomputed,
        )

    def _note_dev_loss(self, dev_loss: float) -> None:
        progress = self.progress
        if not math.isfinite(dev_loss):
            raise TrainingError(
                f"The dev loss is {dev_loss} at step {progress.step}; training has diverged.",
                fix="Lower the learning rate.",
            )
        if progress.best_dev_loss is None or dev_loss < progress.best_dev_loss:
            progress.best_dev_loss, progress.best_step, progress.without_best = dev_loss, progress.step, 0
            self.best.keep(progress.step)
        else:
            progress.without_best += 1

    def _step(self, loss: float, dev_loss: float | None) -> Step:
        progress, recipe = self.progress, self.recipe
        return Step(
            step=progress.step,
            of=recipe.max_steps,
            tokens=self.step_tokens,
            loss=loss,
            learning_rate=recipe.learning_rate * rate_share(progress.step - 1, recipe),
            tokens_per_second=progress.tokens / progress.seconds,
            seconds_left=progress.seconds / progress.step * (recipe.max_steps - progress.step),
            dev_loss=dev_loss,
            candidate=self.candidate,
        )


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

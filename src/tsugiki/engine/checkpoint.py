"""A training run on disk: one file that is whole or absent, and an exact way back.

A checkpoint folder holds `checkpoint.safetensors` (masters, moments, random state; the run's state as JSON in the
header) and `best-<step>.safetensors`, the trained parts at the best dev loss. The checkpoint names the best file it
belongs to, and older best files are removed only after a checkpoint that no longer needs them is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tsugiki.engine.attach import Trainable
from tsugiki.engine.optimizer import MasterAdamW
from tsugiki.errors import TrainingError

FILE = "checkpoint.safetensors"


@dataclass
class Progress:
    """Where a run stands after `step` optimiser steps; everything in here is JSON."""

    inputs: dict[str, str]
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_dev_loss: float | None = None
    without_best: int = 0
    left: bool = False  # a bank has let it go: others were better
    cached_blocks: int | None = None  # decided once, by the memory that was free then
    history: list[dict[str, float | int | None]] = field(default_factory=list)


def save_checkpoint(
    folder: Path, progress: Progress, optimizer: MasterAdamW, generators: Mapping[str, torch.Generator]
) -> None:
    """`generators` are all that the run draws from, by a name of the caller's."""
    tensors = {name: tensor.contiguous() for name, tensor in optimizer.state().items()}
    tensors |= {f"random/{name}": generator.get_state() for name, generator in generators.items()}
    _save(folder / FILE, tensors, {"progress": json.dumps(vars(progress))})
    for file in folder.glob("best-*.safetensors"):
        if file != _best_file(folder, progress.best_step):
            file.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, inputs: Mapping[str, str], optimizer: MasterAdamW, generators: Mapping[str, torch.Generator]
) -> Progress | None:
    """Continue from the folder's checkpoint, or None when there is none.

    Raises TrainingError when the checkpoint was made with other inputs (base, plan, recipe or data), naming them.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be read ({error}).", fix="Delete its folder to start this run again."
        ) from error
    other = sorted(key for key in inputs if progress.inputs.get(key) != inputs[key])
    if other:
        raise TrainingError(
            f"The checkpoint {path} was made with another {', '.join(other)}.",
            fix="Go on with the same inputs, or delete its folder to start again.",
        )
    optimizer.load_state(tensors)
    for name, generator in generators.items():
        generator.set_state(tensors[f"random/{name}"])
    return progress


class BestParts:
    """The trained parts at the best dev loss: on disk when the run has a folder, in memory otherwise."""

    def __init__(self, trainable: Trainable, folder: Path | None) -> None:
        self.trained = trainable.trained
        self.folder = folder
        self.memory: dict[str, Tensor] = {}

    def keep(self, step: int) -> None:
        if self.folder is None and self.memory:  # in place: a second copy would be as large as the parts
            for name, parameter in self.trained.items():
                self.memory[name].copy_(parameter.detach())
        elif self.folder is None:
            self.memory = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        else:
            tensors = {name: parameter.detach().contiguous() for name, parameter in self.trained.items()}
            _save(_best_file(self.folder, step), tensors, {})

    def restore(self, step: int) -> None:
        best = self.memory if self.folder is None else load_file(_best_file(self.folder, step))
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(best[name])


def _best_file(folder: Path, step: int) -> Path:
    return folder / f"best-{step}.safetensors"


def _save(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Whole or absent for a killed process; not flushed, since after a power cut a run may start again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(dict(tensors), temporary, metadata=metadata)
    temporary.replace(path)

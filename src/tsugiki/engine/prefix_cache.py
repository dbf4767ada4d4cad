"""Activations below the lowest trained block: computed once per example, used again in every epoch and every run.

Called by `train` when the plan leaves the first blocks alone. Below them nothing depends on what is trained, so what
enters the lowest trained block is a constant of the row. It is kept for all rows of a data set, in memory or in a file
that later runs on the same base and rows read again. Each row's values are, bit for bit, those of a forward pass in the
batch they were computed in; a base that draws random numbers there is refused. N tokens of all rows, D hidden size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tsugiki.engine.base import Base
from tsugiki.engine.batches import Encoded, micro_batches
from tsugiki.engine.plan import Plan
from tsugiki.engine.structure import decoder_of, structure_of
from tsugiki.files import write_whole
from tsugiki.fingerprint import digest_json

NAME = "states_ND"


@dataclass(frozen=True)
class PrefixStates:
    """Hidden states of all rows, one row after the other; row r is flat_ND[starts[r] : starts[r + 1]]."""

    flat_ND: Tensor
    starts: tuple[int, ...]
    seconds: float  # that computing them took, here or in the run that wrote the file

    def padded(self, rows: Sequence[int], width: int) -> Tensor:
        states_BTD = self.flat_ND.new_zeros(len(rows), width, self.flat_ND.shape[1])
        for place, row in enumerate(rows):
            start, end = self.starts[row], self.starts[row + 1]
            states_BTD[place, : end - start] = self.flat_ND[start:end]
        return states_BTD


class Entry(nn.Module):
    """Stands where the last block below the cut stood, and hands the kept states to the blocks above."""

    def __init__(self) -> None:
        super().__init__()
        self.states_BTD: Tensor | None = None

    def forward(self, *_: Any, **__: Any) -> Tensor:
        assert self.states_BTD is not None, "a batch without its prefix states"
        return self.states_BTD


class _Passing(nn.Module):
    """Stands where a block below the cut stood; what it hands on is never looked at."""

    def forward(self, hidden_BTD: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_BTD


def frozen_blocks(model: nn.Module, plan: Plan) -> int:
    """How many blocks, from the first, hold nothing that the plan trains and hang on nothing that it trains."""
    structure = structure_of(model)
    names = [*plan.low_rank, *plan.full, *plan.bottlenecks]
    after = tuple(name for name in (structure.head, *_norms_behind(model)) if name)
    lowest = len(structure.blocks)
    for name in names:
        block = next((block.index for block in structure.blocks if name.startswith(f"{block.name}.")), None)
        if block is None and not name.startswith(after):
            return 0  # the embedding, tied to the head or not
        lowest = min(lowest, len(structure.blocks) if block is None else block)
    return lowest


def worth_caching(model: nn.Module, blocks: int, *, rows: int, rows_read: int) -> bool:
    """At least one block below, every row read more than once on average, and no random numbers in the prefix."""
    if blocks == 0 or rows_read <= rows:
        return False
    prefix = [model.get_submodule(block.name) for block in structure_of(model).blocks[:blocks]]
    drops = (module for block in prefix for module in block.modules())
    return not any(isinstance(module, nn.Dropout) and module.p > 0 for module in drops) and not any(
        getattr(module, "attention_dropout", 0) for block in prefix for module in block.modules()
    )


def with_states(base: Base, encoded: Encoded, blocks: int, *, micro_tokens: int, folder: Path | None = None) -> Encoded:
    """`encoded` with the states that enter block number `blocks`; nothing may be attached below it.

    With a `folder` they are read from there where they lie there already, and otherwise written there: the file is
    named by everything they depend on.
    """
    starts = (0, *accumulate(encoded.length(row) for row in range(len(encoded))))
    path = None if folder is None else folder / f"{_key(base, encoded, blocks, micro_tokens)[7:39]}.safetensors"
    if path is not None and (states := _read(path, starts)) is not None:
        return replace(encoded, states=states)
    began = time.perf_counter()
    flat_ND = _compute(base, encoded, blocks, starts, micro_tokens)
    states = PrefixStates(flat_ND, starts, time.perf_counter() - began)
    if path is not None:
        facts = {"seconds": repr(states.seconds)}
        write_whole(path, lambda temporary: save_file({NAME: flat_ND}, temporary, metadata=facts))
    return replace(encoded, states=states)


@contextmanager
def cut_below(model: nn.Module, blocks: int) -> Iterator[Entry | None]:
    """Inside, the first `blocks` blocks do nothing and the rest starts from `Entry.states_BTD`; None for no cut."""
    if blocks == 0:
        yield None
        return
    removed = {block.name: model.get_submodule(block.name) for block in structure_of(model).blocks[:blocks]}
    entry = Entry()
    for name in removed:
        model.set_submodule(name, _Passing())
    model.set_submodule(list(removed)[-1], entry)
    try:
        yield entry
    finally:
        for name, block in removed.items():
            model.set_submodule(name, block)


class _Reached(Exception):
    """Ends a forward pass early; nothing is wrong."""


def _compute(base: Base, encoded: Encoded, blocks: int, starts: Sequence[int], micro_tokens: int) -> Tensor:
    model = base.model
    was_training = model.training
    model.eval()
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Reached

    structure = structure_of(model)
    above = structure.blocks[blocks].name if blocks < len(structure.blocks) else _norms_behind(model)[0]
    hook = model.get_submodule(above).register_forward_pre_hook(catch)
    flat_ND = torch.empty(starts[-1], structure.hidden_size, dtype=base.dtype)
    try:
        with torch.no_grad():
            for batch in micro_batches(encoded, range(len(encoded)), micro_tokens=micro_tokens):
                try:
                    decoder_of(model)(input_ids=batch.ids_BT.to(base.device), use_cache=False)
                except _Reached:
                    states_BTD = caught.pop()
                for place, row in enumerate(batch.rows):
                    length = starts[row + 1] - starts[row]
                    flat_ND[starts[row] : starts[row + 1]] = states_BTD[place, :length].to(flat_ND.device)
    finally:
        hook.remove()
        model.train(was_training)
    return flat_ND


def _read(path: Path, starts: tuple[int, ...]) -> PrefixStates | None:
    """A file that is there but broken is computed again: it is a cache."""
    try:
        with safe_open(path, framework="pt") as file:
            flat_ND, seconds = file.get_tensor(NAME), float(file.metadata()["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return PrefixStates(flat_ND, starts, seconds) if len(flat_ND) == starts[-1] else None


def _key(base: Base, encoded: Encoded, blocks: int, micro_tokens: int) -> str:
    parts = [base.identity.digest, str(base.dtype), base.device.type, encoded.digest, blocks, micro_tokens]
    return digest_json([*parts, torch.__version__])


def _norms_behind(model: nn.Module) -> tuple[str, ...]:
    """The norm between the last block and the head: the decoder's own children with a weight and no blocks."""
    decoder, embedding = decoder_of(model), model.get_input_embeddings()  # type: ignore[operator]
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    children = [
        name
        for name, module in decoder.named_children()
        if module is not embedding and getattr(module, "weight", None) is not None
    ]
    return tuple(f"{prefix}.{name}" for name in children)

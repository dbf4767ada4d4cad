"""Activations below the lowest trained block: computed once per example, used again in every epoch and every run.

Called by `train` when the plan leaves the first blocks alone. Below them nothing depends on what is trained, so what
enters the lowest trained block is a constant of the row. It is kept for all rows of a data set, in memory or in a file
that later runs on the same base and rows read again. Each row's values are, bit for bit, those of a forward pass in the
batch they were computed in; a base that draws random numbers there is refused. N tokens of all rows, D hidden size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
from tsugiki.engine.device import draws_numbers, free_memory_bytes
from tsugiki.engine.packing import packs, row_arguments
from tsugiki.engine.plan import Plan
from tsugiki.engine.structure import decoder_of, structure_of
from tsugiki.errors import out_of_memory
from tsugiki.files import write_whole
from tsugiki.fingerprint import digest_json

NAME = "states_ND"
ROOM = 0.25  # share of the free memory that states may take


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

    def packed(self, rows: Sequence[int]) -> Tensor:
        return torch.cat([self.flat_ND[self.starts[row] : self.starts[row + 1]] for row in rows])[None]


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


def frozen_blocks(model: Any, plan: Plan) -> int:
    """How many blocks, from the first, hold nothing that the plan trains and hang on nothing that it trains."""
    structure = structure_of(model)
    embedding = model.get_input_embeddings().weight
    after = (structure.head, *_behind_the_blocks(model))
    lowest = len(structure.blocks)
    for name in (*plan.low_rank, *plan.full, *plan.bottlenecks):
        block = next((block.index for block in structure.blocks if name.startswith(f"{block.name}.")), None)
        tied = name in plan.full and _parameter(model, name) is embedding
        if tied or (block is None and not name.startswith(after)):
            return 0
        lowest = min(lowest, len(structure.blocks) if block is None else block)
    return lowest


def worth_caching(base: Base, blocks: int, sets: Sequence[Encoded], *, rows_read: int) -> bool:
    """At least one block below, every training row read more than once, room for the states, and an exact cut.

    `sets` are the rows to train on and those to evaluate on.
    """
    if blocks == 0 or rows_read <= len(sets[0]):
        return False
    tokens = sum(encoded.length(row) for encoded in sets for row in range(len(encoded)))
    needed = tokens * structure_of(base.model).hidden_size * base.dtype.itemsize
    return needed <= ROOM * free_memory_bytes(torch.device("cpu")) and _cut_is_exact(base, blocks)


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
        with suppress(OSError, SafetensorError):  # a cache that cannot be written is no reason to stop
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
    flat_ND = torch.empty(starts[-1], structure_of(base.model).hidden_size, dtype=base.dtype)
    packed = packs(base.model)
    for batch in micro_batches(encoded, range(len(encoded)), micro_tokens=micro_tokens, packed=packed):
        states_BTD = _entering(base, blocks, batch.ids_BT.to(base.device), batch.lengths)
        lengths = [starts[row + 1] - starts[row] for row in batch.rows]
        each = states_BTD[0].split(lengths) if packed else states_BTD
        for row, length, states_TD in zip(batch.rows, lengths, each, strict=True):
            flat_ND[starts[row] : starts[row + 1]] = states_TD[:length].to(flat_ND.device)
    return flat_ND


def _entering(
    base: Base, blocks: int, ids_BT: Tensor, lengths: Sequence[int] | None = None, *, training: bool = False
) -> Tensor:
    """What enters block number `blocks`, or the norm behind the last one, in a forward pass that ends there."""
    model, caught = base.model, []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Reached

    structure = structure_of(model)
    above = structure.blocks[blocks].name if blocks < len(structure.blocks) else _behind_the_blocks(model)[0]
    hook = model.get_submodule(above).register_forward_pre_hook(catch)
    was_training = model.training
    model.train(training)
    try:
        with torch.no_grad(), suppress(_Reached):
            decoder_of(model)(input_ids=ids_BT, use_cache=False, **row_arguments(lengths, ids_BT.device))
    finally:
        hook.remove()
        model.train(was_training)
    states_BTD: Tensor = caught[0]
    return states_BTD


def _cut_is_exact(base: Base, blocks: int) -> bool:
    """Tried on eight tokens: going on from the states gives what the whole decoder gives, and below the cut no random
    number is drawn in training. A decoder that does more between its blocks than handing on a tensor fails here.
    """
    model, ids_BT = base.model, torch.arange(8, device=base.device)[None]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            whole_BTD = decoder_of(model)(input_ids=ids_BT, use_cache=False).last_hidden_state
            states_BTD = _entering(base, blocks, ids_BT)
            with cut_below(model, blocks) as entry:
                assert entry is not None
                entry.states_BTD = states_BTD
                rest_BTD = decoder_of(model)(input_ids=ids_BT, use_cache=False).last_hidden_state
    except Exception as error:  # blocks that hand on more than one tensor, or read what others have left
        if out_of_memory(error) is not None:
            raise
        return False
    finally:
        model.train(was_training)
    one_tensor = states_BTD.shape == (1, 8, structure_of(model).hidden_size)
    return (
        one_tensor
        and torch.equal(whole_BTD, rest_BTD)
        and not draws_numbers(base.device, lambda: _entering(base, blocks, ids_BT, training=True))
    )


def _read(path: Path, starts: tuple[int, ...]) -> PrefixStates | None:
    """A file that is there but broken is computed again: it is a cache."""
    try:
        with safe_open(path, framework="pt") as file:
            flat_ND, seconds = file.get_tensor(NAME), float(file.metadata()["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return PrefixStates(flat_ND, starts, seconds) if len(flat_ND) == starts[-1] else None


def _key(base: Base, encoded: Encoded, blocks: int, micro_tokens: int) -> str:
    parts = [
        base.identity.digest,
        str(base.dtype),
        base.spec.quantize,
        base.device.type,
        encoded.digest,
        blocks,
        micro_tokens,
    ]
    return digest_json([*parts, torch.__version__])


def _behind_the_blocks(model: Any) -> tuple[str, ...]:
    """The norm between the last block and the head: what the decoder lists behind its blocks and has a weight."""
    decoder = decoder_of(model)
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    blocks = structure_of(model).blocks[0].name.removeprefix(f"{prefix}.").split(".")[0]
    children = [name for name, _ in decoder.named_children()]
    return tuple(
        f"{prefix}.{name}"
        for name in children[children.index(blocks) + 1 :]
        if getattr(decoder.get_submodule(name), "weight", None) is not None
    )


def _parameter(model: nn.Module, name: str) -> nn.Parameter | None:
    owner, _, leaf = name.rpartition(".")
    found: nn.Parameter | None = getattr(model.get_submodule(owner), leaf, None)
    return found

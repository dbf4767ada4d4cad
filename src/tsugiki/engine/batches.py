"""Text pairs → token ids → padded batches in which only completions are learned.

Rows are tokenised once. A batch holds its rows packed one behind the other (`packing.py`) or, for a base that cannot
keep such rows apart, padded on the right: a causal model never looks to the right, so no row sees another there either.
Which rows meet in an optimiser step is left to chance: sorted by length they would be of one kind. Over-long rows are
listed, never cut.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

from tsugiki.errors import DataError
from tsugiki.fingerprint import digest_json


class States(Protocol):
    """What enters the blocks that are trained, kept per row (prefix_cache.PrefixStates)."""

    @property
    def seconds(self) -> float: ...

    def padded(self, rows: Sequence[int], width: int) -> Tensor:
        """(rows, width, hidden size); zeros behind the end of a row."""

    def packed(self, rows: Sequence[int]) -> Tensor:
        """(1, tokens of these rows, hidden size), one row behind the other."""


@dataclass(frozen=True)
class Encoded:
    """Token ids per row, and the rows that were left out as (index into the given pairs, reason)."""

    prompts: tuple[tuple[int, ...], ...]
    completions: tuple[tuple[int, ...], ...]
    excluded: tuple[tuple[int, str], ...] = ()
    states: States | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.prompts)

    def length(self, row: int) -> int:
        """Tokens the model reads for a row: the last token is only ever predicted."""
        return len(self.prompts[row]) + len(self.completions[row]) - 1

    @property
    def tokens(self) -> int:
        return sum(map(len, self.prompts)) + sum(map(len, self.completions))

    @property
    def digest(self) -> str:
        return digest_json([[list(ids) for ids in self.prompts], [list(ids) for ids in self.completions]])


@dataclass(frozen=True)
class Batch:
    """`positions_N` index the flattened B·T hidden states that predict `targets_N`.

    With `lengths` the rows are packed, B is 1 and T the sum of them; without, they are padded on the right to T. `rows`
    are their places in the data set, whose `states` hold what enters the blocks that are trained, where that has been
    computed before.
    """

    ids_BT: Tensor
    positions_N: Tensor
    targets_N: Tensor
    tokens: int
    rows: tuple[int, ...]
    states: States | None = None
    lengths: tuple[int, ...] | None = None

    def to(self, device: torch.device) -> Batch:
        moved = {name: getattr(self, name).to(device) for name in ("ids_BT", "positions_N", "targets_N")}
        return replace(self, **moved)

    def entering(self) -> Tensor | None:
        """The states as (B, T, hidden size), or None; put together when asked for, so that there is no second copy."""
        if self.states is None:
            return None
        packed = self.lengths is not None
        states = self.states.packed(self.rows) if packed else self.states.padded(self.rows, self.ids_BT.shape[1])
        return states.to(self.ids_BT.device)


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str]], *, max_length: int) -> Encoded:
    """Tokenise (prompt, completion) pairs; a pair longer than `max_length` tokens is excluded with its reason.

    Raises DataError when nothing is left.
    """
    prompts, completions, excluded = [], [], []
    for index, (prompt, completion) in enumerate(pairs):
        prompt_tokens = prompt_ids(tokenizer, prompt)
        completion_tokens = completion_ids(tokenizer, completion, after=prompt)
        length = len(prompt_tokens) + len(completion_tokens)
        if length > max_length:
            excluded.append((index, f"{length} tokens, more than the limit of {max_length}"))
            continue
        prompts.append(tuple(prompt_tokens))
        completions.append(tuple(completion_tokens))
    if not prompts:
        raise DataError(
            f"None of the {len(pairs)} examples fits into {max_length} tokens.",
            fix="Shorten them or raise --max-length.",
        )
    return Encoded(tuple(prompts), tuple(completions), tuple(excluded))


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """What the model reads before it answers, the same in training and in generation.

    Spaces at its end are left to the answer: tokenizers join a space to the word behind it, and a model that is given
    the space alone goes on with what follows lone spaces, mostly digits.
    The tokenizer's own special tokens are kept, except an end-of-text behind the prompt and a second beginning-of-text
    where a chat template has already written one. A prompt without any token starts with the end-of-text token.
    """
    text = text.rstrip(" ")
    ids: list[int] = list(tokenizer(text).input_ids)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if len(ids) > 1 and bos is not None and ids[0] == bos and ids[1] == bos:
        ids = ids[1:]
    if ids and ids[-1] == eos and not text.endswith(tokenizer.eos_token):
        ids = ids[:-1]
    return ids or [bos if bos is not None else eos]


def completion_ids(tokenizer: Any, text: str, *, after: str = "") -> list[int]:
    """What is learned: the spaces at the end of the prompt, the completion and the end-of-text token."""
    spaces = after[len(after.rstrip(" ")) :]
    return [*tokenizer(spaces + text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]


def masked_view(tokenizer: Any, pair: tuple[str, str]) -> list[tuple[str, bool]]:
    """One example as the model meets it: pieces of text, each with whether it is learned."""
    prompt, completion = pair
    view = [(piece, False) for piece in _pieces(tokenizer, prompt_ids(tokenizer, prompt))]
    return view + [(piece, True) for piece in _pieces(tokenizer, completion_ids(tokenizer, completion, after=prompt))]


def _pieces(tokenizer: Any, ids: Sequence[int]) -> Iterator[str]:
    """Token by token, but never within a character: byte-level tokens are gathered until they make whole ones."""
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if not text.endswith("\ufffd"):
            yield text
            waiting = []
    if waiting:
        yield tokenizer.decode(waiting)


def batch_order(encoded: Encoded, *, batch_size: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Rows of every optimiser step, without end: each epoch visits every row once in a new order.

    A pure function of its arguments, so that a resumed run skips to its step and goes on exactly as before.
    """
    epoch = 0
    while True:
        shuffler = random.Random(f"{seed}/{epoch}")  # noqa: S311 - an order, not a secret
        rows = list(range(len(encoded)))
        shuffler.shuffle(rows)
        yield from (tuple(rows[at : at + batch_size]) for at in range(0, len(rows), batch_size))
        epoch += 1


def micro_batches(encoded: Encoded, rows: Sequence[int], *, micro_tokens: int, packed: bool = False) -> list[Batch]:
    """The rows as batches of at most `micro_tokens` tokens, padding included; a longer single row stands alone.

    Attention takes packed rows apart and pads them to the longest; there at most twice as many are allowed.
    """
    groups = _balanced(encoded, rows, micro_tokens) if packed else None
    if groups is None:
        groups = _in_order(encoded, rows, micro_tokens, packed=packed)
    return [_batch(encoded, group, packed=packed) for group in groups]


def _balanced(encoded: Encoded, rows: Sequence[int], micro_tokens: int) -> list[list[int]] | None:
    """As few batches as the tokens allow, of nearly equal size, since each costs a fixed part; None where that would
    break a limit. The longest rows come first, each goes where the fewest tokens are.
    """
    count = math.ceil(sum(map(encoded.length, rows)) / micro_tokens)
    groups: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, place) for place in range(count)]
    for row in sorted(rows, key=lambda row: (-encoded.length(row), row)):
        held, place = heap[0]
        groups[place].append(row)
        heapq.heapreplace(heap, (held + encoded.length(row), place))
    padded = max((len(group) * encoded.length(group[0]) for group in groups if group), default=0)
    return groups if max(heap, default=(0, 0))[0] <= micro_tokens and padded <= 2 * micro_tokens else None


def _in_order(encoded: Encoded, rows: Sequence[int], micro_tokens: int, *, packed: bool) -> list[list[int]]:
    """Rows of like length together, the shortest first."""
    groups: list[list[int]] = []
    held = 0
    for row in sorted(rows, key=lambda row: (encoded.length(row), row)):
        length = encoded.length(row)
        padded = (len(groups[-1]) + 1) * length if groups else 0
        held += length
        fits = held <= micro_tokens and padded <= 2 * micro_tokens if packed else padded <= micro_tokens
        if groups and fits:
            groups[-1].append(row)
        else:
            groups.append([row])
            held = length
    return groups


def _batch(encoded: Encoded, rows: Sequence[int], *, packed: bool) -> Batch:
    lengths = tuple(encoded.length(row) for row in rows)
    width = max(lengths)
    starts = list(accumulate(lengths, initial=0)) if packed else [at * width for at in range(len(rows) + 1)]
    ids = torch.zeros(starts[-1], dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for start, length, row in zip(starts, lengths, rows, strict=False):
        prompt, completion = encoded.prompts[row], encoded.completions[row]
        ids[start : start + length] = torch.tensor([*prompt, *completion[:-1]])
        first = start + len(prompt) - 1
        positions += range(first, first + len(completion))
        targets += completion
    return Batch(
        ids_BT=ids[None] if packed else ids.view(len(rows), width),
        positions_N=torch.tensor(positions),
        targets_N=torch.tensor(targets),
        tokens=sum(lengths) + len(rows),
        rows=tuple(rows),
        states=encoded.states,
        lengths=lengths if packed else None,
    )

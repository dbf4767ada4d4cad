"""Rows one behind the other in one long row: nothing is padded, and none sees another.

Called by everything that runs a batch through a base. Positions start anew with every row, from which transformers
makes a mask that keeps the rows apart; our attention (`attention.py`) is told the rows as well and takes each for
itself. Whether a base keeps them apart is tried, not assumed: one that does not gets padded batches. N tokens of all
rows, R rows, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from tsugiki.engine.structure import decoder_of

KEYWORD = "packed_rows"  # under which transformers hands the rows on to the attention
LEAK = 0.05  # of what a base without borders gives: more than rounding, far less than a border that is not there


class Rows:
    """Where each packed row lies, in the packed form and in a padded one."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = tuple(lengths)
        self.count, self.width = len(self.lengths), max(self.lengths)
        starts = accumulate(self.lengths, initial=0)
        padded = [torch.arange(length) + place * self.width for place, length in enumerate(self.lengths)]
        positions = [torch.arange(length) for length in self.lengths]
        self.places_N = torch.cat(padded).to(device)  # of each token in the flattened padded form
        self.positions_1N = torch.cat(positions)[None].to(device)
        self.starts = tuple(starts)
        self._seen: dict[int, tuple[Tensor, bool]] = {}

    def apart(self, x_1HND: Tensor) -> Tensor:
        """(R, H, T, D), zeros behind the end of each row."""
        x_HND = x_1HND[0]
        padded = x_HND.new_zeros(x_HND.shape[0], self.count * self.width, x_HND.shape[2])
        return padded.index_copy(1, self.places_N, x_HND).unflatten(1, (self.count, self.width)).transpose(0, 1)

    def together(self, y_RTHD: Tensor) -> Tensor:
        """(1, N, H, D) again."""
        return y_RTHD.flatten(0, 1).index_select(0, self.places_N)[None]

    def are_all_that(self, mask: Tensor | None) -> bool:
        """Whether `mask` (boolean, True where a token looks) allows just what each row's own past is.

        Counted once per mask, since all layers of a kind share it. A mask without borders between rows allows more.
        """
        if mask is None:
            return True
        if mask.dtype != torch.bool or mask.numel() != self.starts[-1] ** 2:
            return False
        if id(mask) not in self._seen:
            allowed = sum(length * (length + 1) // 2 for length in self.lengths)
            self._seen[id(mask)] = mask, int(mask.sum()) == allowed
        return self._seen[id(mask)][1]

    def borders(self, mask: Tensor | None, *, causal: bool) -> Tensor:
        """`mask` (boolean, or added to the scores; None for none) with nothing of other rows in sight."""
        row_N = torch.div(self.places_N, self.width, rounding_mode="floor")
        own_NN = row_N[:, None] == row_N[None]
        if mask is None:
            return (own_NN.tril() if causal else own_NN)[None, None]
        if mask.dtype == torch.bool:
            return mask & own_NN
        return mask.masked_fill(~own_NN, torch.finfo(mask.dtype).min)


def row_arguments(lengths: Sequence[int] | None, device: torch.device) -> dict[str, Any]:
    """What a decoder is told besides the ids: nothing for padded rows (None) and for one row alone."""
    if lengths is None or len(lengths) == 1:
        return {}
    rows = Rows(lengths, device)
    return {"position_ids": rows.positions_1N, KEYWORD: rows}


def packs(model: Any) -> bool:
    """Whether packed rows give what each gives alone, tried on two short ones; `model` is left as it was."""
    decoder, device = decoder_of(model), next(model.parameters()).device
    ids_1N, lengths = torch.arange(1, 9, device=device)[None], (5, 3)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed, without, alone = (
                decoder(input_ids=ids, use_cache=False, **told).last_hidden_state[0, -3:].float()
                for ids, told in (
                    (ids_1N, row_arguments(lengths, device)),
                    (ids_1N, {}),
                    (ids_1N[:, -3:], {}),
                )
            )
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a decoder that takes no positions, or no other keyword
        return False
    finally:
        model.train(was_training)
    return bool(torch.linalg.vector_norm(packed - alone) <= LEAK * torch.linalg.vector_norm(without - alone))

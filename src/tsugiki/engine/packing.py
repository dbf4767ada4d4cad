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
from tsugiki.errors import out_of_memory

KEYWORD = "packed_rows"  # under which transformers hands the rows on to the attention
LEAK = 0.05  # of what a base without borders gives: more than rounding, far less than a border that is not there


class Rows:
    """Where each packed row lies, in the packed form and in a padded one, where behind its end a row repeats its last
    token: what stands there is never looked at, but it is a number of this row and no other.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = tuple(lengths)
        self.count, self.width = len(self.lengths), max(self.lengths)
        lengths_R1 = torch.tensor(self.lengths)[:, None]
        place_1T = torch.arange(self.width)[None]
        starts_R1 = torch.tensor(list(accumulate(self.lengths, initial=0))[:-1])[:, None]
        valid_RT = place_1T < lengths_R1  # all of it is counted on the host: a GPU would have to be waited for
        self.valid_RT = valid_RT.to(device)
        self.token_RT = (starts_R1 + torch.minimum(place_1T, lengths_R1 - 1)).to(device)  # in the packed form
        self.positions_1N = place_1T.expand(self.count, -1)[valid_RT][None].to(device)
        self.places_N = valid_RT.flatten().nonzero().flatten().to(device)  # of each token in the padded form
        self._index: dict[tuple[int, int], Tensor] = {}
        self._back: dict[int, Tensor] = {}
        self._masks: dict[int, tuple[Tensor, Tensor | None]] = {}

    def apart(self, x_1HND: Tensor, repeats: int = 1) -> Tensor:
        """(R, H · repeats, T, D), contiguous; each head `repeats` times in a row."""
        heads, size = x_1HND.shape[1], x_1HND.shape[3]
        if (heads, repeats) not in self._index:
            head = torch.arange(heads * repeats, device=x_1HND.device) // repeats
            self._index[heads, repeats] = (self.token_RT[:, None] * heads + head[None, :, None]).flatten()
        flat = x_1HND.transpose(1, 2).reshape(-1, size)
        return flat.index_select(0, self._index[heads, repeats]).view(self.count, -1, self.width, size)

    def apart_over_zeros(self, x_1HND: Tensor) -> Tensor:
        """The same with zeros behind the end of each row, for gradients."""
        heads, size = x_1HND.shape[1], x_1HND.shape[3]
        padded = x_1HND.new_zeros(self.count * heads * self.width, size)
        padded.index_copy_(0, self._back_index(heads), x_1HND.transpose(1, 2).reshape(-1, size))
        return padded.view(self.count, heads, self.width, size)

    def together(self, y_RHTD: Tensor) -> Tensor:
        """(1, N, H, D) again, contiguous."""
        heads, size = y_RHTD.shape[1], y_RHTD.shape[3]
        flat = y_RHTD.reshape(-1, size)
        return flat.index_select(0, self._back_index(heads)).view(1, -1, heads, size)

    def _back_index(self, heads: int) -> Tensor:
        """Of token n and head h in the flattened (R, H, T), as (N · H)."""
        if heads not in self._back:
            row_N, place_N = self.places_N // self.width, self.places_N % self.width
            head = torch.arange(heads, device=self.places_N.device)
            self._back[heads] = ((row_N[:, None] * heads + head) * self.width + place_N[:, None]).flatten()
        return self._back[heads]

    def mask_apart(self, mask: Tensor | None, *, causal: bool) -> Tensor | None:
        """What each row may look at within itself: (R, 1, T, T), or None for its own past.

        `mask` is over the whole pass, (1, 1, N, N), boolean or added to the scores; what it says of other rows is not
        looked at. Made once per mask, since all layers of a kind share it.
        """
        if mask is None:
            return None if causal else self.valid_RT[:, None, None].expand(-1, 1, self.width, -1)
        if id(mask) not in self._masks:
            self._masks[id(mask)] = mask, self._own_part(mask, causal=causal)
        return self._masks[id(mask)][1]

    def _own_part(self, mask: Tensor, *, causal: bool) -> Tensor | None:
        own_RTT = mask[0, 0][self.token_RT[:, :, None], self.token_RT[:, None]]
        valid_R1T = self.valid_RT[:, None]
        if mask.dtype != torch.bool:
            return own_RTT.masked_fill(~valid_R1T, torch.finfo(mask.dtype).min)[:, None]
        own_RTT &= valid_R1T
        past_RTT = valid_R1T & torch.ones(self.width, self.width, dtype=torch.bool, device=mask.device).tril()
        same = torch.equal(own_RTT[self.valid_RT], past_RTT[self.valid_RT])
        return None if causal and same else own_RTT[:, None]

    def borders(self, mask: Tensor | None, *, causal: bool) -> Tensor:
        """`mask` (boolean, or added to the scores; None for none) over the whole pass, no other row in sight."""
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
    except Exception as error:  # a decoder that takes no positions, or no other keyword
        if out_of_memory(error) is not None:
            raise
        return False
    finally:
        model.train(was_training)
    return bool(torch.linalg.vector_norm(packed - alone) <= LEAK * torch.linalg.vector_norm(without - alone))

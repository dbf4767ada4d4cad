"""Bottleneck adapters: a small down-GELU-up network behind a module (serial) or beside it (parallel).

Serial after attention and MLP is Houlsby et al. (arXiv 1902.00751), after the MLP alone Pfeiffer et al.
(arXiv 2005.00247), beside the MLP He et al. (arXiv 2110.04366). The up-projection starts at zero, so an untrained
bottleneck changes nothing, bit for bit. Not linear in its input: it cannot be merged into a weight.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.engine.plan import Bottleneck


class BottleneckAround(nn.Module):
    """A frozen module with a trained bottleneck on its output (serial) or on its input (parallel)."""

    def __init__(
        self,
        inner: nn.Module,
        part: Bottleneck,
        size: int,
        device: torch.device,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.part = part
        bound = 1 / math.sqrt(size)
        start = torch.empty(part.width, size, dtype=dtype).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(start.to(device))
        self.down_bias = nn.Parameter(torch.zeros(part.width, dtype=dtype, device=device))
        self.up = nn.Parameter(torch.zeros(size, part.width, dtype=dtype, device=device))
        self.up_bias = nn.Parameter(torch.zeros(size, dtype=dtype, device=device))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        output = self.inner(*inputs, **named)
        y = output[0] if isinstance(output, tuple) else output
        source = (inputs[0] if inputs else named["hidden_states"]) if self.part.place == "parallel" else y
        y = y + self.small(source)
        return (y, *output[1:]) if isinstance(output, tuple) else y

    def small(self, x: Tensor) -> Tensor:
        """f(x) = up · GELU(down · dropout(x) + bias) + bias, for x of shape (..., hidden size)."""
        x = functional.dropout(x, self.part.dropout, self.training)
        inside = functional.linear(x, self.down.to(x.dtype), self.down_bias.to(x.dtype))
        return functional.linear(functional.gelu(inside), self.up.to(x.dtype), self.up_bias.to(x.dtype))

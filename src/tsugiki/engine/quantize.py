"""Frozen linear layers held in fewer bits: 8-bit integers per output row, or 4-bit NormalFloat.

Called by `base` when it loads a base and by everything that reads a frozen weight. NF4 is QLoRA's format (arXiv
2305.14314, sec. 3) in blocks of 64 values, packed and unpacked by bitsandbytes; int8 is symmetric with one scale per
row. A weight is unpacked for the length of one product, forward and backward; nothing unpacked is stored. Trained parts
stay as they are, so what is trained on a quantised base is trained on exactly the unpacked weights.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.engine.structure import structure_of
from tsugiki.errors import BaseModelError

Quantization = Literal["int8", "nf4"]
NF4_BLOCK = 64


@dataclass(frozen=True)
class Packed:
    """A weight of `shape` (O, I) in few bits; `dense` gives it in `dtype`."""

    kind: Quantization
    codes: Tensor
    scales: Tensor
    shape: tuple[int, int]
    dtype: torch.dtype

    def dense(self) -> Tensor:
        if self.kind == "int8":
            return self.codes.to(self.dtype).mul_(self.scales.to(self.dtype)[:, None])
        exact = torch.float32 if self.dtype == torch.float64 else self.dtype
        unpack = torch.ops.bitsandbytes.dequantize_4bit.default
        # A row for each block: with other rows bitsandbytes 0.50 takes wrong scales on a CPU with AVX-512 (lengths such
        # as 16 and 80), or compiles a function for every shape (odd lengths).
        blocks: Tensor = unpack(self.codes, self.scales, NF4_BLOCK, "nf4", (len(self.scales), NF4_BLOCK), exact)
        return blocks.view(-1)[: prod(self.shape)].view(self.shape).to(self.dtype)


FrozenWeight = Tensor | Packed


def dense(weight: FrozenWeight) -> Tensor:
    return weight.dense() if isinstance(weight, Packed) else weight


def frozen_weight(linear: nn.Linear) -> FrozenWeight:
    """What to keep of a frozen layer for the backward pass: the weight itself, or its few bits."""
    return linear.packed if isinstance(linear, QuantizedLinear) else linear.weight


def pack(weight_OI: Tensor, kind: Quantization) -> Packed:
    rows, columns = weight_OI.shape
    exact = weight_OI.detach().float()
    if kind == "int8":
        scales_O = exact.abs().amax(dim=1).clamp_min(1e-30) / 127  # a row of zeros
        codes_OI = (exact / scales_O[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        return Packed(kind, codes_OI, scales_O, (rows, columns), weight_OI.dtype)
    require(kind)
    flat = exact.reshape(-1)
    if missing := -len(flat) % NF4_BLOCK:
        flat = functional.pad(flat, (0, missing))  # zeros change no block's scale
    codes, scales = torch.ops.bitsandbytes.quantize_4bit.default(flat, NF4_BLOCK, "nf4", torch.uint8)
    return Packed(kind, codes, scales, (rows, columns), weight_OI.dtype)


def packed_bytes(values: int, rows: int, kind: Quantization) -> int:
    """Bytes of a weight of `values` numbers in `rows` rows."""
    return values + 4 * rows if kind == "int8" else -(-values // NF4_BLOCK) * (NF4_BLOCK // 2 + 4)


class QuantizedLinear(nn.Linear):
    """In the place of a frozen linear layer; `weight` is unpacked anew at every look."""

    def __init__(self, packed: Packed, bias: nn.Parameter | None) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would make a weight
        self.out_features, self.in_features = packed.shape
        self.kind, self.dtype = packed.kind, packed.dtype
        self.codes = nn.Parameter(packed.codes, requires_grad=False)
        self.scales = nn.Parameter(packed.scales, requires_grad=False)
        self.bias = bias  # type: ignore[assignment]

    @property
    def packed(self) -> Packed:
        return Packed(self.kind, self.codes, self.scales, (self.out_features, self.in_features), self.dtype)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.packed.dense()

    def forward(self, x: Tensor) -> Tensor:
        return packed_linear(x, self.packed, self.bias)


def packed_linear(x: Tensor, packed: Packed, bias_O: Tensor | None) -> Tensor:
    """W x + bias with a gradient for x alone."""
    y: Tensor = _PackedLinear.apply(x, packed, bias_O)  # type: ignore[no-untyped-call]
    return y


class _PackedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Packed, bias_O: Tensor | None) -> Tensor:
        ctx.packed = packed
        return functional.linear(x, packed.dense(), bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] @ ctx.packed.dense(), None, None


def quantize_blocks(model: nn.Module, kind: Quantization, device: torch.device) -> None:
    """Replace every linear layer of the blocks, one after the other; embedding, head and norms stay as they are.

    Each weight is moved to `device` before it is packed, so that a GPU never holds the whole base unpacked. Layers with
    a forward of their own (routers) are left alone. Raises BaseModelError where this would save little: experts of a
    mixture are not linear layers.
    """
    plain = {name: _linear(model, name) for name in structure_of(model).linears}
    blocks = [model.get_submodule(block.name) for block in structure_of(model).blocks]
    every = sum(parameter.numel() for block in blocks for parameter in block.parameters())
    if 2 * sum(layer.weight.numel() for layer in plain.values()) < every:
        raise BaseModelError(
            f"Less than half of the weights in the blocks of this {type(model).__name__} are linear layers, "
            f"so {kind} would save little.",
            fix="Take --quantize none.",
        )
    for name, linear in plain.items():
        model.set_submodule(name, QuantizedLinear(pack(linear.weight.to(device), kind), linear.bias))
    # What is left may be a view of the mapped file, and would keep all of the file in memory.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _linear(model: nn.Module, name: str) -> nn.Linear:
    found = model.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def require(kind: str) -> None:
    """Say in one sentence that NF4 needs a library, before anything is loaded."""
    if kind != "nf4":
        return
    if find_spec("bitsandbytes") is None:
        raise BaseModelError(
            "A base in nf4 needs the library bitsandbytes.",
            fix="pip install 'tsugiki[quantized]', or take --quantize int8.",
        )
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it reports on GPUs and kernels that are not there
    import bitsandbytes  # noqa: F401  (registers its operators with torch)

"""Bottlenecks: exact identity at the start, exact gradients, the three placements."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tsugiki.config import PlanSpec
from tsugiki.engine.attach import attach, merge
from tsugiki.engine.base import Base
from tsugiki.engine.bottleneck import BottleneckAround
from tsugiki.engine.plan import Bottleneck, make_plan
from tsugiki.errors import PlanError


def around(place: Literal["serial", "parallel"], dropout: float = 0.0) -> BottleneckAround:
    torch.manual_seed(0)
    inner = nn.Linear(4, 4, dtype=torch.float64).requires_grad_(False)
    part = Bottleneck(place, width=3, dropout=dropout)
    wrapped = BottleneckAround(inner, part, 4, torch.device("cpu"), torch.float64, torch.Generator().manual_seed(0))
    with torch.no_grad():
        wrapped.up.normal_()
        wrapped.down_bias.normal_()
    return wrapped


@pytest.mark.parametrize("place", ["serial", "parallel"])
def test_gradcheck(place: Literal["serial", "parallel"]) -> None:
    wrapped = around(place)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    names = ["down", "down_bias", "up", "up_bias"]

    def output(x: Tensor, *parts: Tensor) -> Tensor:
        return torch.func.functional_call(wrapped, dict(zip(names, parts, strict=True)), (x,))

    parts = [getattr(wrapped, name) for name in names]
    assert torch.autograd.gradcheck(output, (x, *parts), atol=1e-6, rtol=0)


def test_serial_reads_the_output_and_parallel_the_input() -> None:
    x = torch.randn(2, 4, dtype=torch.float64)
    serial, parallel = around("serial"), around("parallel")
    inside = serial.inner(x)
    torch.testing.assert_close(serial(x), inside + serial.small(inside))
    torch.testing.assert_close(parallel(x), inside + parallel.small(x))


@pytest.mark.parametrize(("style", "per_block"), [("houlsby", 2), ("pfeiffer", 1), ("parallel", 1)])
def test_each_style_starts_as_the_base_and_then_changes_it(
    tiny_bases: Base, style: Literal["houlsby", "pfeiffer", "parallel"], per_block: int
) -> None:
    ids = torch.arange(12)[None]
    with torch.no_grad():
        untouched = tiny_bases.model(input_ids=ids).logits
        trainable = attach(
            tiny_bases, make_plan(tiny_bases.model, PlanSpec(method="adapter", bottleneck=style, width=8)), seed=0
        )
        assert len(trainable.wrapped) == 2 * per_block
        assert torch.equal(trainable.model(input_ids=ids).logits, untouched)
        for name, parameter in trainable.trained.items():
            if name.endswith(".up"):
                parameter.normal_(std=0.1)
        assert not torch.allclose(trainable.model(input_ids=ids).logits, untouched, atol=1e-3)
        with pytest.raises(PlanError, match="cannot be merged"):
            merge(trainable)
        trainable.detach()
        assert torch.equal(tiny_bases.model(input_ids=ids).logits, untouched)


def test_dropout_is_alive() -> None:
    wrapped, x = around("serial", dropout=0.5), torch.randn(2, 4, dtype=torch.float64)
    wrapped.train()
    assert not torch.equal(wrapped(x), wrapped(x))
    wrapped.eval()
    assert torch.equal(wrapped(x), wrapped(x))

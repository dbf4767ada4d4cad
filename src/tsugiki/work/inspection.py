"""What a study has to know of a base before it is locked: its identity, its template, and the examples in its tokens.

Runs as a process of its own (`trial`), so that the study itself never holds a model. Trains nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsugiki.config import PlanSpec
from tsugiki.engine.base import Base
from tsugiki.engine.plan import make_plan
from tsugiki.work.examples import read_examples
from tsugiki.work.spec import TrialSpec
from tsugiki.work.task import Emit, open_base, render_for, token_lengths


def inspect_base(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    """`lengths`: tokens of prompt and completion per example, in the order of the file. `capacity`: see _capacity."""
    emit({"event": "phase", "phase": "load"})
    base = open_base(spec)
    emit({"event": "phase", "phase": "tokenise"})
    lengths = token_lengths(base.tokenizer, render_for(base, spec.template), read_examples(study / spec.train))
    return {
        "identity": asdict(base.identity),
        "dtype": str(base.dtype).removeprefix("torch."),
        "lengths": lengths,
        "capacity": _capacity(base, spec.plan) if spec.plans else None,
    }


def _capacity(base: Base, plan: PlanSpec) -> int:
    """Parameters that one rank has over all layers that get a low-rank update."""
    low_rank = make_plan(base.model, plan.model_copy(update={"method": "lora", "rank": 1})).low_rank
    layers = (base.model.get_submodule(name) for name in low_rank)
    return sum(layer.in_features + layer.out_features for layer in layers)

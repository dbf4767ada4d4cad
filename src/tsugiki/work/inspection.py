"""What a study has to know of a base before it is locked: its identity, its template, and the examples in its tokens.

Runs as a process of its own (`trial`), so that the study itself never holds a model. Trains nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsugiki.work.examples import read_examples
from tsugiki.work.spec import TrialSpec
from tsugiki.work.task import Emit, open_base, render_for, token_lengths


def inspect_base(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    """`lengths`: tokens of prompt and completion per example, in the order of the file."""
    emit({"event": "phase", "phase": "load"})
    base = open_base(spec)
    emit({"event": "phase", "phase": "tokenise"})
    lengths = token_lengths(base.tokenizer, render_for(base, spec.template), read_examples(study / spec.train))
    return {"identity": asdict(base.identity), "dtype": str(base.dtype).removeprefix("torch."), "lengths": lengths}

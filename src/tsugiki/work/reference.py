"""What the base can do untrained: with the bare prompt, and with a few solved examples in front of it.

One process for both, run by `trial`. These answers are what every adapted model has to beat. Shifted rows are answered
with the bare prompt, and the loss on general text is taken as "before", once for the whole study.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tsugiki.fingerprint import digest_file
from tsugiki.work.assess import answer_all, answer_shape, general_losses, scored
from tsugiki.work.examples import read_examples, shots, with_shots
from tsugiki.work.spec import TrialSpec
from tsugiki.work.task import Emit, open_base, render_for


def answer_untrained(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    emit({"event": "phase", "phase": "load"})
    base = open_base(spec)
    train, test = read_examples(study / spec.train), read_examples(study / spec.test)
    shape, rendered = answer_shape(base.tokenizer, train), render_for(base, spec.template)
    chosen = shots(train, spec.shots, seed=spec.recipe.seed)
    prompts = {
        "base": [rendered(example) for example in test],
        "k-shot": [rendered(with_shots(chosen, example)) for example in test],
    }
    found, seconds = {}, {}
    for name, texts in prompts.items():
        emit({"event": "phase", "phase": f"answer {name}"})
        started = time.perf_counter()
        answers = answer_all(base.model, base.tokenizer, texts, shape)
        seconds[name] = time.perf_counter() - started
        found[name] = scored(test, answers)
    shifted: dict[str, Any] = {}
    if spec.shift is not None:
        emit({"event": "phase", "phase": "answer shifted rows"})
        rows = read_examples(study / spec.shift)
        started = time.perf_counter()
        answers = answer_all(base.model, base.tokenizer, [rendered(example) for example in rows], shape)
        seconds["shifted"] = time.perf_counter() - started
        shifted = {"shifted": {**scored(rows, answers), "digest": digest_file(study / spec.shift)}}
    emit({"event": "phase", "phase": "retention"})
    started = time.perf_counter()
    general = general_losses(base.model, base.tokenizer, micro_tokens=spec.recipe.micro_tokens)
    seconds["retention"] = time.perf_counter() - started
    return {
        "references": found,
        "seconds": seconds,
        "test_digest": digest_file(study / spec.test),
        "shots": [example.row for example in chosen],
        "general": general,
        **shifted,
    }

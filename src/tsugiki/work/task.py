"""The base and the examples of one process: opened, checked against the study, turned into text and tokens.

Called by everything that runs inside a trial, and by `tsugiki train` and `tsugiki evaluate`. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.config import Recipe
from tsugiki.data.shapes import Example
from tsugiki.engine.base import Base, BaseSpec, load_base, render
from tsugiki.engine.batches import Encoded, completion_ids, encode, prompt_ids
from tsugiki.errors import BaseModelError, StudyError
from tsugiki.work.examples import Render, pairs, read_examples
from tsugiki.work.spec import Template, TrialSpec

Emit = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Task:
    base: Base
    rendered: Render
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    train_set: Encoded
    dev_set: Encoded


def open_task(spec: TrialSpec, study: Path, emit: Emit) -> Task:
    emit({"event": "phase", "phase": "load"})
    base = open_base(spec)
    rendered = render_for(base, spec.template)
    train, dev, test = (read_examples(study / name) for name in (spec.train, spec.dev, spec.test))
    return Task(
        base,
        rendered,
        train,
        test,
        train_set=tokens(base, rendered, train, spec.recipe),
        dev_set=tokens(base, rendered, dev, spec.recipe),
    )


def open_base(spec: TrialSpec) -> Base:
    """The base of the spec; one that has changed since the study was locked is refused."""
    base = load_base(BaseSpec(spec.base, precision=spec.recipe.precision, quantize=spec.recipe.quantize))
    if spec.base_digest is not None and base.identity.digest != spec.base_digest:
        raise StudyError(
            f"The base {spec.base} is not the one that the study was locked with "
            f"({base.identity.digest[:19]}…, not {spec.base_digest[:19]}…).",
            fix="Put the old base back, or start a new study.",
        )
    return base


def render_for(base: Base, template: Template) -> Render:
    if template == "chat" and base.tokenizer.chat_template is None:
        raise BaseModelError(
            f"The base {base.identity.name} has no chat template.", fix="Pass --template plain, or take a chat model."
        )

    def rendered(example: Example) -> str:
        return render(base.tokenizer, example.prompt, example.messages, template)

    return rendered


def tokens(base: Base, rendered: Render, examples: Sequence[Example], recipe: Recipe) -> Encoded:
    return encode(base.tokenizer, pairs(examples, rendered), max_length=recipe.max_length)


def token_lengths(tokenizer: Any, rendered: Render, examples: Sequence[Example]) -> list[tuple[int, int]]:
    """Tokens of prompt and completion of each example, as the model will read them."""
    texts = pairs(examples, rendered)
    return [
        (len(prompt_ids(tokenizer, prompt)), len(completion_ids(tokenizer, completion, after=prompt)))
        for prompt, completion in texts
    ]


def template_for(tokenizer: Any, examples: Sequence[Example]) -> Template:
    """Chats as the base shows chats, where it can; anything else as it stands."""
    chats = any(example.messages is not None for example in examples) and tokenizer.chat_template is not None
    return "chat" if chats else "plain"


def counting(tokenizer: Any) -> Callable[[Sequence[Example]], list[tuple[int, int]]]:
    """Token lengths before a study: chats as the base shows chats, where it can."""

    def count(examples: Sequence[Example]) -> list[tuple[int, int]]:
        template = template_for(tokenizer, examples)
        return token_lengths(
            tokenizer, lambda example: render(tokenizer, example.prompt, example.messages, template), examples
        )

    return count

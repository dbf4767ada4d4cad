"""Examples on disk inside a study, and as the text pairs that the engine sees.

Written by `prepare`, read by every trial. The row number of the user's file travels with each example, so that a
prediction can be traced back to its row.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsugiki.data.keys import text_key
from tsugiki.data.shapes import Example
from tsugiki.errors import StudyError
from tsugiki.files import write_text
from tsugiki.fingerprint import digest_bytes

Render = Callable[[Example], str]  # the text that the model sees before the completion
SHOT_SEPARATOR = "\n\n"


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    write_text(path, "".join(json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples))


def read_examples(path: Path) -> tuple[Example, ...]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would also split at U+2028 and U+0085
        return tuple(_example(json.loads(line)) for line in lines if line)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(
            f"The examples of the study in {path} cannot be read ({error}).",
            fix="Start the study again in another folder.",
        ) from None


def pairs(examples: Sequence[Example], render: Render) -> list[tuple[str, str]]:
    return [(render(example), example.completion) for example in examples]


def prompt_mark(data_digest: str, prompt: str) -> str:
    """By which a manifest says that a prompt was seen in training, without holding the prompt."""
    return digest_bytes(f"{data_digest} {text_key(prompt)}".encode("utf-8", "surrogatepass"))[7:23]


def shots(train: Sequence[Example], count: int, *, seed: int) -> tuple[Example, ...]:
    """The examples of the k-shot prompt: the same ones for every test item, so that the prompt is one decision."""
    chooser = random.Random(f"{seed}/shots")  # noqa: S311 - a choice, not a secret
    return tuple(chooser.sample(list(train), min(count, len(train))))


def with_shots(chosen: Sequence[Example], example: Example) -> Example:
    """The example with solved ones before it: as earlier turns of the chat, and as text for the plain template.

    A chat has one system turn, at its head: that of the example itself, or else the first one of the solved ones.
    """
    text = SHOT_SEPARATOR.join([*(shot.prompt + shot.completion for shot in chosen), example.prompt])
    turns: list[tuple[str, str]] = []
    for shot in chosen:
        turns += [*_turns(shot), ("assistant", shot.completion)]
    turns += _turns(example)
    said = [turn for one in (example, *chosen) for turn in one.messages or () if turn[0] == "system"]
    return Example(example.row, text, example.completion, (*said[:1], *turns), example.group)


def _turns(example: Example) -> list[tuple[str, str]]:
    """Without the system's."""
    messages = example.messages if example.messages is not None else (("user", example.prompt),)
    return [turn for turn in messages if turn[0] != "system"]


def _example(value: dict[str, Any]) -> Example:
    if not all(isinstance(value[name], str) for name in ("prompt", "completion")):
        raise TypeError(f"prompt and completion of row {value['row']} must be texts")
    messages = value.pop("messages")
    turns = None if messages is None else tuple((str(role), str(content)) for role, content in messages)
    return Example(**value, messages=turns)

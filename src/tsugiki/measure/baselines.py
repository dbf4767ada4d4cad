"""Answers that need no model: the input handed back, and the most frequent answer.

Called by work/ on plain texts. They are on the table of every study, because a score means nothing until it is known
what a photocopier would have scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def copy_answers(prompts: Sequence[str]) -> list[str]:
    """Each prompt's own input: what is left without the words that all prompts share at their start and end.

    So `用語: テレプリンタ\\n標準表記: ` is answered with `テレプリンタ`. The shared words are cut back to whole ones,
    so that inputs which happen to begin alike keep their beginning. One prompt alone is copied whole.
    """
    if len(set(prompts)) < 2:
        return [prompt.strip() for prompt in prompts]
    head = _whole_words(_shared_start(prompts))
    tail = _whole_words(_shared_start([prompt[len(head) :][::-1] for prompt in prompts]))
    return [prompt[len(head) : len(prompt) - len(tail)].strip() for prompt in prompts]


def majority_answer(completions: Sequence[str]) -> str | None:
    """The most frequent answer of the training rows, the earliest of equals; None without rows."""
    counts = Counter(completion.strip() for completion in completions)
    return max(counts, key=counts.__getitem__) if counts else None


def _shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # what the two extremes share, all share
    different = (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(different, len(first))]


def _whole_words(shared: str) -> str:
    """The shared text up to its last character that is neither letter nor digit."""
    kept = len(shared)
    while kept and shared[kept - 1].isalnum():
        kept -= 1
    return shared[:kept]

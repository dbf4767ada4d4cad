"""How good the answers are: a model with or without an adapter answers the test set, and every answer is kept.

Called by the trials and by `tsugiki evaluate`. The answers decide everything later (scores, intervals, comparisons),
so they are stored with their row numbers; nothing here picks, weights or leaves out a test item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, get_args

from tsugiki.config import LanguageName, MetricName
from tsugiki.data.shapes import Example
from tsugiki.engine.batches import Encoded, completion_ids, encode
from tsugiki.engine.generate import generate
from tsugiki.engine.loss import mean_loss
from tsugiki.errors import DataError

SPARE_TOKENS = 8  # beyond the longest completion seen in training, so that a longer right answer is not cut
SEPARATORS = ("\n", "\n\n", None)  # what an answer may never go on behind, the narrowest first
GENERATION_BATCH = 32
LONGEST = 10**6  # tokens of a passage of general text: none is left out
GENERAL_TOKENS = 2000  # per language: before and after are compared on the same text, so this tells small changes


@dataclass(frozen=True)
class AnswerShape:
    """What the training completions say about an answer: how long it may be, and what it never goes on behind."""

    max_new_tokens: int
    separator: str | None  # the end of a line or of a paragraph; None: an answer may hold anything

    def end(self, text: str) -> str:
        """The answer alone; what stands behind the separator was never asked for."""
        text = text.strip()
        return text if self.separator is None else text.partition(self.separator)[0].strip()

    def done(self, text: str) -> bool:
        """Whether nothing that may still come can change `end`."""
        return self.separator is not None and self.separator in text.lstrip()


def answer_shape(tokenizer: Any, train: Sequence[Example]) -> AnswerShape:
    """The same for every model that is compared, so that a base that talks on is not punished for it."""
    longest = max(len(completion_ids(tokenizer, example.completion)) for example in train)
    completions = [example.completion.strip() for example in train]
    unseen = (end for end in SEPARATORS if end is None or not any(end in text for text in completions))
    return AnswerShape(longest + SPARE_TOKENS, next(unseen))


def answer_all(model: Any, tokenizer: Any, prompts: Sequence[str], shape: AnswerShape) -> list[str]:
    """A model that talks on behind its answer is cut off there: what it costs to go on is saved."""
    raw = generate(
        model,
        tokenizer,
        prompts,
        max_new_tokens=shape.max_new_tokens,
        batch_size=GENERATION_BATCH,
        done=shape.done,
    )
    return [shape.end(answer) for answer in raw]


def scored(test: Sequence[Example], answers: Sequence[str]) -> dict[str, Any]:
    """Every answer beside its reference, and the score of each item under every metric that applies."""
    references = [example.completion for example in test]
    return {
        "predictions": [
            {"row": example.row, "expected": example.completion, "predicted": answer}
            for example, answer in zip(test, answers, strict=True)
        ],
        "scores": scores(answers, references),
        "facts": facts(answers, references),
    }


def scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
    from tsugiki.measure.metrics import scores_of

    found: dict[str, list[float]] = {}
    for metric in get_args(MetricName):
        try:
            found[metric] = scores_of(metric, answers, references)
        except DataError:  # json_fields: the references are no JSON, so the metric does not apply
            continue
    return found


def facts(answers: Sequence[str], references: Sequence[str]) -> dict[str, int]:
    """How many answers have a number, a unit or a negation wrong, which overlap with the reference does not show."""
    from tsugiki.measure.facts import agree

    reports = [agree(answer, reference) for answer, reference in zip(answers, references, strict=True)]
    return {
        "n": len(reports),
        "numbers_wrong": sum(not report.numbers_ok for report in reports),
        "units_wrong": sum(not report.units_ok for report in reports),
        "negation_wrong": sum(not report.negation_ok for report in reports),
    }


def general_losses(model: Any, tokenizer: Any, *, micro_tokens: int) -> dict[str, float]:
    """Nats per token on held-out general text in both languages: what rises here was forgotten."""
    from tsugiki.measure.general import general_passages

    found = {}
    for language in get_args(LanguageName):
        encoded = encode(tokenizer, [("", passage) for passage in general_passages(language)], max_length=LONGEST)
        found[language] = mean_loss(model, _head(encoded, GENERAL_TOKENS), micro_tokens=micro_tokens)
    return found


def _head(encoded: Encoded, tokens: int) -> Encoded:
    """Whole passages from the start until there are enough tokens."""
    total = accumulate(
        len(prompt) + len(text) for prompt, text in zip(encoded.prompts, encoded.completions, strict=True)
    )
    count = next((place for place, sum_so_far in enumerate(total, start=1) if sum_so_far >= tokens), len(encoded))
    return Encoded(encoded.prompts[:count], encoded.completions[:count])

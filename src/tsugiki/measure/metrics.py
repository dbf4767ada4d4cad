"""Right or wrong, and how nearly: one answer against its reference, between 0 and 1, and the number that is reported.

Called by work/ on plain texts; it never sees a model. In both texts width is folded first, the ends are stripped and
runs of white space made one space: full-width letters or a trailing line break are no mistakes. Case counts, and so
does everything else: 102 is a mistake for 10².

`score` gives every metric per item. The mean of these is the reported number, except for macro_f1, which is a property
of the whole test set: an item's score is exact match there, and what paired comparisons use is each item's share
(`comparable_scores`), so that two methods are compared by the number that is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics import CHRF

from tsugiki.config import MetricName
from tsugiki.errors import DataError
from tsugiki.measure.macro_f1 import macro_f1_estimate, macro_f1_shares
from tsugiki.measure.stats import Estimate, Groups, mean_with_interval
from tsugiki.width import folded

_CHRF = CHRF()  # characters 1 to 6, no words: needs no tokeniser, so Japanese counts as it stands


def score(metric: MetricName, prediction: str, reference: str) -> float:
    prediction, reference = normalised(prediction), normalised(reference)
    match metric:
        case "exact_match" | "macro_f1":
            return float(prediction == reference)
        case "chrf":
            return _chrf(prediction, reference)
        case "character_accuracy":
            return _character_accuracy(prediction, reference)
        case "json_fields":
            return _json_fields(prediction, reference)


def quality(
    metric: MetricName,
    predictions: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    confidence: float,
    groups: Groups = None,
    seed: int = 0,
) -> Estimate | None:
    """The reported number with its interval; `predictions`: the answers of each seed to the same prompts."""
    if metric == "macro_f1":
        labels = [[normalised(answer) for answer in answers] for answers in predictions]
        truth = [normalised(reference) for reference in references]
        return macro_f1_estimate(labels, truth, confidence=confidence, groups=groups, seed=seed)
    scores = [scores_of(metric, answers, references) for answers in predictions]
    return mean_with_interval(scores, confidence=confidence, groups=groups, seed=seed)


def scores_of(metric: MetricName, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Per-item scores of one seed."""
    return [score(metric, prediction, reference) for prediction, reference in zip(predictions, references, strict=True)]


def comparable_scores(metric: MetricName, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Per-item values of one seed whose mean is the reported number."""
    if metric == "macro_f1" and references:
        return macro_f1_shares(
            [normalised(answer) for answer in predictions], [normalised(text) for text in references]
        )
    return scores_of(metric, predictions, references)


def normalised(text: str) -> str:
    return folded(text)


def _chrf(prediction: str, reference: str) -> float:
    if not reference or not prediction:
        return float(prediction == reference)
    return min(1.0, float(_CHRF.sentence_score(prediction, [reference]).score) / 100)


def _character_accuracy(prediction: str, reference: str) -> float:
    """1 - character error rate, at least 0: a rambling answer is wrong, not less than wrong."""
    if not reference:
        return float(not prediction)
    return max(0.0, 1 - Levenshtein.distance(prediction, reference) / len(reference))


def _json_fields(prediction: str, reference: str) -> float:
    """Fields reproduced / (fields of the reference + fields that were made up). Invalid JSON scores 0.

    A field is the path to one leaf (`address.city`, `parts.0`); 1 and 1.0 are equal, true and 1 are not.
    """
    try:
        expected = _fields(json.loads(reference))
    except ValueError:
        raise DataError(
            f"A reference answer is not JSON: {reference[:60]!r}.",
            fix="Correct the answer, or choose another metric, such as exact_match.",
        ) from None
    try:
        found = _fields(json.loads(prediction))
    except (ValueError, RecursionError):
        return 0.0
    reproduced = sum(path in found and found[path] == value for path, value in expected.items())
    return reproduced / len(expected.keys() | found.keys())


def _fields(value: Any, path: tuple[str, ...] = ()) -> Mapping[tuple[str, ...], tuple[str, Any]]:
    """Leaves by path, each with its kind; an empty object or list is a leaf too."""
    if isinstance(value, dict | list) and value:
        inner = value.items() if isinstance(value, dict) else ((str(place), item) for place, item in enumerate(value))
        return {leaf: found for key, item in inner for leaf, found in _fields(item, (*path, key)).items()}
    kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    return {path: (kind, normalised(value) if isinstance(value, str) else value)}

"""The test rows cut into slices, by label, length, language and the columns of the file: an entry of the scorecard.

Called by `assemble` with the candidate of the verdict, where every slice is scored for the candidate, full fine-tuning
and the base, and by `evaluate` for an adapter and its base. Which slice is surely worse than the whole is decided in
measure/slices.py, with intervals that hold for all slices together. Macro F1 is a property of a whole test set, so
slices are then scored by exact match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tsugiki.config import MethodName, MetricName
from tsugiki.data.keys import text_key
from tsugiki.data.profile import language
from tsugiki.data.sensitive import masked
from tsugiki.data.shapes import Example
from tsugiki.measure.metrics import scores_of
from tsugiki.measure.slices import FEWEST_GROUPS, SliceResult, compare_slices
from tsugiki.measure.stats import Estimate, Groups, Scores, mean_with_interval, unmeasured
from tsugiki.report.words import missing_sentence
from tsugiki.work.evidence import Evidence
from tsugiki.work.slice_columns import MOST_VALUES, SliceColumn, number
from tsugiki.work.summary import answers_of

By = Literal["label", "length", "language", "value", "number", "period"]

THIRDS = 3


@dataclass(frozen=True)
class Slice:
    """Rows with one value (None: an empty cell), or with a value from `start` to `end`; `items`: places in the test."""

    items: tuple[int, ...]
    value: str | None = None
    start: float | str | None = None
    end: float | str | None = None


@dataclass(frozen=True)
class Dimension:
    """One way to cut all test rows; `left_out`: values beyond the most frequent ones, whose rows are in no slice."""

    by: By
    name: str | None  # of the column
    slices: tuple[Slice, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Tested:
    """The rows that were answered and what they can be cut by; `columns` that the user `named` are never left out."""

    examples: Sequence[Example]
    groups: Groups
    closed: bool  # answers are labels of a closed set
    columns: Sequence[SliceColumn] = ()
    named: Sequence[str] = ()


def slices_entry(evidence: Evidence, candidate: MethodName | None) -> dict[str, Any] | None:
    """None where the candidate has no answers to the test rows of this study."""
    metric = metric_of_slices(evidence.criteria.metric)
    answered = _answered(evidence, candidate, metric)
    if candidate is None or candidate not in answered:
        return None
    too_few = missing_sentence("too_few", evidence.intake.language)
    return sliced(
        tested_in(evidence), answered, candidate, metric, confidence=evidence.criteria.confidence, too_few=too_few
    )


def metric_of_slices(metric: MetricName) -> MetricName:
    return "exact_match" if metric == "macro_f1" else metric


def tested_in(evidence: Evidence) -> Tested:
    named = evidence.lock["data"].get("slice_columns", [])
    closed = bool(evidence.check["closed_labels"])
    return Tested(evidence.test, evidence.groups, closed, evidence.slice_columns, named)


def sliced(
    tested: Tested,
    answered: Mapping[str, Scores],
    candidate: str,
    metric: MetricName,
    *,
    confidence: float,
    too_few: str,
) -> dict[str, Any]:
    """The entry: `answered` holds scores per seed and item; the slices of `candidate` are judged."""
    dimensions = dimensions_of(tested)
    slices = [one.items for dimension in dimensions for one in dimension.slices]
    tables = {
        name: compare_slices(scores, slices, confidence=confidence, groups=tested.groups)
        for name, scores in answered.items()
    }
    whole = {
        name: mean_with_interval(one, confidence=confidence, groups=tested.groups) for name, one in answered.items()
    }
    ours = tables[candidate]
    says = _Says(metric, too_few)
    results = zip(ours.results, *(table.results for table in tables.values()), strict=True)
    listed = [
        {
            "by": dimension.by,
            "name": dimension.name,
            "left_out": dimension.left_out,
            "slices": [_slice_json(one, says, list(tables), next(results)) for one in dimension.slices],
        }
        for dimension in dimensions
    ]
    return {
        "method": candidate,
        "metric": metric,
        "confidence": confidence,
        "correction": "bonferroni",
        "corrected_confidence": ours.confidence,
        "looked_at": ours.looked_at,
        "fewest": FEWEST_GROUPS,
        "whole": {name: says.of(one) for name, one in whole.items()},
        "dimensions": listed,
        "worst": None if ours.worst is None else _flat(listed)[ours.worst],
    }


def _flat(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each slice with its dimension, in the order in which they were compared."""
    return [{"by": one["by"], "name": one["name"], **part} for one in listed for part in one["slices"]]


def _slice_json(one: Slice, says: _Says, names: Sequence[str], results: tuple[SliceResult, ...]) -> dict[str, Any]:
    """`results`: of the candidate, then of each of `names`."""
    ours, *each = results
    about: dict[str, Any] = {"value": one.value} if one.start is None else {"from": one.start, "to": one.end}
    return {
        **about,
        "n": ours.n,
        "groups": ours.groups,
        "too_small": ours.quality is None,
        "quality": {name: says.of(result.quality, result.n) for name, result in zip(names, each, strict=True)},
        "difference": says.of(ours.difference, ours.n),
        "surely_worse": None if ours.difference is None else ours.surely_worse,
    }


@dataclass(frozen=True)
class _Says:
    """An estimate as the contract's "quality", or why there is none."""

    metric: MetricName
    too_few: str

    def of(self, found: Estimate | None, n: int = 0) -> dict[str, Any]:
        return unmeasured(self.metric, self.too_few, n=n) if found is None else found.as_json(self.metric)


def dimensions_of(tested: Tested) -> list[Dimension]:
    """What cuts the test rows into two slices or more; a column that the user named stays in any case."""
    test = tested.examples
    found: list[Dimension] = []
    if tested.closed:
        found.append(_by_value("label", None, [masked(example.completion) for example in test]))
    found.append(_in_thirds("length", None, [float(len(example.prompt)) for example in test]))
    found.append(_by_value("language", None, [language(example.prompt) for example in test]))
    found += [_by_column(column, test) for column in tested.columns]
    return [one for one in found if len(one.slices) > 1 or one.name in tested.named]


def _answered(evidence: Evidence, candidate: MethodName | None, metric: MetricName) -> dict[str, Scores]:
    """Scores per seed and item of the candidate, full and base; who answered other rows is left out."""
    wanted: tuple[MethodName | None, ...] = (candidate, "full")
    given = {
        method: evidence.done(evidence.finals(method))
        for method in wanted
        if method is not None and method in evidence.methods
    }
    found: dict[str, list[list[str]]] = {
        name: [answers_of(one) for one in done]
        for name, done in given.items()
        if done and all(one["test_digest"] == evidence.test_digest for one in done)
    }
    reference = evidence.result("reference")
    if reference is not None and reference["test_digest"] == evidence.test_digest:
        found["base"] = [answers_of(reference["references"]["base"])]
    return {
        name: [scores_of(metric, texts, evidence.references) for texts in answers] for name, answers in found.items()
    }


def _by_column(column: SliceColumn, test: Sequence[Example]) -> Dimension:
    cells = [column.cells.get(example.row) for example in test]
    if column.kind == "period":
        return _in_thirds("period", column.name, cells)
    if column.kind == "number":
        return _in_thirds("number", column.name, [None if cell is None else number(cell) for cell in cells])
    return _by_value("value", column.name, [None if cell is None else masked(cell) for cell in cells])


def _by_value(by: By, name: str | None, values: Sequence[str | None]) -> Dimension:
    """The most frequent values, each as its first row writes it."""
    members: dict[str | None, list[int]] = {}
    for place, value in enumerate(values):
        members.setdefault(None if value is None else text_key(value), []).append(place)
    ranked = sorted(members.values(), key=lambda places: (-len(places), places[0]))
    kept = tuple(Slice(tuple(places), value=values[places[0]]) for places in ranked[:MOST_VALUES])
    return Dimension(by, name, kept, left_out=len(ranked) - len(kept))


def _in_thirds(by: By, name: str | None, values: Sequence[Any]) -> Dimension:
    """The lower, middle and upper third of the rows that have a value; equal values stay together."""
    places = [place for place, value in enumerate(values) if value is not None]
    counts = Counter(values[place] for place in places)
    third: dict[Any, int] = {}
    before = 0
    for value in sorted(counts):  # by the middle of its block of equal values
        third[value] = THIRDS * (2 * before + counts[value]) // (2 * len(places))
        before += counts[value]
    slices = []
    for part in range(THIRDS):
        members = tuple(place for place in places if third[values[place]] == part)
        if members:
            kept = [values[place] for place in members]
            slices.append(Slice(members, start=min(kept), end=max(kept)))
    blank = tuple(place for place, value in enumerate(values) if value is None)
    return Dimension(by, name, (*slices, *((Slice(blank),) if blank else ())))

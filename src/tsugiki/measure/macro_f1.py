"""Macro-F1 of closed labels: every class of the reference counts the same, however rare.

Called by metrics.py. The classes are those that occur in the references; an answer outside them is a miss for its
class and founds no class of its own, so that a talkative model is not marked down twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsugiki.measure.intervals import Floats, Spread, bca, number_groups, wilson
from tsugiki.measure.stats import FEWEST_UNITS, Estimate, Groups, named


def macro_f1_shares(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """One value per item, whose mean is macro-F1 exactly, and whose spread is its spread to first order.

    The influence of each item (Hampel, JASA 69, 1974) on the mean of 2 found / (asked for + answered) over the classes,
    around macro-F1 itself. A share may be negative, or above 1 where its class is rare.
    """
    tables = _tables([predictions], references, np.arange(len(references)))[:, 0]  # (item, class, kind)
    found, occurrences = tables[..., 0], tables[..., 1] + tables[..., 2]
    total = occurrences.sum(axis=0)  # of each class; at least 1, since the reference asks for it
    f1 = 2 * found.sum(axis=0) / total
    influence = len(references) * ((2 * found - f1 * occurrences) / total).mean(axis=1)
    return [float(share) for share in f1.mean() + influence]


def macro_f1_estimate(
    predictions: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    confidence: float,
    groups: Groups = None,
    seed: int = 0,
) -> Estimate | None:
    """Mean over seeds of each seed's macro-F1; items or whole groups are resampled, all seeds together."""
    n = len(references)
    clusters = number_groups(groups, n)
    count = int(clusters.max(initial=-1)) + 1
    if not predictions or count < FEWEST_UNITS:
        return None
    tables = _tables(predictions, references, clusters)
    value = float(_value(tables.sum(axis=0)))
    sampling = _spread(tables, exact=len(predictions) == 1 and count == n)
    if sampling.items == 0:  # everything right or everything wrong: no spread to resample
        low, high = wilson(min(1.0, value), count, sampling.critical(confidence))
        return Estimate(value, low, high, n, named("Wilson", len(predictions), clusters))

    def statistic(drawn: NDArray[np.intp], axis: int = -1) -> Floats:
        drawn = np.moveaxis(drawn, axis, -1)
        flat = drawn.reshape(-1, drawn.shape[-1])
        weights = np.zeros((len(flat), count))
        np.add.at(weights, (np.arange(len(flat))[:, None], flat), 1.0)
        return _value(np.einsum("rc,cskt->rskt", weights, tables, optimize=True)).reshape(drawn.shape[:-1])

    at, method = bca((np.arange(count),), statistic, value, sampling, seed)
    low, high = at(confidence)
    return Estimate(value, max(0.0, low), min(1.0, high), n, named(method, len(predictions), clusters))


def _tables(
    predictions: Sequence[Sequence[str]], references: Sequence[str], clusters: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(cluster, seed, class, kind) counts; kinds: found, asked for, answered."""
    classes = {label: number for number, label in enumerate(sorted(set(references)))}
    tables = np.zeros((int(clusters.max(initial=-1)) + 1, len(predictions), len(classes), 3))
    for seed, answers in enumerate(predictions):
        for cluster, answer, reference in zip(clusters, answers, references, strict=True):
            tables[cluster, seed, classes[reference], 1] += 1
            if answer in classes:
                tables[cluster, seed, classes[answer], 2] += 1
            if answer == reference:
                tables[cluster, seed, classes[reference], 0] += 1
    return tables


def _value(counts: NDArray[np.float64]) -> Floats:
    """(..., seed, class, kind) counts to the mean over seeds; a class that a resample lost is left out of its mean."""
    occurrences = counts[..., 1] + counts[..., 2]
    present = occurrences > 0
    f1 = np.divide(2 * counts[..., 0], occurrences, out=np.zeros_like(occurrences), where=present)
    per_seed: Floats = f1.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return np.asarray(per_seed.mean(axis=-1))


def _spread(tables: NDArray[np.float64], *, exact: bool) -> Spread:
    """Jackknife over clusters, plus the variance between the seeds' own values (which counts their noise too)."""
    count, seeds = tables.shape[:2]
    without = _value(tables.sum(axis=0)[None] - tables)
    items = (count - 1) / count * float(np.sum((without - without.mean()) ** 2))
    if seeds == 1:
        return Spread(items, 0.0, np.inf if exact else count - 1)
    between = float(np.var([_value(tables[:, [seed]].sum(axis=0)) for seed in range(seeds)], ddof=1)) / seeds
    uncertainty = items**2 / (count - 1) + between**2 / (seeds - 1)
    return Spread(items, between, (items + between) ** 2 / uncertainty if uncertainty > 0 else np.inf)

"""Learning curves of real data: small classifiers on the benchmark tasks, with the truth from many larger runs.

Called by benchmarks/curves.py. Language models take hours for what this takes minutes for, and what is under test, the
reading of a curve from a few noisy points, does not know who learnt. Each study has training rows, a test set and three
seeds of its own, drawn from the task; the true quality at a size is the mean over many training sets on many test rows.
`measured_curves` reads curves of language models that were stored (docs/benchmarks.md says how to add one).
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from benchmarks.curve_worlds import LATER, Quality, Rng, World, least_size
from benchmarks.tasks import write_task
from tsugiki.files import write_json
from tsugiki.measure.curve import Point
from tsugiki.measure.metrics import scores_of
from tsugiki.measure.stats import mean_with_interval

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "measured_curves.json"
TASKS = {"E1": 320, "E5": 64, "E6": 160, "J1": 320}  # training rows of a study: a quarter of what the task has to spare
LEARNERS = ("support vectors", "bayes", "neighbours", "forest")
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)  # of the training rows, for the sizes of a study
ITEMS, SEEDS = 150, 3
TRUE_RUNS, TRUE_ITEMS = 12, 600


@dataclass(frozen=True)
class Texts:
    features: Any  # sparse, one row per text
    labels: NDArray[np.str_]


def real_worlds(studies: int, seed: int, *, confidence: float) -> Iterator[World]:
    """`studies` of each task and learner; tasks whose data cannot be fetched here are left out by the caller."""
    for place, (task, largest) in enumerate(TASKS.items()):
        texts = _read(task)
        for number, learner in enumerate(LEARNERS):
            rng = np.random.default_rng([seed, place, number])
            truth = _truth(texts, learner, largest, rng)
            for _ in range(studies):
                yield _study(f"{task}, {learner}", texts, learner, largest, truth, rng, confidence)


def measured_curves(*, confidence: float) -> Iterator[tuple[str, tuple[Point, ...]]]:
    """Stored curves of language models: [{name, points: [{n, right: ["0110...", one per seed]}]}]."""
    if not STORED.is_file():
        return
    for curve in json.loads(STORED.read_text(encoding="utf-8")):
        points = []
        for one in curve["points"]:
            scores = [[float(mark) for mark in seed] for seed in one["right"]]
            found = mean_with_interval(scores, confidence=confidence)
            if found is not None:
                points.append(Point(one["n"], found, scores))
        yield curve["name"], tuple(points)


def add_measured(folder: Path) -> int:
    """Keep the curve of a finished study whose answers are right or wrong; returns the number of its sizes."""
    from tsugiki.work.design import curve_method
    from tsugiki.work.evidence import read_evidence
    from tsugiki.work.summary import answers_of

    evidence = read_evidence(folder)
    method = curve_method(evidence.methods)
    by_size: dict[int, list[str]] = {}
    for trial in evidence.schedule.trials:
        if trial.kind == "train" and trial.method == method:
            for found in evidence.done([trial]):
                scores = scores_of("exact_match", answers_of(found), evidence.references)
                by_size.setdefault(trial.rows or len(evidence.train), []).append(
                    "".join(f"{one:.0f}" for one in scores)
                )
    name = f"{folder.name}, {evidence.lock['base']['name']}, {method}"
    kept = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else []
    points = [{"n": size, "right": by_size[size]} for size in sorted(by_size)]
    write_json(STORED, [*(one for one in kept if one["name"] != name), {"name": name, "points": points}])
    return len(points)


def _truth(texts: Texts, learner: str, largest: int, rng: Rng) -> Quality:
    """The mean over many training sets, joined by straight lines in the logarithm of the size."""
    sizes = [round(share * largest) for share in (*SHARES, *LATER)]
    found = np.zeros((TRUE_RUNS, len(sizes)))
    for run in range(TRUE_RUNS):
        rows = rng.permutation(len(texts.labels))
        pool, test = rows[: sizes[-1]], rows[sizes[-1] :][:TRUE_ITEMS]
        found[run] = [_right(texts, learner, pool[:size], test, run).mean() for size in sizes]
    logs, values = np.log(sizes), np.maximum.accumulate(found.mean(axis=0))
    return lambda n: float(np.interp(np.log(n), logs, values))


def _study(name: str, texts: Texts, learner: str, largest: int, truth: Quality, rng: Rng, confidence: float) -> World:
    """As work/ does it: one training part, per seed nested subsets of it, the same test items for all."""
    rows = rng.permutation(len(texts.labels))
    test, pool = rows[:ITEMS], rows[ITEMS:]
    orders = [np.concatenate((rng.permutation(pool[:largest]), pool[largest:])) for _ in range(SEEDS)]
    points = []
    for size in (round(share * largest) for share in (*SHARES, *LATER)):
        scores = [_right(texts, learner, order[:size], test, seed).tolist() for seed, order in enumerate(orders)]
        found = mean_with_interval(scores, confidence=confidence)
        assert found is not None
        points.append(Point(size, found, scores))
    target = truth(float(np.exp(rng.uniform(np.log(points[0].n), np.log(LATER[-1] * largest)))))
    least = least_size(truth, target, points[0].n, largest)
    return World(name, truth, tuple(points[: len(SHARES)]), tuple(points[len(SHARES) :]), target, least)


def _right(
    texts: Texts, learner: str, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    labels = texts.labels[train]
    if len(set(labels)) == 1:
        return (texts.labels[test] == labels[0]).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rows for many classes is what is measured here
        model = _model(learner, seed).fit(texts.features[train], labels)
    return (model.predict(texts.features[test]) == texts.labels[test]).astype(np.float64)


def _model(learner: str, seed: int) -> Any:
    if learner == "support vectors":
        return LinearSVC(random_state=seed)
    if learner == "bayes":
        return MultinomialNB(alpha=0.05)
    if learner == "neighbours":
        return KNeighborsClassifier(n_neighbors=1, metric="cosine", algorithm="brute")
    return RandomForestClassifier(n_estimators=40, random_state=seed, n_jobs=1)


def _read(task: str) -> Texts:
    path = ROOT / ".data" / f"curves-{task}.csv"
    if not path.is_file():
        write_task(task, path, None)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=6000, sublinear_tf=True)
    features = vectors.fit_transform([row["prompt"] for row in rows]).tocsr()
    return Texts(features, np.array([row["completion"] for row in rows]))

"""How often the intervals of measure/ contain the truth: `python -m benchmarks.coverage`.

Scores with known means: items of their own difficulty, groups of like items, seeds with luck, right/wrong or graded,
alone or paired. Every interval is asked for 95 %. Writes benchmarks/results/coverage.json and exits 1 where an interval
surely covers less than 93 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.measure import metrics
from tsugiki.measure.stats import Estimate, mean_with_interval, paired_difference

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "coverage.json"
CONFIDENCE, LEAST = 0.95, 0.93
DIFFICULTY, CHANCE, LUCK = 0.6, 0.4, 0.1  # variances of item and chance, spread of a seed
FREQUENCIES = (0.4, 0.3, 0.2, 0.1)  # of the classes under macro-F1
ALIKE = 0.5  # share of an item's difficulty that its group shares

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    interval: Literal["mean", "difference"]
    scores: Literal["right/wrong", "graded", "macro-F1"]
    items: int
    seeds: int
    quality: float
    grouped: bool = False


def settings() -> Iterator[Setting]:
    for items in (30, 100, 200):
        for quality in (0.6, 0.9, 0.97):
            for seeds in (1, 3):
                yield Setting("mean", "right/wrong", items, seeds, quality)
        for seeds in (1, 3):
            yield Setting("mean", "graded", items, seeds, 0.7)
            yield Setting("mean", "right/wrong", items, seeds, 0.7, grouped=True)
            yield Setting("mean", "graded", items, seeds, 0.7, grouped=True)
            for quality in (0.6, 0.9):
                yield Setting("difference", "right/wrong", items, seeds, quality)
            yield Setting("difference", "graded", items, seeds, 0.7)
            yield Setting("difference", "right/wrong", items, seeds, 0.7, grouped=True)
    for items in (100, 200):
        for seeds in (1, 3):
            yield Setting("mean", "macro-F1", items, seeds, 0.7)


def covered(setting: Setting, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng([setting.items, setting.seeds, int(100 * setting.quality), int(setting.grouped)])
    inside, widths, methods = 0, [], set()
    for run in range(runs):
        groups = _groups(rng, setting.items) if setting.grouped else None
        found, truth = _once(setting, groups, rng, run)
        inside += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        methods.add(found.method)
    low, high = stats.binomtest(inside, runs).proportion_ci(CONFIDENCE, method="wilson")
    rate = {"rate": inside / runs, "low": float(low), "high": float(high)}
    return {**asdict(setting), "method": sorted(methods), "covered": rate, "mean_width": float(np.mean(widths))}


def _once(
    setting: Setting, groups: NDArray[np.int64] | None, rng: np.random.Generator, run: int
) -> tuple[Estimate, float]:
    """One estimate and what it should have contained."""
    difficulty = rng.standard_normal(setting.items)
    if groups is not None:
        shared = rng.standard_normal(setting.items)[groups]
        difficulty = np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * difficulty
    named = None if groups is None else groups.tolist()
    ours = _scores(setting, setting.quality, difficulty, rng)
    if setting.scores == "macro-F1":
        found, truth = _macro_f1(setting, ours, rng, run)
    elif setting.interval == "mean":
        found = mean_with_interval(ours, confidence=CONFIDENCE, groups=named, seed=run)
        truth = setting.quality
    else:
        theirs = _scores(setting, setting.quality - 0.05, difficulty, rng)
        found = paired_difference(ours, theirs, confidence=CONFIDENCE, groups=named, seed=run)
        truth = 0.05
    assert found is not None
    return found, truth


def _scores(setting: Setting, quality: float, difficulty: Floats, rng: np.random.Generator) -> list[list[float]]:
    """(seed, item) with mean `quality` over items, seeds and chance: a probit model, whose mean is known exactly."""
    luck = LUCK if setting.seeds > 1 else 0.0
    chance = rng.standard_normal((setting.seeds, setting.items))
    latent = np.sqrt(DIFFICULTY) * difficulty + np.sqrt(CHANCE) * chance
    shift = luck * rng.standard_normal((setting.seeds, 1))
    if setting.scores != "graded":
        ability = stats.norm.ppf(quality) * np.sqrt(1 + luck**2) + shift
        return (latent < ability).astype(np.float64).tolist()
    return stats.norm.cdf(stats.norm.ppf(quality) * np.sqrt(2 + luck**2) + shift + latent).tolist()


def _macro_f1(
    setting: Setting, right: list[list[float]], rng: np.random.Generator, run: int
) -> tuple[Estimate | None, float]:
    """Four classes of unequal frequency; a wrong answer is one of the other three."""
    classes = rng.choice(len(FREQUENCIES), size=setting.items, p=FREQUENCIES)
    answers = [
        [str(own if hit else (own + 1 + rng.integers(3)) % 4) for own, hit in zip(classes, row, strict=True)]
        for row in right
    ]
    references = [str(own) for own in classes]
    frequencies = np.array(FREQUENCIES)
    answered = frequencies * setting.quality + (1 - frequencies) * (1 - setting.quality) / 3
    truth = float(np.mean(2 * frequencies * setting.quality / (frequencies + answered)))
    return metrics.quality("macro_f1", answers, references, confidence=CONFIDENCE, seed=run), truth


def _groups(rng: np.random.Generator, items: int) -> NDArray[np.int64]:
    """Groups of one to five items."""
    sizes = rng.integers(1, 6, size=items)
    return np.repeat(np.arange(items), sizes)[:items]


def main() -> int:
    parser = argparse.ArgumentParser(description="Coverage of the intervals by simulation.")
    parser.add_argument("--runs", type=int, default=1000, help="per setting")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = []
    for setting in settings():
        rows.append(covered(setting, arguments.runs))
        print(f"{setting}: {rows[-1]['covered']['rate']:.3f}", flush=True)
    short = [row for row in rows if row["covered"]["high"] < LEAST]
    versions = package_versions(("numpy", "scipy"))
    write_json(arguments.out, {"confidence": CONFIDENCE, "runs": arguments.runs, "rows": rows, "short": short,
                               "packages": versions, "machine": machine()})  # fmt: skip
    print(f"{len(rows)} settings, {len(short)} cover too little")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())

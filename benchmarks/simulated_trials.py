"""Studies whose truth is known: trials that answer by a rule with chance in it, and data that suits them.

Called by benchmarks/false_verdicts.py, which passes `SimulatedTrials` to the real run_study. Everything but training
and answering is the real thing: reading, splitting, locking, schedule, results on disk, verdict and scorecard.
"""

from __future__ import annotations

import csv
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tests.work.fakes import FakeTrials
from tsugiki.config import Criteria, Design, Intake, Recipe
from tsugiki.data.shapes import Example
from tsugiki.work.prepare import DataSpec
from tsugiki.work.spec import TrialSpec
from tsugiki.work.study import Study

DIFFICULTY = 0.6  # share of the variance of an answer that is the item's own
LUCK = 0.1  # of a training seed, in standard deviations of an answer: 2 to 4 points of quality
HABIT = 0.5  # share of guesses that are the same in every trial: what the wording of an item suggests
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]


@dataclass
class SimulatedTrials(FakeTrials):
    """Each name answers rightly with its true quality; without one it guesses among the answers there are.

    `world` seeds everything: the same world gives the same answers. The true quality is the mean over items of this
    kind, seeds and chance.
    """

    world: int = 0
    quality: Mapping[str, float] = field(default_factory=dict)

    def answers(self, name: str, spec: TrialSpec, test: tuple[Example, ...], rows: int = 0) -> dict[str, Any]:
        rng = np.random.default_rng([self.world, zlib.crc32(name.encode()), spec.recipe.seed, rows])
        kinds = sorted({example.completion for example in test})
        items = [np.random.default_rng([self.world, example.row]) for example in test]
        if name in self.quality:
            ability = stats.norm.ppf(self.quality[name]) * np.sqrt(1 + LUCK**2) + LUCK * rng.standard_normal()
            hard = np.array([item.standard_normal() for item in items])
            chance = rng.standard_normal(len(test))
            right = np.sqrt(DIFFICULTY) * hard + np.sqrt(1 - DIFFICULTY) * chance < ability
            texts = [one.completion if hit else "?" for one, hit in zip(test, right, strict=True)]
        else:
            habits = [kinds[item.integers(len(kinds))] for item in items]
            guesses = [kinds[place] for place in rng.integers(len(kinds), size=len(test))]
            texts = [habit if rng.random() < HABIT else guess for habit, guess in zip(habits, guesses, strict=True)]
        return {
            "predictions": [
                {"row": example.row, "expected": example.completion, "predicted": text}
                for example, text in zip(test, texts, strict=True)
            ],
            "scores": {},
            "facts": {"n": len(test), "numbers_wrong": 0, "units_wrong": 0, "negation_wrong": 0},
        }


def write_shuffled(path: Path, rows: int, kinds: int, seed: int) -> Path:
    """Texts without likeness, and answers that were dealt among them at random: there is nothing to learn."""
    dice = random.Random(seed)
    labels = [f"class {place % kinds}" for place in range(rows)]
    dice.shuffle(labels)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "completion"))
        for label in labels:
            words = ("".join(dice.choices(SYLLABLES, k=3)) for _ in range(6))
            writer.writerow((f"{' '.join(words)}\n", label))
    return path


def study_of(data: Path, criteria: Criteria, **design: Any) -> Study:
    intake = Intake(purpose="simulation", owner="A", reviewer="B", criteria=criteria, language="en")
    knobs = {"seeds": 3, "curve_sizes": 0, "tries": 1, "budget_minutes": 100_000.0, "test_share": 0.5, **design}
    return Study(data=DataSpec(data), base="tiny", intake=intake, design=Design(**knobs),
                 recipe=Recipe(precision="float32"))  # fmt: skip

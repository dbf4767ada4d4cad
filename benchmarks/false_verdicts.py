"""What the verdict does where the truth is known: `python -m benchmarks.false_verdicts`.

    shuffled answers    hundreds of studies through run_study on data without signal: "adopt" must not be given
    identical methods   four methods of one true quality: how often a difference to full is claimed (5 % or less)
    at the margin       LoRA truly worse than full by exactly the margin: how often it is called non-inferior (the same)
    levels              the last two for more settings, scores alone, many more runs
    power               what share of studies ends in which verdict, by test items and true quality

Training is simulated (benchmarks/simulated_trials.py), everything behind it is real. Writes
benchmarks/results/false_verdicts.json and exits 1 when a rate is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curve_worlds import answers
from benchmarks.simulated_trials import SimulatedTrials, study_of, write_shuffled
from tsugiki.config import Criteria
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.measure.stats import mean_with_interval, non_inferiority, paired_difference
from tsugiki.work.study import run_study
from tsugiki.work.verdict import Measured, Retention, StudyNumbers, decide

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "false_verdicts.json"
ROWS = 200  # of a simulated data file; half of them are test items
ALLOWED = 0.05
LUCK = 0.1

# Kinds of answers, and what is asked for. The last opens every gate but the comparison with the references.
SHUFFLED: dict[str, tuple[int, Criteria]] = {
    "six answers": (6, Criteria(success=0.5, withdraw=0.1)),
    "two answers": (2, Criteria(success=0.55, withdraw=0.1)),
    "six answers, every other gate open": (6, Criteria(success=0.05, withdraw=0.0, margin_points=100.0)),
}
SAME = {"lora": 0.7, "adapter": 0.7, "hybrid": 0.7, "full": 0.7, "base": 0.1, "k-shot": 0.2}
MARGIN = 0.05
LEVELS = [(items, seeds, quality) for items in (50, 100, 200) for seeds in (1, 3) for quality in (0.6, 0.9)]
POWER = [(margin, items, above) for margin in (2.0, 5.0) for items in (50, 100, 200, 400)
         for above in (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2)]  # fmt: skip


def shuffled(runs: int) -> dict[str, Any]:
    """Verdicts on data without signal, by setting."""
    found = {}
    for place, (name, (kinds, criteria)) in enumerate(SHUFFLED.items()):
        cards = _studies(runs, 1000 * (place + 1), kinds, criteria, {})
        verdicts = Counter(card["verdict"]["value"] for card in cards)
        found[name] = {"studies": runs, "verdicts": dict(verdicts), "adopt": verdicts["adopt"]}
        print(f"shuffled, {name}: {dict(verdicts)}", flush=True)
    return found


def identical(runs: int) -> dict[str, Any]:
    """Differences to full that the scorecard claims, where there is none."""
    criteria = Criteria(success=0.6, withdraw=0.2)
    compared = studies = claimed = inferior = any_claimed = 0
    verdicts: Counter[str] = Counter()
    for card in _studies(runs, 5000, 6, criteria, SAME):
        studies += 1
        verdicts[card["verdict"]["value"]] += 1
        rows = [method["against_full"] for method in card["methods"] if method["against_full"]]
        apart = [not row["difference"]["low"] <= 0 <= row["difference"]["high"] for row in rows]
        compared, claimed, any_claimed = compared + len(rows), claimed + sum(apart), any_claimed + any(apart)
        inferior += sum(row["non_inferior"] is False for row in rows)
    return {"studies": studies, "comparisons": compared, "difference_claimed": _rate(claimed, compared),
            "any_in_a_study": _rate(any_claimed, studies), "called_inferior": _rate(inferior, compared),
            "verdicts": dict(verdicts)}  # fmt: skip


def at_the_margin(runs: int) -> dict[str, Any]:
    criteria = Criteria(success=0.5, withdraw=0.2, margin_points=100 * MARGIN)
    quality = {**SAME, "lora": SAME["full"] - MARGIN}
    holds = []
    for card in _studies(runs, 9000, 6, criteria, quality):
        lora = next(method for method in card["methods"] if method["name"] == "lora")
        holds.append(lora["against_full"]["non_inferior"] is True)
    return {"studies": len(holds), "called_non_inferior": _rate(sum(holds), len(holds))}


def _studies(
    runs: int, first: int, kinds: int, criteria: Criteria, quality: Mapping[str, float]
) -> Iterator[Mapping[str, Any]]:
    for world in range(first, first + runs):
        with tempfile.TemporaryDirectory() as folder:
            data = write_shuffled(Path(folder) / "data.csv", ROWS, kinds, world)
            trials = SimulatedTrials(world=world, quality=quality)
            study = study_of(data, criteria)
            yield run_study(study, Path(folder) / "study", lambda _: None, run_trial=trials).scorecard


def levels(runs: int) -> list[dict[str, Any]]:
    rows = []
    for items, seeds, quality in LEVELS:
        rng = np.random.default_rng([items, seeds, int(100 * quality)])
        claimed = inferior = non_inferior = 0
        for _ in range(runs):
            difficulty = rng.standard_normal(items)
            full, same, worse = (
                answers(rng, level, difficulty, LUCK if seeds > 1 else 0.0, rng.standard_normal(seeds)).tolist()
                for level in (quality, quality, quality - MARGIN)
            )
            difference = paired_difference(same, full, confidence=0.95)
            equal = non_inferiority(same, full, 0.02, confidence=0.95)
            at_margin = non_inferiority(worse, full, MARGIN, confidence=0.95)
            assert difference is not None and equal is not None and at_margin is not None
            claimed += not difference.low <= 0 <= difference.high
            inferior += equal.holds is False
            non_inferior += at_margin.holds is True
        row = {"items": items, "seeds": seeds, "quality": quality, "difference_claimed": _rate(claimed, runs),
               "called_inferior": _rate(inferior, runs), "called_non_inferior": _rate(non_inferior, runs)}  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def power(runs: int) -> list[dict[str, Any]]:
    """Verdicts of studies whose methods are all equally good, `above` the success criterion of 0.7."""
    rows = []
    for margin, items, above in POWER:
        criteria = Criteria(success=0.7, withdraw=0.3, margin_points=margin)
        rng = np.random.default_rng([int(margin), items, round(100 * (above + 1))])
        verdicts = Counter(decide(_numbers(rng, items, 0.7 + above), criteria).value for _ in range(runs))
        rows.append({"margin_points": margin, "items": items, "above": above, "runs": runs, "verdicts": dict(verdicts)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _numbers(rng: np.random.Generator, items: int, quality: float) -> StudyNumbers:
    difficulty = rng.standard_normal(items)

    def measured(level: float, seeds: int) -> Measured:
        scores = answers(rng, level, difficulty, LUCK if seeds > 1 else 0.0, rng.standard_normal(seeds)).tolist()
        return Measured(scores, mean_with_interval(scores, confidence=0.95), "same")

    return StudyNumbers(
        methods={"lora": measured(quality, 3), "full": measured(quality, 3)},
        references={"base": measured(0.05, 1), "k-shot": measured(0.2, 1), "majority": measured(0.17, 1)},
        retention={"lora": Retention(3.0, 3.01)},
        candidate_order=("lora",),
        failed=(),
        examples=4 * items,
        test_items=items,
        test_digest="same",
    )


def _rate(count: int, of: int) -> dict[str, float]:
    found = mean_with_interval([[1.0] * count + [0.0] * (of - count)], confidence=0.95)
    assert found is not None
    return {"rate": found.value, "low": found.low, "high": found.high}


def broken(result: Mapping[str, Any]) -> list[str]:
    """What does not hold; a rate is broken where even the lower end of its interval is above what is allowed."""
    faults = [f"adopt on shuffled answers: {name}" for name, row in result["shuffled"].items() if row["adopt"]]
    rates = {"identical": ("difference_claimed", "called_inferior"), "at_the_margin": ("called_non_inferior",)}
    faults += [f"{part}: {name}" for part, names in rates.items() for name in names
               if result[part][name]["low"] > ALLOWED]  # fmt: skip
    return faults + [
        f"{row['items']} items, {row['seeds']} seeds, quality {row['quality']}: {name}"
        for row in result["levels"]
        for name in ("difference_claimed", "called_inferior", "called_non_inferior")
        if row[name]["low"] > ALLOWED
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Verdicts of simulated studies against the truth.")
    parser.add_argument("--studies", type=int, default=100, help="whole studies per setting")
    parser.add_argument("--runs", type=int, default=1000, help="runs per level; a tenth of it per point of the power")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"shuffled": shuffled(arguments.studies)}
    result["identical"] = identical(arguments.studies)
    result["at_the_margin"] = at_the_margin(arguments.studies)
    print(json.dumps({name: result[name] for name in ("identical", "at_the_margin")}), flush=True)
    result["levels"] = levels(arguments.runs)
    result["power"] = power(max(1, arguments.runs // 10))
    result["broken"] = broken(result)
    versions = package_versions(("numpy", "scipy"))
    write_json(arguments.out, {**result, "packages": versions, "machine": machine()})
    print(result["broken"] or "every rate holds")
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())

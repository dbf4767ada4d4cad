"""Least data and forecasts from learning curves, against the truth: `python -m benchmarks.curves`.

Simulated studies of six shapes and real ones (small classifiers on the benchmark tasks), each read from four sizes,
three seeds and 100 to 200 test items at 90 % confidence, by us and by three rivals. Stored curves of language models,
where there are any, are cut: the last size is forecast from those before it. Writes benchmarks/results/curves.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curve_rivals import RIVALS, Reading
from benchmarks.curve_worlds import LATER, SHAPES, World, worlds
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.measure.curve import EXTRAPOLATION, backtest, fit_curve

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "curves.json"
CONFIDENCE = 0.9
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of promised chances

Record = dict[str, Any]


def read(world: World, reading: Reading) -> Record:
    """What was said about one study, beside what is true."""
    found, reason = reading.least(world.target, confidence=CONFIDENCE)
    record: Record = {"reason": reason, "within": None, "width": None}
    if found is not None:
        record["within"] = found.low <= world.least <= found.high
        record["width"] = found.high / found.low
        if world.least < math.inf:
            record["off"] = abs(math.log2(found.n / world.least))
    elif reason == "out_of_reach":
        record["within"] = world.least > EXTRAPOLATION * world.largest
    elif reason == "no_gain_from_data":
        record["no_gain_right"] = world.least > LATER[0] * world.largest
    for factor, later in zip(LATER, world.later, strict=True):
        n = factor * world.largest
        value, low, high = reading.quality_at(n, confidence=CONFIDENCE)
        truth = world.quality(n)
        record[f"{factor}x"] = {"error": value - truth, "inside": low <= truth <= high, "width": high - low}
        record[f"held out {factor}x"] = value - later.quality.value
        record[f"chance {factor}x"] = (reading.chance(n, world.target), truth >= world.target)
    return record


def summary(records: Sequence[Record]) -> Record:
    claims = [one["within"] for one in records if one["within"] is not None]
    given = [one for one in records if one["reason"] is None]
    no_gain = [one["no_gain_right"] for one in records if "no_gain_right" in one]
    found: Record = {
        "studies": len(records),
        "least data": {
            "claims": len(claims),
            "covered": _mean(claims),
            "given": len(given) / len(records),
            "median high / low": _median([one["width"] for one in given]),
            "median error in doublings": _median([one["off"] for one in given if "off" in one]),
            "reasons": dict(Counter(one["reason"] for one in records if one["reason"])),
            "no gain right": _mean(no_gain),
        },
    }
    for factor in LATER:
        each = [one[f"{factor}x"] for one in records]
        errors = np.array([one["error"] for one in each])
        found[f"forecast {factor}x"] = {
            "mean absolute error": float(np.abs(errors).mean()),
            "mean error": float(errors.mean()),
            "covered": _mean([one["inside"] for one in each]),
            "mean width": _mean([one["width"] for one in each]),
            "mean absolute error to a measurement": _mean([abs(one[f"held out {factor}x"]) for one in records]),
        }
        chances = [one[f"chance {factor}x"] for one in records]
        found[f"chance {factor}x"] = {
            "Brier score": _mean([(chance - reached) ** 2 for chance, reached in chances]),
            "promised and reached": _reliability(chances),
        }
    looked_back = [one["look back"] for one in records if "look back" in one]
    return {**found, "measurement at 2x covered": _mean(looked_back)} if looked_back else found


def _reliability(chances: Sequence[tuple[float, bool]]) -> list[Record]:
    rows = []
    for low, high in itertools.pairwise(BINS):
        inside = [(chance, hit) for chance, hit in chances if low <= chance < high or chance == high == 1.0]
        if inside:
            promised = _mean([chance for chance, _ in inside])
            rows.append({"promised": promised, "reached": _mean([hit for _, hit in inside]), "studies": len(inside)})
    return rows


def _mean(values: Iterable[float | bool]) -> float | None:
    found = [float(value) for value in values]
    return sum(found) / len(found) if found else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def read_all(each: Iterable[World], rivals: Mapping[str, Any]) -> dict[str, dict[str, list[Record]]]:
    """Records by rival and name of the curve."""
    found: dict[str, dict[str, list[Record]]] = {name: defaultdict(list) for name in rivals}
    for number, world in enumerate(each):
        for name, kind in rivals.items():
            reading = kind(world.points, confidence=CONFIDENCE, seed=number)
            found[name][world.name].append(read(world, reading))
        curve = fit_curve("ours", (*world.points, world.later[0]), confidence=CONFIDENCE, seed=number)
        looked_back = backtest(curve, confidence=CONFIDENCE)
        assert looked_back is not None
        found["ours"][world.name][-1]["look back"] = looked_back.holds
    return found


def tables(found: Mapping[str, Mapping[str, Sequence[Record]]]) -> Record:
    """By rival: all curves together, and each name by itself."""
    return {
        name: {
            "all": summary([record for records in by_name.values() for record in records]),
            **{curve: summary(records) for curve, records in by_name.items()},
        }
        for name, by_name in found.items()
    }


def backtests() -> list[Record]:
    """Stored curves of language models: the last size from the ones before it."""
    from benchmarks.curve_tasks import measured_curves

    rows = []
    for name, points in measured_curves(confidence=CONFIDENCE):
        found = backtest(fit_curve(name, points, confidence=CONFIDENCE), confidence=CONFIDENCE)
        if found is not None:
            rows.append({"name": name, "sizes": [point.n for point in points], "forecast": found.forecast.value,
                         "low": found.forecast.low, "high": found.forecast.high, "measured": found.measured,
                         "inside": found.holds})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves read from a few sizes, against the truth.")
    parser.add_argument("--studies", type=int, default=250, help="simulated studies per shape")
    parser.add_argument("--real", type=int, default=12, help="studies per task and classifier; 0: none")
    parser.add_argument("--seed", type=int, default=1, help="0 is what the numbers of curve_shapes.py were chosen on")
    parser.add_argument("--add", type=Path, help="keep the curve of this study folder and do nothing else")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.add:
        from benchmarks.curve_tasks import add_measured

        print(f"{add_measured(arguments.add)} sizes kept")
        return
    simulated = (
        world for shape in SHAPES for world in worlds(shape, arguments.studies, arguments.seed, confidence=CONFIDENCE)
    )
    result: Record = {"confidence": CONFIDENCE, "simulated": tables(read_all(simulated, RIVALS))}
    _say("simulated", result["simulated"])
    if arguments.real:
        from benchmarks.curve_tasks import real_worlds

        each = real_worlds(arguments.real, arguments.seed, confidence=CONFIDENCE)
        result["real"] = tables(read_all(each, RIVALS))
        _say("real", result["real"])
    result["language models"] = backtests()
    versions = package_versions(("numpy", "scipy", "scikit-learn"))
    write_json(arguments.out, {**result, "seed": arguments.seed, "packages": versions, "machine": machine()})
    print(json.dumps(result["language models"]))


def _say(what: str, table: Record) -> None:
    for rival, by_name in table.items():
        for name, row in by_name.items():
            least, near, far = row["least data"], row["forecast 2x"], row["forecast 4x"]
            said = [
                f"{what:9s} {rival:14s} {name:18s}",
                f"least: covered {_share(least['covered'])} given {least['given']:.2f}",
                f"2x: error {100 * near['mean absolute error']:.1f} bias {100 * near['mean error']:+.1f}",
                f"covered {_share(near['covered'])} held out {100 * near['mean absolute error to a measurement']:.1f}",
                f"4x: error {100 * far['mean absolute error']:.1f} covered {_share(far['covered'])}",
            ]
            print("  ".join(said), flush=True)


def _share(value: float | None) -> str:
    return " -- " if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()

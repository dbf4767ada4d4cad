"""What the automatic choice of rate, rank and method loses against a whole grid: `python -m benchmarks.regret`.

For each task the product's own searches choose among the small methods as they would in a study, from dev losses
alone; then every cell of a grid (ranks x rates of LoRA, rates of the other methods) is trained to its end and answers
the test set. Regret is the test score of the best cell less that of the choice, which is trained like a cell, with a
paired interval; being the best of many on one test set, it is flattered by luck. The share is that of rows trained on.
With --after-others the searches of each task start from what those of the others have taught. Every cell is kept as a
study keeps its trials, in .data/regret, so that a run that was broken off goes on. Writes
benchmarks/results/regret.json with every cell's score.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.tasks import write_task
from tsugiki.config import Design, MethodName, PlanSpec, Recipe
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.measure.stats import paired_difference
from tsugiki.work.choose import SIMPLEST_FIRST, learning_rates, simplest_method
from tsugiki.work.design import PlannedTrial, search_steps
from tsugiki.work.examples import write_examples
from tsugiki.work.experience import study_features
from tsugiki.work.lessons import Lesson, lesson_of
from tsugiki.work.orders import Orders, plans_for, search_id
from tsugiki.work.prepare import ALL, DataSpec, divided, read_check, read_source, usable_findings, write_parts
from tsugiki.work.prior import make_prior
from tsugiki.work.process import run_in_process
from tsugiki.work.spec import TrialSpec, is_finished, read_result

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "regret.json"
FOLDER = ROOT / ".data" / "regret"
BASES = {"E": "smollm2-135m", "J": "gemma3-270m"}
RANKS, RATES = (2, 4, 8, 16, 32), 4
DESIGN = Design(methods=SIMPLEST_FIRST, tries=3, test_share=0.3, dev_share=0.15)

Values = dict[str, Any]


def choose_and_compare(task: str, arguments: argparse.Namespace, lessons: tuple[Lesson, ...]) -> tuple[Values, Lesson]:
    folder = FOLDER / f"{task}-{arguments.rows}-{arguments.steps}"
    data = FOLDER / f"{task}-{arguments.rows}.csv"
    write_task(task, data, arguments.rows)
    recipe = Recipe(batch_size=arguments.batch_size, seed=arguments.seed)
    plans = plans_for(SIMPLEST_FIRST, PlanSpec(rank="auto"))
    orders = Orders(BASES[task[0]], DESIGN, plans, recipe, "plain")
    _prepare(folder, data)
    inspection = _run(orders.inspection(), folder)
    orders = replace(orders, base_digest=inspection["identity"]["digest"])
    features = study_features(folder, inspection)
    prior = make_prior(DESIGN, features, capacity=inspection["capacity"], lessons=lessons)
    own = folder / "after-others" if lessons else folder / "alone"
    _prepare(own, data)
    found, searches = _automatic(replace(orders, prior=prior), own, arguments.steps)
    lesson = lesson_of(folder, task, features, searches)
    assert lesson is not None, "a task without a search"
    cells = {name: _cell(spec, folder) for name, spec in _grid(replace(orders, prior=prior), folder, arguments.steps)}
    best = max(cells, key=lambda name: cells[name]["score"])
    grid_rows = len(cells) * arguments.steps * arguments.batch_size
    apart = paired_difference([_marks(cells[best])], [_marks(found)], confidence=0.95) if found["right"] else None
    return {
        "task": task,
        "chosen": found,
        "best": {"name": best, **cells[best]},
        "regret": cells[best]["score"] - found["score"],
        "regret_interval": None if apart is None else [apart.low, apart.high],
        "share": found["rows_trained"] / grid_rows,
        "lessons": len(prior.lessons),
        "cells": cells,
        "features": asdict(features),
    }, lesson


def _prepare(folder: Path, data: Path) -> None:
    if read_check(folder) is None:
        source = read_source(DataSpec(data))
        findings = usable_findings(source)
        write_examples(folder / ALL, findings.examples)
        write_parts(source, folder, findings, divided(source, findings, DESIGN))


def _automatic(orders: Orders, folder: Path, steps: int) -> tuple[Values, dict[MethodName, Values]]:
    """Searches of all methods, and the training of the one that dev says to take."""
    prior = orders.expected
    searches: dict[MethodName, Values] = {}
    for method in SIMPLEST_FIRST:
        trial = PlannedTrial(
            search_id(method), "search", 0.0, method, orders.recipe.seed, steps=search_steps(steps), tries=prior.tries
        )
        searches[method] = _run(orders.for_trial(trial, folder), folder)
    method = simplest_method([{**searches[one], "method": one} for one in SIMPLEST_FIRST])
    assert method is not None, "no search that ended"
    trial = PlannedTrial("chosen", "train", 0.0, method, orders.recipe.seed, steps=steps)
    spec = orders.for_trial(trial, folder)
    rows = [one.get("steps", 0) for found in searches.values() for one in found["tries"]]
    trained = (sum(rows) + steps) * orders.recipe.batch_size
    cell = _cell(spec, folder)
    return {"method": method, "rank": spec.plan.rank, "rows_trained": trained, **cell}, searches


def _grid(orders: Orders, folder: Path, steps: int) -> Iterator[tuple[str, TrialSpec]]:
    for method in SIMPLEST_FIRST:
        for rank in RANKS if method == "lora" else (PlanSpec().rank,):
            for place, rate in enumerate(learning_rates(method, RATES)):
                trial = PlannedTrial(
                    f"grid-{method}-{rank}-{place}", "train", 0.0, method, orders.recipe.seed, steps=steps
                )
                spec = replace(orders, plans=plans_for(SIMPLEST_FIRST, PlanSpec(rank=rank))).for_trial(trial, folder)
                recipe = spec.recipe.model_copy(update={"learning_rate": rate})
                yield trial.id, spec.model_copy(update={"recipe": recipe})


def _cell(spec: TrialSpec, folder: Path) -> Values:
    """Test score as exact match, dev loss; a cell that diverges has lost."""
    found = _run(spec, folder, needed=False)
    about = {"learning_rate": spec.recipe.learning_rate, "rank": spec.plan.rank, "method": spec.plan.method}
    if found["status"] != "done":
        return {**about, "score": 0.0, "dev_loss": None, "reason": found["reason"], "right": ""}
    right = [one["predicted"] == one["expected"] for one in found["predictions"]]
    marks = "".join("1" if one else "0" for one in right)
    seconds = found["training"]["seconds"]
    return {**about, "score": mean(right), "dev_loss": found["dev_loss"], "right": marks, "seconds": seconds}


def _marks(cell: Values) -> list[float]:
    return [float(mark) for mark in cell["right"]]


def _run(spec: TrialSpec, folder: Path, *, needed: bool = True) -> Values:
    if not is_finished(folder, spec):
        run_in_process(spec, folder, _silent)
    found = read_result(folder, spec.id)
    assert found is not None, spec.id
    if needed and found["status"] != "done":
        raise RuntimeError(f"{spec.id}: {found['reason']}")
    return found


def _silent(_: Any) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description="The automatic choice against a whole grid.")
    parser.add_argument("--task", action="append", help="default: E1 E5 E6 J1 J5 J6")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--steps", type=int, default=150, help="of a cell; a try takes a third")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--after-others", action="store_true", help="once more, with the lessons of the other tasks")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    tasks = arguments.task or ["E1", "E5", "E6", "J1", "J5", "J6"]
    settings = {name: getattr(arguments, name) for name in ("rows", "steps", "batch_size", "seed")}
    about = {"settings": settings, "packages": package_versions(("torch", "transformers")), "machine": machine()}
    found: Values = {}
    after: Values = {}
    lessons: dict[str, Lesson] = {}
    for task in tasks:
        found[task], lessons[task] = choose_and_compare(task, arguments, ())
        print(f"{task}: regret {found[task]['regret']:.3f} at {found[task]['share']:.0%} of the grid", flush=True)
        write_json(arguments.out, {"tasks": found, "after_others": after, **about})
    for task in tasks if arguments.after_others else ():
        others = tuple(lesson for other, lesson in lessons.items() if other != task)
        after[task], _ = choose_and_compare(task, arguments, others)
        print(f"{task} after the others: regret {after[task]['regret']:.3f} at {after[task]['share']:.0%}", flush=True)
        write_json(arguments.out, {"tasks": found, "after_others": after, **about})


if __name__ == "__main__":
    main()

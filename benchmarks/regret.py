"""What the automatic choice of rate, rank and method loses against a whole grid: `python -m benchmarks.regret`.

For each task the product's own searches choose among the small methods as they would in a study, from dev losses
alone; then every cell of a grid (ranks x rates of LoRA, rates of the other methods) is trained to its end and answers
the test set. Regret is the test score of the best cell less that of the choice, which is trained like a cell, with a
paired interval; being the best of many on one test set, it is flattered by luck. A user of the grid would take the cell
with the lowest dev loss, which stands beside it. The share is that of rows trained on.
With --after-others the searches of each task start from what those of the others have taught. Every cell is kept as a
study keeps its trials, in .data/regret, so that a run that was broken off goes on. Trials share the processes of
--workers one after the other, and the machine where there are several: scores count here, not seconds or bytes. Writes
benchmarks/results/regret.json with every cell's score.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.tasks import BASES, task_file
from tsugiki.config import Design, MethodName, PlanSpec, Recipe
from tsugiki.engine.device import accelerator_name
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
from tsugiki.work.spec import TrialSpec, is_finished, read_result, write_result
from tsugiki.work.trial import ORPHANED, clear_scratch, outcome

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "regret.json"
FOLDER = ROOT / ".data" / "regret"
RANKS, RATES = (2, 4, 8, 16, 32), 4
DESIGN = Design(methods=SIMPLEST_FIRST, tries=3, test_share=0.3, dev_share=0.15)

Values = dict[str, Any]


def choose(
    task: str, arguments: argparse.Namespace, lessons: tuple[Lesson, ...], workers: Executor
) -> tuple[Values, Lesson]:
    """The automatic choice beside the whole grid, and what the searches taught."""
    base = arguments.base or BASES[task[0]]
    folder = FOLDER / f"{task}-{Path(base).name}-{arguments.rows}-{arguments.steps}"
    data = task_file(task, arguments.rows)
    recipe = Recipe(batch_size=arguments.batch_size, seed=arguments.seed)
    plans = plans_for(SIMPLEST_FIRST, PlanSpec(rank="auto"))
    orders = Orders(base, DESIGN, plans, recipe, "plain")
    _prepare(folder, data)
    _carry_out([orders.inspection()], folder, workers)
    inspection = _done(orders.inspection(), folder)
    orders = replace(orders, base_digest=inspection["identity"]["digest"])
    features = study_features(folder, inspection)
    orders = replace(orders, prior=make_prior(DESIGN, features, capacity=inspection["capacity"], lessons=lessons))
    own = folder / "after-others" if lessons else folder / "alone"
    _prepare(own, data)
    searches, grid = _searches(orders, own, arguments.steps), _grid(orders, folder, arguments.steps)
    tried = _started(searches, own, workers)
    cells_to_come = _started(grid, folder, workers)
    _wait(tried)
    found = {method: _done(spec, own) for method, spec in zip(SIMPLEST_FIRST, searches, strict=True)}
    chosen_spec = _chosen(orders, own, arguments.steps, found)
    _carry_out([chosen_spec], own, workers)
    chosen = _cell(chosen_spec, own)
    tries = sum(one.get("steps", 0) for search in found.values() for one in search["tries"])
    rows_trained = (tries + chosen["steps"]) * arguments.batch_size
    _wait(cells_to_come)
    cells = {spec.id: _cell(spec, folder) for spec in grid}
    lesson = lesson_of(folder, task, features, found)
    assert lesson is not None, "a task without a search"
    best = max(cells, key=lambda name: cells[name]["score"])
    grid_rows = sum(cell["steps"] for cell in cells.values()) * arguments.batch_size
    by_dev = min((name for name in cells if cells[name]["right"]), key=lambda name: cells[name]["dev_loss"])
    return {
        "task": task,
        "chosen": {**chosen, "rows_trained": rows_trained},
        "best": {"name": best, **cells[best], **_ahead(cells[best], chosen)},
        "by_dev": {"name": by_dev, **cells[by_dev], **_ahead(cells[by_dev], chosen)},
        "share": rows_trained / grid_rows,
        "lessons": len(orders.expected.lessons),
        "cells": cells,
        "features": asdict(features),
    }, lesson


def _prepare(folder: Path, data: Path) -> None:
    if read_check(folder) is None:
        source = read_source(DataSpec(data))
        findings = usable_findings(source)
        write_examples(folder / ALL, findings.examples)
        write_parts(source, folder, findings, divided(source, findings, DESIGN))


def _searches(orders: Orders, folder: Path, steps: int) -> list[TrialSpec]:
    shared: Values = {"steps": search_steps(steps), "tries": orders.expected.tries}
    trials = (
        PlannedTrial(search_id(method), "search", 0.0, method, orders.recipe.seed, **shared)
        for method in SIMPLEST_FIRST
    )
    return [orders.for_trial(trial, folder) for trial in trials]


def _chosen(orders: Orders, folder: Path, steps: int, searches: Mapping[MethodName, Values]) -> TrialSpec:
    """The training of the method that dev says to take, at the rate and rank that its search found."""
    method = simplest_method([{**searches[one], "method": one} for one in SIMPLEST_FIRST])
    assert method is not None, "no search that ended"
    return orders.for_trial(PlannedTrial("chosen", "train", 0.0, method, orders.recipe.seed, steps=steps), folder)


def _grid(orders: Orders, folder: Path, steps: int) -> list[TrialSpec]:
    cells = []
    for method in SIMPLEST_FIRST:
        for rank in RANKS if method == "lora" else (PlanSpec().rank,):
            ranked = replace(orders, plans=plans_for(SIMPLEST_FIRST, PlanSpec(rank=rank)))
            for place, rate in enumerate(learning_rates(method, RATES)):
                name = f"grid-{method}-{rank}-{place}"
                trial = PlannedTrial(name, "train", 0.0, method, orders.recipe.seed, steps=steps)
                spec = ranked.for_trial(trial, folder)
                recipe = spec.recipe.model_copy(update={"learning_rate": rate})
                cells.append(spec.model_copy(update={"recipe": recipe}))
    return cells


def _cell(spec: TrialSpec, folder: Path) -> Values:
    """Test score as exact match, dev loss; a cell whose training failed, as by diverging, has lost."""
    found = read_result(folder, spec.id)
    assert found is not None, spec.id
    about = {"learning_rate": spec.recipe.learning_rate, "rank": spec.plan.rank, "method": spec.plan.method}
    if found["status"] == "failed":
        return {**about, "score": 0.0, "dev_loss": None, "reason": found["reason"], "right": "", "steps": 0}
    found = _done(spec, folder)
    right = [one["predicted"] == one["expected"] for one in found["predictions"]]
    marks = "".join("1" if one else "0" for one in right)
    steps = found["training"]["steps"]
    return {**about, "score": mean(right), "dev_loss": found["dev_loss"], "right": marks, "steps": steps}


def _done(spec: TrialSpec, folder: Path) -> Values:
    found = read_result(folder, spec.id)
    if found is None or found["status"] != "done":
        raise RuntimeError(f"{spec.id}: {'no result' if found is None else found['reason']}")
    return found


def _ahead(cell: Values, chosen: Values) -> Values:
    """How far a cell's test score is above that of the choice, with a paired interval."""
    if not chosen["right"]:
        return {"ahead": cell["score"], "interval": None}
    apart = paired_difference([_marks(cell)], [_marks(chosen)], confidence=0.95)
    return {"ahead": apart.value, "interval": [apart.low, apart.high]}


def _together(tasks: Mapping[str, Values]) -> Values:
    """The tasks as one test set: mean points ahead of the choices, each task by its number of rows."""
    rows = {who: "".join(one[who]["right"] for one in tasks.values()) for who in ("chosen", "best", "by_dev")}
    if not tasks or len(set(map(len, rows.values()))) > 1:  # a choice that diverged has answered nothing
        return {}
    cells = {who: {"score": mean(map(int, right)), "right": right} for who, right in rows.items()}
    return {who: _ahead(cells[who], cells["chosen"]) for who in ("best", "by_dev")}


def _marks(cell: Values) -> list[float]:
    return [float(mark) for mark in cell["right"]]


def _carry_out(specs: Sequence[TrialSpec], folder: Path, workers: Executor) -> None:
    _wait(_started(specs, folder, workers))


def _started(specs: Sequence[TrialSpec], folder: Path, workers: Executor) -> list[Future[None]]:
    """What is not finished yet, in the order in which workers take it."""
    return [workers.submit(_one_trial, spec, folder) for spec in specs if not is_finished(folder, spec)]


def _wait(trials: Sequence[Future[None]]) -> None:
    for trial in trials:
        trial.result()


def _one_trial(spec: TrialSpec, folder: Path) -> None:
    """In a worker: the result is on disk afterwards, unless the worker was killed."""
    write_result(folder, outcome(spec, folder, lambda _: None))
    clear_scratch(folder, spec.id, keep_log=False)
    gc.collect()  # a base that a trial has let go of is held by cycles; trials of a study end with their process


def _end_with_parent() -> None:
    """A worker in the middle of a trial would go on for minutes after the benchmark was killed."""
    parent = parent_process()
    assert parent is not None, "no worker"

    def wait() -> None:
        parent.join()
        os._exit(ORPHANED)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description="The automatic choice against a whole grid.")
    parser.add_argument("--task", action="append", help="default: E1 E4 E5 J1 J5 J6")
    parser.add_argument("--base", help="the same for all tasks; default: SmolLM2 for English, Gemma 3 for Japanese")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--steps", type=int, default=150, help="of a cell; a try takes a third")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that train at once")
    parser.add_argument("--after-others", action="store_true", help="once more, with the lessons of the other tasks")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    tasks = arguments.task or ["E1", "E4", "E5", "J1", "J5", "J6"]
    settings = {name: getattr(arguments, name) for name in ("base", "rows", "steps", "batch_size", "seed")}
    versions = package_versions(("torch", "transformers"))
    about = {"settings": settings, "packages": versions, "machine": machine(accelerator_name())}
    found: Values = {}
    after: Values = {}
    workers = ProcessPoolExecutor(arguments.workers, get_context("spawn"), _end_with_parent)

    def judge(task: str, kept: Values, lessons: tuple[Lesson, ...]) -> Lesson:
        kept[task], lesson = choose(task, arguments, lessons, workers)
        best, share = kept[task]["best"], kept[task]["share"]
        print(f"{task} with {len(lessons)} lessons: regret {best['ahead']:.3f} at {share:.0%} of the grid", flush=True)
        together = {"tasks": _together(found), "after_others": _together(after)}
        write_json(arguments.out, {"tasks": found, "after_others": after, "together": together, **about})
        return lesson

    try:
        lessons = {task: judge(task, found, ()) for task in tasks}
        for task in tasks if arguments.after_others else ():
            judge(task, after, tuple(lessons[other] for other in tasks if other != task))
    finally:
        workers.shutdown(cancel_futures=True)  # a trial that failed for good is said at once


if __name__ == "__main__":
    main()

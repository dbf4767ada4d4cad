"""A short look at the machine: what a step, an evaluation, a checkpoint and a change of adapters take per method.

Runs as a process of its own (`trial`), in a study after the reference trial and before the design, whose budget it
plans (`design.calibration_of`), and for `tsugiki estimate --measure`, whose memory estimate it corrects.
"""

from __future__ import annotations

import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine.attach import attach
from tsugiki.engine.base import load_config
from tsugiki.engine.batches import Encoded, batch_order
from tsugiki.engine.device import release_memory, tokens_per_pass
from tsugiki.engine.footprint import Workload, estimate_footprint
from tsugiki.engine.generate import timed_generation
from tsugiki.engine.loss import mean_loss
from tsugiki.engine.train import train
from tsugiki.errors import DoesNotFit
from tsugiki.work.fit import meter_for, plan_for
from tsugiki.work.orders import held_for
from tsugiki.work.spec import TrialSpec, scratch_folder
from tsugiki.work.speed import BATCHES, NEW_TOKENS, RUNS
from tsugiki.work.task import Emit, Task, open_task

STEPS = 4  # the first warms up, the third ends with a checkpoint, the fourth with an evaluation
SAMPLE_TOKENS = 3


def calibrate(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    """Seconds. `inside` is the time since the base was open: the rest of the process is what every trial pays too."""
    task: Task | None = open_task(spec, study, emit)
    assert task is not None
    opened = time.perf_counter()
    dev_loss, latency = _dev_loss(task, spec), _latency(task)
    meter = meter_for(task.base)
    methods: dict[str, dict[str, Any]] = {}
    unfit: dict[str, dict[str, str]] = {}
    for plan in sorted(spec.plans, key=lambda plan: held_for(plan.method, spec.recipe) != spec.recipe):
        emit({"event": "phase", "phase": f"calibrate {plan.method}"})
        scratch = scratch_folder(study, spec.id) / plan.method
        shutil.rmtree(scratch, ignore_errors=True)  # of a calibration that was killed: all steps are timed here
        release_memory()
        try:
            if task is None or held_for(plan.method, spec.recipe).quantize != task.base.spec.quantize:
                task = None  # two bases at once may not fit
                release_memory()
                recipe = held_for(plan.method, spec.recipe)
                task = open_task(spec.model_copy(update={"recipe": recipe}), study, emit)
            with meter.phase(plan.method):
                methods[plan.method] = _method(task, plan, spec, scratch)
            methods[plan.method]["memory"] = {
                "estimated_bytes": _estimated(task, plan, spec.recipe),
                "measured_bytes": meter.phases[plan.method].peak_memory_bytes,
            }
        except DoesNotFit as error:
            unfit[plan.method] = {"reason": error.problem, "fix": error.fix}
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "dev_loss": dev_loss,
        "latency": latency,
        "methods": methods,
        "does_not_fit": unfit,
        "inside": time.perf_counter() - opened,
    }


def _dev_loss(task: Task, spec: TrialSpec) -> float:
    started = time.perf_counter()
    mean_loss(task.base.model, task.dev_set, micro_tokens=spec.recipe.micro_tokens)
    return time.perf_counter() - started


def _latency(task: Task) -> float:
    """All latency runs of a trial, merged and unmerged, from a few tokens of each batch size."""
    prompts = [task.rendered(example) for example in task.test]
    total = 0.0
    for batch in BATCHES:
        texts = [prompts[place % len(prompts)] for place in range(batch)]
        clock = timed_generation(task.base.model, task.base.tokenizer, texts, new_tokens=SAMPLE_TOKENS)
        per_token = (clock[-1] - clock[0]) / (SAMPLE_TOKENS - 1)
        total += 2 * (RUNS + 1) * (clock[0] + (NEW_TOKENS - 1) * per_token)
    return total


def _estimated(task: Task, plan: PlanSpec, recipe: Recipe) -> int:
    """What training on the very rows of these steps was expected to take."""
    train_set = task.train_set
    steps = islice(batch_order(train_set, batch_size=recipe.batch_size, seed=recipe.seed), STEPS)
    longest = max(train_set.length(row) for rows in steps for row in rows)
    resolved = held_for(plan.method, recipe).model_copy(
        update={"micro_tokens": tokens_per_pass(recipe.micro_tokens, task.base.device, task.base.dtype)}
    )
    work = Workload(longest_example=longest, longest_prompt=longest, max_new_tokens=1)
    config, on_gpu = load_config(task.base.folder), task.base.device.type == "cuda"
    found = estimate_footprint(config, plan, resolved, work, dtype=task.base.dtype, on_gpu=on_gpu)
    return next(phase.total for phase in found.phases if phase.name == "train")


def _method(task: Task, wanted: PlanSpec, spec: TrialSpec, scratch: Path) -> dict[str, Any]:
    started = time.perf_counter()
    plan, _ = plan_for(task, wanted, spec.recipe)
    planned = time.perf_counter()
    trainable = attach(task.base, plan, seed=spec.recipe.seed)
    attached = time.perf_counter()
    recipe = spec.recipe.model_copy(update={"max_steps": STEPS, "evaluations": 1, "checkpoint_every": STEPS - 1})
    one_row = Encoded(task.dev_set.prompts[:1], task.dev_set.completions[:1])
    heard: list[tuple[float, int]] = []
    try:
        train(
            trainable,
            task.train_set,
            one_row,
            recipe,
            on_step=lambda step: heard.append((time.perf_counter(), step.tokens)),
            checkpoint=scratch,
        )
    finally:
        trainable.detach()
    (first, _), (second, tokens), (third, kept_tokens), (fourth, last_tokens) = heard
    per_token = (second - first) / tokens
    return {
        "plan": planned - started,
        "attach": attached - planned,
        "step": per_token * recipe.batch_size * task.train_set.tokens / len(task.train_set),
        "checkpoint": max(0.0, third - second - per_token * kept_tokens),
        "keep_best": max(0.0, fourth - third - per_token * last_tokens),
    }

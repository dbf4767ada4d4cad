"""Training inside a trial: the search of a learning rate on dev, and the run whose numbers go on the scorecard.

Called by `trial` in a process of its own. Order matters and is the same for every method: load, digest of the base,
attach, train, prove the base untouched, save the adapter, and only then evaluate and measure, so that a crash in an
evaluation costs no training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tsugiki.config import PlanSpec, Recipe
from tsugiki.data.shapes import Example
from tsugiki.engine.adapter_files import save_adapter
from tsugiki.engine.attach import Trainable, attach
from tsugiki.engine.bank import attach_bank, why_alone
from tsugiki.engine.base import Base, live_weights_digest
from tsugiki.engine.device import free_memory_bytes, tokens_per_pass
from tsugiki.engine.footprint import tokens_of_a_pass, training_bytes
from tsugiki.engine.gradients import choose_blocks
from tsugiki.engine.learner import Step, TrainResult
from tsugiki.engine.loss import mean_loss, row_losses
from tsugiki.engine.plan import Plan, make_plan
from tsugiki.engine.rank_spread import spread_ranks
from tsugiki.engine.shrink import losses_by_rank
from tsugiki.engine.train import train, train_bank
from tsugiki.errors import DoesNotFit, TrainingError
from tsugiki.files import write_json
from tsugiki.fingerprint import digest_file
from tsugiki.measure.meter import Meter
from tsugiki.work.assess import AnswerShape, answer_all, answer_shape, general_losses, scored
from tsugiki.work.choose import LOSS_TOLERANCE, best_try
from tsugiki.work.examples import prompt_mark, read_examples
from tsugiki.work.golden import golden_as_json, golden_tokens
from tsugiki.work.prepare import TRAIN, read_check
from tsugiki.work.spec import Template, TrialSpec, adapter_folder, prefix_folder, scratch_folder
from tsugiki.work.speed import change_cost, latencies
from tsugiki.work.task import Emit, Task, open_task

Values = dict[str, Any]
DETAILS = ("row_losses", "rank_losses")  # of the best try alone


def search_rate(spec: TrialSpec, study: Path, emit: Emit) -> Values:
    """Every rate from the same base, plan and seed; a try that diverges is a try that lost.

    Low-rank tries share a bank, where the weaker half leaves in the middle; those of other plans run one by one.
    """
    task = open_task(spec, study, emit)
    plan, _ = plan_for(task, spec.plan, spec.recipe)
    scratch = scratch_folder(study, spec.id)
    tries = _finished_tries(scratch)
    if not tries and len(spec.learning_rates) > 1 and _can_share(task, plan, spec):
        tries = _tries_together(task, plan, spec, study, emit)
    for number, rate in enumerate(spec.learning_rates[len(tries) :], start=len(tries)):
        emit({"event": "phase", "phase": "try", "number": number + 1, "of": len(spec.learning_rates), "rate": rate})
        tries.append(_one_try(task, plan, spec, rate, study, number, emit))
        write_json(scratch / "tries.json", tries)
    best = best_try(tries)
    if best is None:
        rates = ", ".join(f"{rate:g}" for rate in spec.learning_rates)
        raise TrainingError(
            f"None of the learning rates {rates} could be trained: {tries[-1]['reason']}",
            fix="Look at the data, or leave this method out.",
        )
    kept = {name: best.get(name) for name in ("learning_rate", "dev_loss", "row_losses", "rank_losses")}
    return {**kept, "tries": [{name: value for name, value in one.items() if name not in DETAILS} for one in tries]}


def train_and_measure(spec: TrialSpec, study: Path, emit: Emit) -> Values:
    task = open_task(spec, study, emit)
    base_before = live_weights_digest(task.base)
    meter = meter_for(task.base)
    with meter.phase("train"):
        plan, plan_spec = plan_for(task, spec.plan, spec.recipe)
        trainable = attach(task.base, plan, seed=spec.recipe.seed)
        checkpoint = scratch_folder(study, spec.id) / "checkpoint"
        found = train(
            trainable,
            task.train_set,
            task.dev_set,
            spec.recipe,
            on_step=step_events(emit),
            checkpoint=checkpoint,
            prefix_folder=prefix_folder(study),
        )
    prove_untouched(task.base, base_before)
    folder = adapter_folder(study, spec.id)
    # From all training rows, also where a trial learns from a part of them: all sizes are judged alike.
    shape = answer_shape(task.base.tokenizer, read_examples(study / TRAIN))
    size = save_adapter(trainable, folder, _manifest(task, spec, study, shape))
    emit({"event": "phase", "phase": "answer"})
    prompts = [task.rendered(example) for example in task.test]
    with meter.phase("answer"):
        answers = answer_all(trainable.model, task.base.tokenizer, prompts, shape)
    shifted = _answers_to_shift(task, trainable, spec, study, shape, emit)
    values = _measured(task, trainable, spec, folder, emit)
    prove_untouched(task.base, base_before)
    return {
        "method": spec.plan.method,
        "seed": spec.recipe.seed,
        "rows": len(task.train_set),
        "test_digest": digest_file(study / spec.test),
        "plan": {"describe": plan.describe(), "spec": plan_spec.model_dump(mode="json")},
        "trainable_parameters": trainable.trainable_parameters,
        "trainable_share": trainable.trainable_share,
        "training": asdict(found),
        "dev_loss": found.best_dev_loss,
        "base_weights": base_before,
        "adapter": folder.relative_to(study).as_posix(),
        "adapter_bytes": size,
        "memory": {
            "train_bytes": meter.phases["train"].peak_memory_bytes,
            "inference_bytes": meter.phases["answer"].peak_memory_bytes,
            "method": meter.phases["train"].memory_method,
        },
        "answer_seconds": meter.phases["answer"].seconds,
        **scored(task.test, answers),
        **shifted,
        **values,
    }


def plan_for(task: Task, wanted: PlanSpec, recipe: Recipe) -> tuple[Plan, PlanSpec]:
    """The plan on this base, and its spec with the blocks that 'auto' stands for; chosen on training rows only."""
    resolved = choose_blocks(task.base, task.train_set, wanted, micro_tokens=recipe.micro_tokens)
    plan = make_plan(task.base.model, resolved)
    return (spread_ranks(task.base, plan, task.train_set) if resolved.rank_spread == "activations" else plan), resolved


def meter_for(base: Base) -> Meter:
    return Meter(device=_Cuda(base.device) if base.device.type == "cuda" else None)


class _Cuda:
    """Torch's own peak counters, for the meter."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)


def step_events(emit: Emit) -> Callable[[Step], None]:
    return lambda step: emit({"event": "step", **asdict(step)})


def prove_untouched(base: Base, before: str) -> None:
    assert live_weights_digest(base) == before, "the frozen base has changed"


def _can_share(task: Task, plan: Plan, spec: TrialSpec) -> bool:
    """Whether all tries fit into one bank: asked of the estimate, since on a CPU memory that runs out kills."""
    if why_alone(task.base, plan) is not None or spec.recipe.recompute == "always":
        return False
    base, count = task.base, len(spec.learning_rates)
    longest = max(map(task.train_set.length, range(len(task.train_set))))
    micro_tokens = tokens_per_pass(spec.recipe.micro_tokens, base.device, base.dtype)
    tokens = count * tokens_of_a_pass(longest, spec.recipe.model_copy(update={"micro_tokens": micro_tokens}))
    return training_bytes(base, plan, tokens=tokens) <= free_memory_bytes(base.device)


def _tries_together(task: Task, plan: Plan, spec: TrialSpec, study: Path, emit: Emit) -> list[Values]:
    """All tries in one bank; none where they do not fit into memory together."""
    recipes = [spec.recipe.model_copy(update={"learning_rate": rate}) for rate in spec.learning_rates]
    emit({"event": "phase", "phase": f"{len(recipes)} tries together"})
    bank = attach_bank(task.base, [plan] * len(recipes), seeds=[recipe.seed for recipe in recipes])
    try:
        found = train_bank(
            bank,
            task.train_set,
            task.dev_set,
            recipes,
            on_step=step_events(emit),
            checkpoint=scratch_folder(study, spec.id) / "together",
            prefix_folder=prefix_folder(study),
            keep={max(1, spec.recipe.evaluations // 2): math.ceil(len(recipes) / 2)},
        )
    except DoesNotFit:
        return []
    finally:
        bank.detach()
    tries = [_try(recipe.learning_rate, one) for recipe, one in zip(recipes, found, strict=True)]
    best = best_try(tries)
    if best is not None:
        place = tries.index(dict(best))
        alone = attach(task.base, plan, seed=0)
        with torch.no_grad():
            for name, part in bank.candidates[place].trained.items():
                alone.trained[name].copy_(part)
        tries[place] |= _details(task, alone, spec)
        alone.detach()
    return tries


def _one_try(task: Task, plan: Plan, spec: TrialSpec, rate: float, study: Path, number: int, emit: Emit) -> Values:
    trainable = attach(task.base, plan, seed=spec.recipe.seed)
    found: TrainResult | TrainingError
    details: Values = {}
    try:
        found = train(
            trainable,
            task.train_set,
            task.dev_set,
            spec.recipe.model_copy(update={"learning_rate": rate}),
            on_step=step_events(emit),
            checkpoint=scratch_folder(study, spec.id) / f"try-{number}",
            prefix_folder=prefix_folder(study),
        )
        details = _details(task, trainable, spec)
    except DoesNotFit:
        raise
    except TrainingError as error:
        found = error
    finally:
        trainable.detach()
    return _try(rate, found) | details


def _details(task: Task, trainable: Trainable, spec: TrialSpec) -> Values:
    """Nats of each dev row, and dev losses of the updates cut to the spec's ranks down to the first that is too small.

    Of what has just been trained.
    """
    ranks = rank_losses(task, trainable, spec.ranks, spec.recipe) if spec.ranks else None
    rows = row_losses(trainable.model, task.dev_set, micro_tokens=spec.recipe.micro_tokens)
    return {"row_losses": rows, "rank_losses": ranks}


def rank_losses(task: Task, trainable: Trainable, ranks: Sequence[int], recipe: Recipe) -> list[Values]:
    def dev_loss() -> float:
        return mean_loss(trainable.model, task.dev_set, micro_tokens=recipe.micro_tokens)

    found = losses_by_rank(trainable, ranks, dev_loss, tolerance=LOSS_TOLERANCE)
    return [{"rank": rank, "dev_loss": loss} for rank, loss in found.items()]


def _try(rate: float, found: TrainResult | TrainingError) -> Values:
    if isinstance(found, TrainingError):
        return {"learning_rate": rate, "dev_loss": None, "reason": found.problem}
    return {
        "learning_rate": rate,
        "dev_loss": found.best_dev_loss,
        "steps": found.steps,
        "best_step": found.best_step,
        "seconds": found.seconds,
    }


def _finished_tries(scratch: Path) -> list[Values]:
    path = scratch / "tries.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _manifest(task: Task, spec: TrialSpec, study: Path, shape: AnswerShape) -> Values:
    check = read_check(study)
    assert check is not None, "a trial without data"
    dev = read_examples(study / spec.dev)
    tokenizer = task.base.tokenizer
    about = manifest(task.train, dev, spec.recipe, spec.template, check["digest"], shape, tokenizer)
    return {**about, "trial": spec.id}


def manifest(
    train: Sequence[Example],
    dev: Sequence[Example],
    recipe: Recipe,
    template: Template,
    data_digest: str,
    shape: AnswerShape,
    tokenizer: Any,
) -> Values:
    """What the engine cannot know about an adapter: how it was trained, on which rows of which file, and what its
    answers look like. `seen` marks the prompts that trained it or chose its checkpoint; `golden` holds the token ids
    of recorded prompts, which the serving side has to make as well.
    """
    return {
        "recipe": recipe.model_dump(mode="json"),
        "template": template,
        "data_digest": data_digest,
        "train_rows": [example.row for example in train],
        "seen": sorted({prompt_mark(data_digest, example.prompt) for example in (*train, *dev)}),
        "answer": asdict(shape),
        "golden": golden_as_json(golden_tokens(tokenizer, template)),
    }


def _answers_to_shift(
    task: Task, trainable: Trainable, spec: TrialSpec, study: Path, shape: AnswerShape, emit: Emit
) -> Values:
    """Every shifted row answered as the test rows were; nothing where the study has none."""
    if spec.shift is None:
        return {}
    emit({"event": "phase", "phase": "answer shifted rows"})
    rows = read_examples(study / spec.shift)
    answers = answer_all(trainable.model, task.base.tokenizer, [task.rendered(example) for example in rows], shape)
    return {"shifted": {**scored(rows, answers), "digest": digest_file(study / spec.shift)}}


def _measured(task: Task, trainable: Trainable, spec: TrialSpec, folder: Path, emit: Emit) -> Values:
    """Retention, speed and change cost; afterwards nothing is attached to the base any more."""
    values: Values = {}
    if "retention" in spec.measurements:
        emit({"event": "phase", "phase": "retention"})
        values["general"] = general_losses(trainable.model, task.base.tokenizer, micro_tokens=spec.recipe.micro_tokens)
    if "latency" in spec.measurements:
        emit({"event": "phase", "phase": "latency"})
        values["latency"], values["merge_error"] = latencies(
            trainable, [task.rendered(example) for example in task.test]
        )
    trainable.detach()
    if "retention_before" in spec.measurements:
        micro_tokens = spec.recipe.micro_tokens
        values["general_before"] = general_losses(task.base.model, task.base.tokenizer, micro_tokens=micro_tokens)
    if "change" in spec.measurements:
        emit({"event": "phase", "phase": "change"})
        values["change"] = change_cost(task.base, folder)
    return values

"""One adapter from a data file: `tsugiki train`. No comparison and no verdict; for these there is a study.

Runs in the process of the caller. A part of the examples is held back to choose the best checkpoint; none is held back
for a test. A killed run goes on from its checkpoint when it is started again with the same arguments.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tsugiki.config import PlanSpec, Recipe
from tsugiki.data.check import Findings
from tsugiki.data.shapes import Example
from tsugiki.data.split import split
from tsugiki.engine.adapter_files import save_adapter
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base
from tsugiki.engine.loss import row_losses
from tsugiki.engine.shrink import shrink
from tsugiki.engine.train import train
from tsugiki.errors import TrainingError, UsageError
from tsugiki.files import make_folder
from tsugiki.work.assess import answer_shape
from tsugiki.work.choose import SIMPLEST_FIRST, ranks_to_try, simplest_method, sufficient_rank
from tsugiki.work.design import search_steps
from tsugiki.work.fit import manifest, plan_for, prove_untouched, rank_losses, step_events
from tsugiki.work.orders import held_for, plans_for, with_rank
from tsugiki.work.prepare import (
    SPLIT_SEED,
    DataSpec,
    Source,
    blaming_length,
    checked,
    read_source,
    usable_findings,
)
from tsugiki.work.spec import Template
from tsugiki.work.task import Emit, Task, render_for, template_for, token_lengths, tokens

FIX_TRIES = "Look at the data with `tsugiki check`, lower --learning-rate, or name a --method."
LARGEST_IN_ONE_RUN = 32  # rank 'auto' trains with it once and keeps as much of the update as dev shows to be needed


@dataclass(frozen=True)
class Adaptation:
    data: DataSpec
    base: str
    plan: PlanSpec
    recipe: Recipe
    template: Template | Literal["auto"]
    dev_share: float
    try_methods: bool = False  # the plan's knobs with the method that a third of the steps shows to be best on dev


@dataclass(frozen=True)
class Opened:
    """The rows as read, checked and divided, and the task that they make on the base."""

    source: Source
    findings: Findings
    task: Task
    template: Template
    held_back: tuple[Example, ...]


def opened(wanted: Adaptation, emit: Emit) -> Opened:
    """Read the data and load the base. What cannot be split is refused before a base is loaded."""
    source = read_source(wanted.data)
    emit({"event": "reading", "sentence": source.guess.sentence})
    usable = usable_findings(source)
    _parts(usable, wanted.dev_share)
    emit({"event": "phase", "phase": "load"})
    base = load_base(BaseSpec(wanted.base, precision=wanted.recipe.precision, quantize=wanted.recipe.quantize))
    template = template_for(base.tokenizer, usable.examples) if wanted.template == "auto" else wanted.template
    lengths = token_lengths(base.tokenizer, render_for(base, template), usable.examples)
    findings = checked(source, usable.examples, lengths, wanted.recipe.max_length)
    with blaming_length(lengths, wanted.recipe.max_length):
        learned, held_back = _parts(findings, wanted.dev_share)
    return Opened(source, findings, _task(base, wanted.recipe, template, learned, held_back), template, held_back)


def train_adapter(wanted: Adaptation, out: Path, emit: Emit) -> dict[str, Any]:
    """Train and save to `out`; returns what was trained and how it went."""
    if out.exists():
        raise UsageError(f"{out} exists already.", fix="Name another folder with --out, or delete it.")
    if held_for(wanted.plan.method, wanted.recipe) != wanted.recipe:
        raise UsageError(
            f"{wanted.plan.method} trains weights in full, and a base in {wanted.recipe.quantize} holds none.",
            fix="Take --method lora or adapter, or --quantize none.",
        )
    make_folder(out.parent, "--out")
    open_ = opened(wanted, emit)
    task, base, learned = open_.task, open_.task.base, open_.task.train
    before = live_weights_digest(base)
    largest = LARGEST_IN_ONE_RUN
    chosen, tries = _try_methods(task, wanted, emit) if wanted.try_methods else (wanted.plan, None)
    plan, plan_spec = plan_for(task, with_rank(chosen, largest), wanted.recipe)
    trainable = attach(base, plan, seed=wanted.recipe.seed)
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    found = train(
        trainable, task.train_set, task.dev_set, wanted.recipe, on_step=step_events(emit), checkpoint=checkpoint
    )
    ranks = None
    if wanted.plan.rank == "auto" and plan.low_rank:
        emit({"event": "phase", "phase": "rank"})
        ranks = rank_losses(task, trainable, ranks_to_try(largest), wanted.recipe)
        trainable = shrink(trainable, sufficient_rank(ranks))
        plan_spec = plan_spec.model_copy(update={"rank": sufficient_rank(ranks)})
    prove_untouched(base, before)
    shape = answer_shape(base.tokenizer, learned)
    about = manifest(
        learned, open_.held_back, wanted.recipe, open_.template, open_.source.table.digest, shape, base.tokenizer
    )
    size = save_adapter(trainable, out, {**about, "training": asdict(found)})
    shutil.rmtree(checkpoint, ignore_errors=True)
    return {
        "adapter": str(out),
        "base": base.identity.name,
        "plan": {"describe": trainable.plan.describe(), "spec": plan_spec.model_dump(mode="json")},
        "methods": tries,
        "rank": ranks and {"kept": sufficient_rank(ranks), "of": largest, "losses": ranks},
        "rows": rows_of(open_),
        "excluded": [asdict(exclusion) for exclusion in open_.findings.excluded],
        "trainable_share": trainable.trainable_share,
        "adapter_bytes": size,
        "training": {name: value for name, value in asdict(found).items() if name != "history"},
    }


def rows_of(found: Opened) -> dict[str, int]:
    return {
        "train": len(found.task.train),
        "dev": len(found.held_back),
        "excluded": len(found.findings.excluded),
    }


def _try_methods(task: Task, wanted: Adaptation, emit: Emit) -> tuple[PlanSpec, list[dict[str, Any]]]:
    """The plan of the simplest method that a third of the steps does not show to be worse than the best."""
    short = wanted.recipe.model_copy(update={"max_steps": search_steps(wanted.recipe.max_steps)})
    methods = tuple(method for method in SIMPLEST_FIRST if held_for(method, short) == short)
    plans = plans_for(methods, wanted.plan)
    tries: list[dict[str, Any]] = []
    for method, plan in plans.items():
        emit({"event": "phase", "phase": f"try {method}"})
        tries.append({"method": method, **one_try(task, with_rank(plan, LARGEST_IN_ONE_RUN), short, emit)})
    simplest = simplest_method(tries)
    if simplest is None:
        raise TrainingError(f"None of {', '.join(methods)} could be trained: {tries[-1]['reason']}", fix=FIX_TRIES)
    return plans[simplest], tries


def one_try(task: Task, plan: PlanSpec, recipe: Recipe, emit: Emit) -> dict[str, Any]:
    """Dev loss and size of one training that is thrown away; one that diverges or does not fit says its `reason`."""
    laid, _ = plan_for(task, plan, recipe)
    trainable = attach(task.base, laid, seed=recipe.seed)
    parameters = trainable.trainable_parameters
    try:
        found = train(trainable, task.train_set, task.dev_set, recipe, on_step=step_events(emit))
        rows = row_losses(trainable.model, task.dev_set, micro_tokens=recipe.micro_tokens)
        about = {"dev_loss": found.best_dev_loss, "row_losses": rows, "reason": None}
        return {**about, "trainable_parameters": parameters}
    except TrainingError as error:
        return {"dev_loss": None, "trainable_parameters": parameters, "reason": error.problem}
    finally:
        trainable.detach()


def _parts(findings: Findings, dev_share: float) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Train and dev alone: what a split would keep for the test is the dev part here."""
    parts = split(
        findings.examples,
        findings.groups,
        test_share=dev_share,
        dev_share=0.0,
        seed=SPLIT_SEED,
        closed=findings.closed,
    )
    return (*parts.train, *parts.dev), parts.test


def _task(
    base: Base, recipe: Recipe, template: Template, learned: Sequence[Example], held_back: Sequence[Example]
) -> Task:
    rendered = render_for(base, template)
    return Task(
        base=base,
        rendered=rendered,
        train=tuple(learned),
        test=(),
        train_set=tokens(base, rendered, learned, recipe),
        dev_set=tokens(base, rendered, held_back, recipe),
    )

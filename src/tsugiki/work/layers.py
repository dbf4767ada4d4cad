"""Which blocks a hybrid should train in full, and what that buys: `tsugiki layers`.

Runs in the process of the caller. Scores every block on the training rows (engine/gradients.py), then trains LoRA,
hybrids with more and more of the best blocks in full, and full fine-tuning for some steps each, to show the dev loss
that every megabyte of trained weights buys. Full weights are proposed only where LoRA is measurably short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsugiki.config import LEARNING_RATES, MethodName, PlanSpec, parse
from tsugiki.engine.gradients import gradient_ratios
from tsugiki.errors import TrainingError, UsageError
from tsugiki.work.adapt import FIX_TRIES, Adaptation, one_try, opened, rows_of
from tsugiki.work.choose import best_try, good_enough
from tsugiki.work.task import Emit

BYTES = 4  # what is trained is float32, whatever the base is held in


def plan_layers(wanted: Adaptation, emit: Emit) -> dict[str, Any]:
    """`wanted.plan` holds the knobs of the low-rank parts; its method and full_layers are varied here.

    Raises TrainingError when no candidate can be trained.
    """
    if wanted.plan.rank == "auto":
        raise UsageError("Plans are compared at one rank.", fix="Give a number with --rank.")
    if wanted.recipe.quantize != "none":
        raise UsageError(
            f"Weights of a base in {wanted.recipe.quantize} cannot be trained in full.", fix="Leave --quantize out."
        )
    found = opened(wanted, emit)
    task, recipe = found.task, wanted.recipe
    emit({"event": "phase", "phase": "score"})
    ratios = gradient_ratios(task.base, task.train_set, micro_tokens=recipe.micro_tokens)
    ranked = sorted(ratios, key=lambda block: -ratios[block])
    tries: list[dict[str, Any]] = []
    for plan, blocks in candidates(wanted.plan, ranked):
        emit({"event": "phase", "phase": f"try {name_of(plan.method, blocks)}"})
        rate = LEARNING_RATES[plan.method][0]
        tried = one_try(task, plan, recipe.model_copy(update={"learning_rate": rate}), emit)
        megabytes = tried["trainable_parameters"] * BYTES / 1e6
        tries.append({"method": plan.method, "blocks": list(blocks), "megabytes": megabytes, **tried})
    if best_try(tries) is None:
        raise TrainingError(f"None of the plans could be trained: {tries[-1]['reason']}", fix=FIX_TRIES)
    return {
        "base": task.base.identity.name,
        "rows": rows_of(found),
        "steps": recipe.max_steps,
        "scores": {str(block): ratios[block] for block in sorted(ratios)},
        "ranked": ranked,
        "tries": [{**one, "on_front": on_front(one, tries)} for one in tries],
        "proposed": proposed(tries),
    }


def candidates(knobs: PlanSpec, ranked: Sequence[int]) -> list[tuple[PlanSpec, tuple[int, ...]]]:
    """LoRA, hybrids with 1, 2, 4, … of the best blocks in full (fewer than all of them), full fine-tuning."""
    found: list[tuple[PlanSpec, tuple[int, ...]]] = [(_plan(knobs, "lora"), ())]
    count = 1
    while count < len(ranked):
        blocks = tuple(sorted(ranked[:count]))
        found.append((_plan(knobs, "hybrid", full_layers=tuple(map(str, blocks))), blocks))
        count *= 2
    return [*found, (PlanSpec(method="full"), tuple(sorted(ranked)))]


def on_front(one: Mapping[str, Any], tries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing else is at most as large with a lower loss, or smaller with the same."""
    if one["dev_loss"] is None:
        return False
    size = (one["megabytes"], one["dev_loss"])
    others = [(other["megabytes"], other["dev_loss"]) for other in tries if other["dev_loss"] is not None]
    return not any(other != size and other[0] <= size[0] and other[1] <= size[1] for other in others)


def proposed(tries: Sequence[Mapping[str, Any]]) -> int:
    """The place of the smallest plan that the dev set does not show to be worse than the best."""
    return min(good_enough(tries), key=lambda place: tries[place]["megabytes"])


def name_of(method: MethodName, blocks: Sequence[int]) -> str:
    if method != "hybrid":
        return method
    return f"hybrid, {len(blocks)} block{'s' if len(blocks) > 1 else ''} in full"


def _plan(knobs: PlanSpec, method: MethodName, **changes: Any) -> PlanSpec:
    return parse(PlanSpec, {**knobs.model_dump(), "method": method, **changes}, source="command line")

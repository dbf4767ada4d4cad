"""What each method would take before anything runs: `tsugiki estimate`.

Memory per phase from the shapes of the base, steps from the number of rows. Loads the tokenizer and the configuration
of the base, never its weights. Seconds are not guessed: `measured` takes a few steps per method, as a study does in its
calibration, and corrects the estimate of the memory by what they took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tsugiki.config import Design, PlanSpec, Recipe
from tsugiki.engine.base import BaseSpec, load_config, load_tokenizer, locate_base
from tsugiki.engine.device import free_memory_bytes, multiplies_bfloat16, pick_device, pick_dtype, tokens_per_pass
from tsugiki.engine.footprint import Workload, estimate_footprint
from tsugiki.errors import StudyError
from tsugiki.work.assess import SPARE_TOKENS
from tsugiki.work.design import steps_for
from tsugiki.work.examples import write_examples
from tsugiki.work.orders import Orders, held_for, plans_for, with_rank
from tsugiki.work.prepare import DEV, TEST, TRAIN, DataSpec, divided, read_source, usable_findings
from tsugiki.work.preview import preview
from tsugiki.work.prior import SMALLEST_LARGEST
from tsugiki.work.process import run_in_process
from tsugiki.work.spec import read_result
from tsugiki.work.task import counting, template_for

OnEvent = Callable[[Mapping[str, Any]], None]


def estimate_study(data: DataSpec, base: str, design: Design, plan: PlanSpec, recipe: Recipe) -> dict[str, Any]:
    source = read_source(data)
    spec = BaseSpec(base, precision=recipe.precision)
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.precision, device)
    tokenizer = load_tokenizer(spec)
    seen = preview(source, design, recipe.max_length, counting(tokenizer))
    prompts, completions = [prompt for prompt, _ in seen.lengths], [completion for _, completion in seen.lengths]
    longest = max(map(sum, seen.lengths), default=recipe.max_length)
    work = Workload(longest, max(prompts, default=longest), max(completions, default=1) + SPARE_TOKENS)
    config, free = load_config(locate_base(spec)), free_memory_bytes(device)
    share = 1 - design.test_share - design.dev_share
    train_rows = round(seen.findings.used * share) if seen.train_rows is None else seen.train_rows
    methods = []
    resolved = recipe.model_copy(update={"micro_tokens": tokens_per_pass(recipe.micro_tokens, device, dtype)})
    for method, asked in plans_for(design.methods, plan).items():
        wanted = with_rank(asked, SMALLEST_LARGEST)
        held = held_for(method, resolved)
        found = estimate_footprint(config, wanted, held, work, dtype=dtype, on_gpu=device.type == "cuda")
        recompute = held.recompute == "always"
        if held.recompute == "auto" and found.peak.total > free:  # what training would do as well
            recompute, held = True, held.model_copy(update={"recompute": "always"})
            found = estimate_footprint(config, wanted, held, work, dtype=dtype, on_gpu=device.type == "cuda")
        about = {"name": method, "quantize": held.quantize, "recompute": recompute, "fits": found.peak.total <= free}
        methods.append({**about, **found.as_json()})
    return {
        "base": base,
        "precision": str(dtype).removeprefix("torch."),
        "emulated": dtype == torch.bfloat16 and not multiplies_bfloat16(device),
        "device": device.type,
        "free_bytes": free,
        "rows": {"usable": seen.findings.used, "train": train_rows, "too_long": seen.too_long},
        "concerns": list(seen.warnings),
        "refused": seen.train_rows is None,  # by a study
        "workload": asdict(work),
        "steps": steps_for(train_rows, recipe.batch_size),
        "methods": methods,
    }


def measured(
    estimate: Mapping[str, Any], data: DataSpec, design: Design, plan: PlanSpec, recipe: Recipe, on_event: OnEvent
) -> dict[str, Any]:
    """`estimate` with what a few steps of each method took in a process of their own: bytes, and seconds to train.

    The memory of the longest rows is the estimate times measured over estimated of the rows that were seen.
    """
    source = read_source(data)
    splits = divided(source, usable_findings(source), design)
    template = template_for(load_tokenizer(BaseSpec(estimate["base"])), source.examples)
    plans = {method: with_rank(one, SMALLEST_LARGEST) for method, one in plans_for(design.methods, plan).items()}
    orders = Orders(estimate["base"], design, plans, recipe, template)
    with TemporaryDirectory(prefix="tsugiki-estimate-") as folder:
        for name, part in ((TRAIN, splits.train), (DEV, splits.dev), (TEST, splits.test)):
            write_examples(Path(folder) / name, part)
        spec = orders.calibration()
        run_in_process(spec, Path(folder), on_event)
        found = read_result(Path(folder), spec.id)
    assert found is not None, "a process without a result"
    if found["status"] != "done":
        raise StudyError(str(found["reason"]), fix=str(found["fix"]))
    methods = [{**one, "measured": _measured(one, found, estimate["steps"])} for one in estimate["methods"]]
    return {**estimate, "methods": methods}


def _measured(method: Mapping[str, Any], found: Mapping[str, Any], steps: int) -> dict[str, Any]:
    if method["name"] in found["does_not_fit"]:
        return {"peak_bytes": None, "seconds": None, "reason": found["does_not_fit"][method["name"]]["reason"]}
    one = found["methods"][method["name"]]
    ratio = one["memory"]["measured_bytes"] / one["memory"]["estimated_bytes"]
    expected = method["phases"]["train"]["total"]
    return {"peak_bytes": int(expected * ratio), "seconds": steps * one["step"], "reason": None}

"""What each method would take before anything runs: `tsugiki estimate`.

Memory per phase from the shapes of the base, steps from the number of rows. Loads the tokenizer and the configuration
of the base, never its weights. Seconds are not guessed: the study measures them in its calibration.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from tsugiki.config import Design, PlanSpec, Recipe
from tsugiki.engine.base import BaseSpec, load_config, load_tokenizer, locate_base
from tsugiki.engine.device import free_memory_bytes, multiplies_bfloat16, pick_device, pick_dtype, tokens_per_pass
from tsugiki.engine.footprint import Workload, estimate_footprint
from tsugiki.work.assess import SPARE_TOKENS
from tsugiki.work.design import steps_for
from tsugiki.work.orders import held_for, plans_for
from tsugiki.work.prepare import DataSpec, read_source
from tsugiki.work.preview import preview
from tsugiki.work.task import counting


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
    resolved = recipe.model_copy(update={"micro_tokens": tokens_per_pass(recipe.micro_tokens, device)})
    for method, wanted in plans_for(design.methods, plan).items():
        held = held_for(method, resolved)
        found = estimate_footprint(config, wanted, held, work, dtype=dtype, on_gpu=device.type == "cuda")
        methods.append({"name": method, "quantize": held.quantize, "fits": found.peak.total <= free, **found.as_json()})
    return {
        "base": base,
        "precision": str(dtype).removeprefix("torch."),
        "emulated": dtype == torch.bfloat16 and not multiplies_bfloat16(device),
        "device": device.type,
        "free_bytes": free,
        "rows": {"usable": seen.findings.used, "train": train_rows, "too_long": seen.too_long},
        "concerns": list(seen.warnings),
        "workload": asdict(work),
        "steps": steps_for(train_rows, recipe.batch_size),
        "methods": methods,
    }

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
from tsugiki.engine.batches import completion_ids, prompt_ids
from tsugiki.engine.device import free_memory_bytes, multiplies_bfloat16, pick_device, pick_dtype, tokens_per_pass
from tsugiki.engine.footprint import Workload, estimate_footprint
from tsugiki.work.assess import SPARE_TOKENS
from tsugiki.work.design import steps_for
from tsugiki.work.orders import plans_for
from tsugiki.work.prepare import DataSpec, read_source, usable_findings


def estimate_study(data: DataSpec, base: str, design: Design, plan: PlanSpec, recipe: Recipe) -> dict[str, Any]:
    usable = usable_findings(read_source(data)).examples
    spec = BaseSpec(base, precision=recipe.precision)
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.precision, device)
    tokenizer = load_tokenizer(spec)
    prompts = [len(prompt_ids(tokenizer, example.prompt)) for example in usable]
    completions = [len(completion_ids(tokenizer, example.completion, after=example.prompt)) for example in usable]
    fitting = [length for length in map(sum, zip(prompts, completions, strict=True)) if length <= recipe.max_length]
    work = Workload(max(fitting, default=recipe.max_length), max(prompts), max(completions) + SPARE_TOKENS)
    config, free = load_config(locate_base(spec)), free_memory_bytes(device)
    train_rows = round(len(usable) * (1 - design.test_share - design.dev_share))
    methods = []
    resolved = recipe.model_copy(update={"micro_tokens": tokens_per_pass(recipe.micro_tokens, device)})
    for method, wanted in plans_for(design.methods, plan).items():
        found = estimate_footprint(config, wanted, resolved, work, dtype=dtype)
        methods.append({"name": method, "fits": found.peak.total <= free, **found.as_json()})
    return {
        "base": base,
        "precision": str(dtype).removeprefix("torch."),
        "emulated": dtype == torch.bfloat16 and not multiplies_bfloat16(device),
        "device": device.type,
        "free_bytes": free,
        "rows": {"usable": len(usable), "train": train_rows, "too_long": len(usable) - len(fitting)},
        "workload": asdict(work),
        "steps": steps_for(train_rows, recipe.batch_size),
        "methods": methods,
    }

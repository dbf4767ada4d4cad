"""Adapter folders on the tiny bases, as training would leave them, for the tests of exports and compatibility."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tsugiki.config import PlanSpec
from tsugiki.engine.adapter_files import save_adapter
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.plan import Plan, make_plan
from tsugiki.work.golden import golden_as_json, golden_tokens

DATA_DIGEST = "sha256:" + "d" * 64
PROMPT = "The bearing of pump P-101 is worn. 分類: "


def tiny(folder: Path, **changes: Any) -> Base:
    return load_base(BaseSpec(str(folder), precision="float32", device="cpu", **changes))


def adapter_of(base: Base, folder: Path, plan: PlanSpec | Plan | None = None, **manifest: Any) -> torch.Tensor:
    """Save an adapter whose parts matter; the base is bare again, and the adapted logits are returned."""
    spec = plan or PlanSpec(rank=4)
    trainable = attach(base, spec if isinstance(spec, Plan) else make_plan(base.model, spec), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    base.model.eval()
    logits = logits_of(base.model)
    about = {
        "recipe": {"precision": "float32", "max_length": 128, "learning_rate": 1e-4, "max_steps": 20, "seed": 0},
        "template": "plain",
        "data_digest": DATA_DIGEST,
        "train_rows": list(range(1, 41)),
        "seen": [],
        "answer": {"max_new_tokens": 8, "separator": "\n"},
        "golden": golden_as_json(golden_tokens(base.tokenizer, "plain")),
        "trial": "lora-s0",
    }
    save_adapter(trainable, folder, {**about, **manifest})
    trainable.detach()
    return logits


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 40)[None]).logits

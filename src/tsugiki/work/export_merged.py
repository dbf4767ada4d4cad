"""An adapter folded into its base: a transformers folder that needs nothing of tsugiki, and how true it is.

Called by `work/export.py`. What was stored is loaded again and compared with the base and adapter it came from: on the
logits of recorded prompts, and on the task where rows are given. Less than RECOVERY of it is refused unless it is
forced with a reason, which the record keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tsugiki.config import MetricName
from tsugiki.data.shapes import Example
from tsugiki.engine.attach import Trainable, merge, tied_layers, unmerge
from tsugiki.engine.base import Base
from tsugiki.engine.batches import prompt_ids
from tsugiki.engine.generate import generate_ids
from tsugiki.engine.quantize import dense, frozen_weight
from tsugiki.engine.quiet import quiet
from tsugiki.errors import AdapterError
from tsugiki.work.assess import AnswerShape, answer_all

RECOVERY = 0.99
GOES_ON = 24  # tokens that the adapted model adds to each recorded prompt, so that answers are compared too
StoredAs = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Check:
    """Rows of the task, rendered, with what they should be answered; empty where no data was given."""

    prompts: tuple[str, ...]
    references: tuple[str, ...]
    metric: MetricName
    shape: AnswerShape


def write_merged(trainable: Trainable, folder: Path, stored_as: StoredAs) -> dict[str, Any]:
    """Store base and adapter as one model in `folder`, with the base's tokenizer and settings.

    Takes the adapter off `trainable`. Returns the loss of rounding and of holding it as the base is held. Raises
    AdapterError for a plan that cannot be merged.
    """
    base, plan = trainable.base, trainable.plan
    if not plan.mergeable:
        raise AdapterError(
            "A bottleneck adapter is not linear in its input and cannot be merged.",
            fix="Serve it with tsugiki's own engine, or train lora.",
        )
    held_again = merge(trainable)  # relative to the update; of a base in few bits this is what packing it again loses
    unmerge(trainable)
    weights = {f"{name}.weight": layer.merged_weight() for name, layer in trainable.low_rank_layers().items()}
    untied = tied_layers(trainable)
    weights |= {name: value.detach() for name, value in trainable.trained.items() if name in plan.full}
    trainable.detach()
    dtype = getattr(torch, stored_as)
    _save(base, weights, folder, dtype, untied)
    return {
        "stored_as": stored_as,
        "layers": len(weights),
        "rounding": _relative_error(weights, dtype),
        "base_held_in": base.spec.quantize,
        "loss_if_held_so_again": held_again if base.spec.quantize != "none" else None,
    }


def reference_logits(trainable: Trainable, prompts: Sequence[str]) -> tuple[list[list[int]], list[Tensor]]:
    """Token ids of each prompt with what the adapted model says next, and its logits at each of their positions."""
    model, tokenizer = trainable.model, trainable.base.tokenizer
    answers = generate_ids(model, tokenizer, prompts, max_new_tokens=GOES_ON)
    rows = [[*prompt_ids(tokenizer, prompt), *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    return rows, [_logits(model, row) for row in rows]


def compare_stored(
    folder: Path, tokenizer: Any, rows: Sequence[Sequence[int]], expected: Sequence[Tensor], check: Check | None
) -> dict[str, Any]:
    """Load what was stored and compare: logits, the likeliest next token, and the answers to the task's rows."""
    from transformers import AutoModelForCausalLM

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True, use_safetensors=True)
    model.eval()
    agree, positions, largest, divergences = 0, 0, 0.0, []
    for row, own in zip(rows, expected, strict=True):
        theirs = _logits(model, row)
        agree += int((theirs.argmax(-1) == own.argmax(-1)).sum())
        positions += len(row)
        largest = max(largest, float((theirs - own).abs().max()))
        ours, stored = own.log_softmax(-1), theirs.log_softmax(-1)
        divergences.append(float((ours.exp() * (ours - stored)).sum(-1).mean()))
    answers = None if check is None else answer_all(model, tokenizer, check.prompts, check.shape)
    return {
        "positions": positions,
        "same_next_token": agree / positions,
        "largest_logit_difference": largest,
        "mean_divergence_nats": sum(divergences) / len(divergences),
        "answers": answers,
    }


def recovery_of(compared: dict[str, Any], check: Check | None, before: Sequence[str] | None) -> dict[str, Any]:
    """How much is left: the share of positions with the same next token, or less where the task metric fell by more.

    `before` are the unmerged model's answers to the check's rows. The task's share is that of its estimate.
    """
    share = compared["same_next_token"]
    if check is None or before is None:
        return {"recovery": share, "task": None}
    from tsugiki.measure.metrics import scores_of

    ours, theirs = (
        sum(scores_of(check.metric, answers, check.references)) / len(check.references)
        for answers in (before, compared["answers"])
    )
    kept = 1.0 if ours <= 0 else theirs / ours
    task = {
        "metric": check.metric,
        "rows": len(check.references),
        "unmerged": ours,
        "merged": theirs,
        "same_answers": sum(one == other for one, other in zip(before, compared["answers"], strict=True)),
    }
    return {"recovery": min(share, kept), "task": task}


def rows_to_check(examples: Sequence[Example], rendered: Any, metric: MetricName, shape: AnswerShape) -> Check:
    return Check(
        tuple(rendered(example) for example in examples),
        tuple(example.completion for example in examples),
        metric,
        shape,
    )


def _save(base: Base, weights: dict[str, Tensor], folder: Path, dtype: torch.dtype, untied: frozenset[str]) -> None:
    """The base is loaded anew in float32, so that nothing of ours is in what is stored.

    A head that was the embedding as well and was adapted alone becomes a weight of its own.
    """
    from transformers import AutoModelForCausalLM

    with quiet(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(
            base.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        for name, linear in base.model.named_modules():  # a base in few bits is stored as what it stands for
            if hasattr(linear, "packed"):
                model.get_parameter(f"{name}.weight").copy_(dense(frozen_weight(linear)))
        for name in untied:
            module = model.get_submodule(name)
            module.weight = torch.nn.Parameter(module.weight.detach().clone(), requires_grad=False)
            model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False
        for name, value in weights.items():
            model.get_parameter(name).copy_(value)
        model.to(dtype).save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)


def _relative_error(weights: dict[str, Tensor], dtype: torch.dtype) -> float:
    lost = sum(float((value.to(dtype).to(value.dtype) - value).square().sum()) for value in weights.values())
    whole = sum(float(value.square().sum()) for value in weights.values())
    return float((lost / whole) ** 0.5) if whole > 0 else 0.0


def _logits(model: Any, row: Sequence[int]) -> Tensor:
    with torch.inference_mode():
        ids_BT = torch.tensor([list(row)], device=next(model.parameters()).device)
        found: Tensor = model(input_ids=ids_BT).logits[0].float().cpu()
    return found

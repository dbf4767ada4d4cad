"""PEFT's LoRA folder format, both ways: a plan as `adapter_config.json`, and a configuration as a plan.

Only what peft's LoRA stores and we compute identically is accepted; any other key must hold the value that means "off".
Field names and their defaults follow peft's LoraConfig (0.21); nothing of peft is imported here.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tsugiki.engine.attach import tied_weights
from tsugiki.engine.plan import LowRank, Plan
from tsugiki.engine.structure import is_plain_linear, structure_of
from tsugiki.errors import AdapterError

PREFIX = "base_model.model."
SUFFIXES = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
LARGEST_RANK = 4096

# Read above; every other key of a configuration must be absent, null, false, empty, or one of these harmless values.
READ = {"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules", "exclude_modules"} | {
    "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "layers_pattern",
}  # fmt: skip
HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    "init_lora_weights": (
        True,
        "gaussian",
        "eva",
        "orthogonal",
    ),  # how A and B started does not matter once they are stored
    "inference_mode": (True, False),
}
DESCRIPTIVE = {
    "base_model_name_or_path", "revision", "peft_version", "runtime_config", "qalora_group_size", "megatron_core",
    "ensure_weight_tying",
}  # fmt: skip


def peft_config(plan: Plan, base_name: str, tied: frozenset[str]) -> dict[str, Any] | None:
    """`adapter_config.json` for the plan, or None when PEFT's LoRA cannot express it.

    Whole modules trained in full become `modules_to_save`; a module of which only a part is trained has no place there,
    nor has a weight that is `tied` to another: PEFT would train and store one of the two alone.
    """
    if peft_obstacle(plan, tied) is not None:
        return None
    first = next(iter(plan.low_rank.values()))
    modules = sorted({name.rpartition(".")[0] for name in plan.full})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": first.rank,
        "lora_alpha": first.scale * first.rank,
        "lora_dropout": first.dropout,
        "use_rslora": False,
        "use_dora": first.dora,
        "bias": "none",
        "target_modules": sorted(plan.low_rank),
        "rank_pattern": {_exactly(n): p.rank for n, p in plan.low_rank.items() if p.rank != first.rank},
        "alpha_pattern": {
            _exactly(n): p.scale * p.rank
            for n, p in plan.low_rank.items()
            if not math.isclose(p.scale * p.rank, first.scale * first.rank)
        },
        "modules_to_save": modules or None,
    }


def peft_obstacle(plan: Plan, tied: frozenset[str]) -> str | None:
    """Why PEFT's LoRA cannot express the plan, in a few words; None where it can."""
    if plan.bottlenecks:
        return "it has bottleneck parts, and PEFT's LoRA has none"
    if not plan.low_rank:
        return "it has no low-rank part, only weights trained in full"
    if on_tied := sorted(tied & set(plan.full)):
        return f"{on_tied[0]} is trained in full and is the same weight as another, which PEFT would untie"
    first = next(iter(plan.low_rank.values()))
    if any(part.dora != first.dora or part.dropout != first.dropout for part in plan.low_rank.values()):
        return "its layers differ in DoRA or dropout, and PEFT has one setting for all"
    return None


def peft_tensor_name(name: str) -> str:
    """'model.layers.0.mlp.up_proj.lora_A' → 'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight'."""
    module, _, leaf = name.rpartition(".")
    return f"{PREFIX}{module}.{SUFFIXES.get(leaf, leaf)}"


def plan_from_peft(model: nn.Module, config: Mapping[str, Any], folder: Path) -> Plan:
    """The plan that a PEFT LoRA configuration means on this model. Raises AdapterError for what we do not compute."""
    _refuse_unknown(config, folder)
    rank, alpha = _number(config, "r", folder), _number(config, "lora_alpha", folder)
    dropout = _number(config, "lora_dropout", folder) if config.get("lora_dropout") else 0.0
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets = [name for name in linears if _is_target(name, config, model)]
    if odd := [name for name in targets if not is_plain_linear(linears[name])]:
        raise AdapterError(
            f"{folder} adapts {odd[0]}, which is more than a linear layer on this base.",
            fix="Leave it out of target_modules.",
        )
    if not targets:
        raise AdapterError(
            f"target_modules {config.get('target_modules')!r} of {folder} match no linear layer "
            f"of {type(model).__name__}.",
            fix="Load it on the base that it was trained on.",
        )
    low_rank = {}
    for name in targets:
        own_rank = int(_by_pattern(config.get("rank_pattern"), name, rank))
        own_alpha = _by_pattern(config.get("alpha_pattern"), name, alpha)
        if not 1 <= own_rank <= LARGEST_RANK:
            raise AdapterError(
                f"{folder} asks for rank {own_rank}.", fix=f"Ranks from 1 to {LARGEST_RANK} are supported."
            )
        scale = own_alpha / (math.sqrt(own_rank) if config.get("use_rslora") else own_rank)
        low_rank[name] = LowRank(own_rank, scale, float(dropout), bool(config.get("use_dora")))
    full = _saved_parameters(model, config.get("modules_to_save") or [], folder)
    if tied := sorted(tied_weights(model) & set(full)):
        raise AdapterError(
            f"{folder} holds a {tied[0]} of its own, which on this base is the same weight as another.",
            fix="Load it with PEFT, which unties them.",
        )
    low_rank = {name: part for name, part in low_rank.items() if f"{name}.weight" not in full}
    return Plan(method="hybrid" if full else "lora", low_rank=low_rank, full=full)


def _refuse_unknown(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterError(
            f"{folder} is a PEFT adapter of type {config.get('peft_type')!r}.", fix="Only LORA folders can be loaded."
        )
    for key, value in config.items():
        if key in READ or key in DESCRIPTIVE or value in HARMLESS.get(key, ()):
            continue
        if key not in HARMLESS and (value is None or value is False or value in ([], {}, "")):
            continue
        raise AdapterError(
            f"{folder} sets {key} = {value!r}, which tsugiki does not compute.",
            fix="Convert the adapter to plain LoRA first.",
        )


def _number(config: Mapping[str, Any], key: str, folder: Path) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise AdapterError(
            f"{folder} sets {key} = {value!r}, which is not a number of at least 0.", fix="Repair the file."
        )
    return value


def _is_target(name: str, config: Mapping[str, Any], model: nn.Module) -> bool:
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    if _listed(name, config.get("exclude_modules") or []):
        return False
    if targets == "all-linear":
        return not name.endswith(structure_of(model).head)
    if not _listed(name, targets or []):
        return False
    if layers is None:
        return True
    index = next((block.index for block in structure_of(model).blocks if name in block.linears), None)
    return index in ([layers] if isinstance(layers, int) else layers)


def _listed(name: str, entries: str | list[str]) -> bool:
    """peft's rule: a string is a full regular expression, a list holds names or name endings."""
    if isinstance(entries, str):
        return re.fullmatch(entries, name) is not None
    return any(name == entry or name.endswith("." + entry) for entry in entries)


def _by_pattern(patterns: Mapping[str, Any] | None, name: str, default: float) -> float:
    """peft's rule for rank_pattern and alpha_pattern: the first regular expression that fits the end of the name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return float(value)
    return default


def _exactly(name: str) -> str:
    return "^" + re.escape(name)


def _saved_parameters(model: nn.Module, modules: list[str], folder: Path) -> tuple[str, ...]:
    names: list[str] = []
    for entry in modules:
        found = [name for name, _ in model.named_modules() if name == entry or fnmatch.fnmatchcase(name, f"*.{entry}")]
        if not found:
            raise AdapterError(
                f"modules_to_save of {folder} names {entry!r}, which the base lacks.", fix="Use its own base."
            )
        names += [f"{module}.{leaf}" for module in found for leaf, _ in model.get_submodule(module).named_parameters()]
    return tuple(dict.fromkeys(names))

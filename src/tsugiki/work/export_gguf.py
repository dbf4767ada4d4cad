"""An adapter as llama.cpp loads it: one GGUF file with A, B and alpha of every layer.

Called by `work/export.py`. What llama.cpp computes is y + alpha / r · B A x with one alpha for the file, so other
scales (rank-stabilised, per layer) are folded into B, exactly. Writes float32; converts no base.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tsugiki.engine.attach import Trainable, tied_layers
from tsugiki.engine.base import Base, load_config
from tsugiki.engine.gguf_names import GgufNaming, naming_of, rows_are_rearranged
from tsugiki.engine.packaged import PACKAGED, packaged_source
from tsugiki.engine.plan import Plan
from tsugiki.errors import AdapterError, BaseModelError

FILE = "adapter.gguf"


def write_gguf(trainable: Trainable, path: Path, *, name: str, base_file: Path | None) -> dict[str, Any]:
    """Write the adapter on `trainable` to `path`; `base_file` is the base's GGUF, where there is one.

    Returns what the record of the export says of it. Raises AdapterError for what the format cannot hold.
    """
    from gguf import GGUFWriter

    if reason := gguf_obstacle(trainable.plan, tied_layers(trainable)):
        raise AdapterError(f"A GGUF adapter cannot hold it: {reason}.", fix="Merge it: --to merged.")
    naming = naming_for(trainable.base, base_file)
    layers = trainable.low_rank_layers()
    first = next(iter(trainable.plan.low_rank.values()))
    alpha = first.scale * first.rank or 1.0  # a scale of 0 cannot be said with an alpha of 0, which means "no scaling"
    writer = GGUFWriter(path, naming.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_string("general.name", name)
    writer.add_string("general.base_model.0.name", trainable.base.identity.name)
    names = {}
    for module, layer in layers.items():
        tensor = names[module] = _tensor(naming, module)
        own = trainable.plan.low_rank[module]
        factor_A, factor_B = (_values(trainable, module, part) for part in ("lora_A", "lora_B"))
        factor_B = naming.in_order(tensor, factor_B * (own.scale * own.rank / alpha))
        assert factor_A.shape[0] == factor_B.shape[1] == layer.part.rank
        writer.add_tensor(f"{tensor}.lora_a", factor_A.contiguous().numpy())
        writer.add_tensor(f"{tensor}.lora_b", factor_B.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {
        "architecture": naming.architecture,
        "alpha": alpha,
        "tensors": 2 * len(names),
        "rearranged_query_and_key": naming.rearranged,
        "order_read_from": None if base_file is None else base_file.name,
    }


def gguf_obstacle(plan: Plan, tied: frozenset[str]) -> str | None:
    """Why a GGUF adapter cannot hold the plan, `tied` being its layers that are tied; None where it can."""
    if plan.bottlenecks:
        return "it has bottleneck parts, and the format has none"
    if plan.full:
        return f"{plan.full[0]} is trained in full, and the format holds low-rank parts only"
    if not plan.low_rank:
        return "it has no low-rank part"
    if any(part.dora for part in plan.low_rank.values()):
        return "it is DoRA, and the format has no magnitudes"
    if tied:
        return f"it adapts {min(tied)}, which on this base is the embedding as well and would be changed twice"
    return None


def naming_for(base: Base, base_file: Path | None) -> GgufNaming:
    """llama.cpp's names, with the order of query and key as the base's own file has it where there is one."""
    naming = naming_of(load_config(base.folder))
    if base_file is None:
        return naming
    query, key = (linear_layer_named(base, f".0.self_attn.{part}_proj") for part in ("q", "k"))
    return replace(naming, rearranged=rows_are_rearranged(base_file, naming, query, key))


def base_gguf(base: Base) -> Path | None:
    """The GGUF file that the base came from; None for a base in safetensors or one that comes in parts."""
    name = base.spec.name
    if name in PACKAGED:
        files = packaged_source(name).files
        return files[0] if len(files) == 1 else None
    path = Path(name).expanduser()
    return path if path.suffix == ".gguf" and path.is_file() else None


def linear_layer_named(base: Base, ending: str) -> Tensor:
    found = next((name for name in base.parameters if name.endswith(f"{ending}.weight")), None)
    if found is None:
        raise BaseModelError(f"The base {base.identity.name} has no layer …{ending}.", fix="Leave --base-file out.")
    return base.parameters[found]


def _tensor(naming: GgufNaming, module: str) -> str:
    found = naming.tensor(module)
    if found is None:
        raise AdapterError(
            f"llama.cpp's {naming.architecture} has no tensor for {module}.", fix="Merge it: --to merged."
        )
    return found


def _values(trainable: Trainable, module: str, part: str) -> Tensor:
    return trainable.trained[f"{module}.{part}"].detach().float().cpu()

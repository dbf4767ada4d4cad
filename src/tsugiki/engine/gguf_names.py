"""How llama.cpp names and orders what transformers names otherwise: tensor names, and the rows of query and key.

Called by the GGUF export and by the compatibility check. Its converters rearrange query and key rows of Llama-type
bases, so that their rotary embedding finds its pairs side by side; whether a given file has them so is read from the
file itself (`rows_are_rearranged`), never assumed. Nothing of llama.cpp is imported or copied; the names come from the
`gguf` library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tsugiki.engine.gguf_header import read_gguf_header
from tsugiki.errors import AdapterError, BaseModelError

# transformers' class → llama.cpp's architecture, and whether its converter rearranges query and key.
ARCHITECTURES = {
    "LlamaForCausalLM": ("llama", True),
    "MistralForCausalLM": ("llama", True),
    "Qwen2ForCausalLM": ("qwen2", False),
    "Qwen3ForCausalLM": ("qwen3", False),
    "GemmaForCausalLM": ("gemma", False),
    "Gemma2ForCausalLM": ("gemma2", False),
    "Gemma3ForCausalLM": ("gemma3", False),
}
CLOSE = 0.25  # relative distance of 4-bit weights to the originals is below 0.1, of rearranged ones about 1.4


@dataclass(frozen=True)
class GgufNaming:
    """Names and orders of one base: llama.cpp's architecture, heads, and whether query and key are rearranged."""

    architecture: str
    blocks: int
    heads: int
    key_heads: int
    rearranged: bool

    def tensor(self, module: str) -> str | None:
        """'model.layers.0.self_attn.q_proj' → 'blk.0.attn_q.weight'; None for what llama.cpp does not have."""
        from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
        from gguf.tensor_mapping import get_tensor_name_map

        kind = next(kind for kind in MODEL_ARCH if MODEL_ARCH_NAMES[kind] == self.architecture)
        found = get_tensor_name_map(kind, self.blocks).get_name(f"{module}.weight", try_suffixes=(".weight",))
        return None if found is None else str(found)

    def in_order(self, tensor: str, rows: Tensor) -> Tensor:
        """The rows of a weight, or of its B, in llama.cpp's order."""
        if not self.rearranged or not tensor.endswith(("attn_q.weight", "attn_k.weight")):
            return rows
        return rearranged(rows, self.heads if tensor.endswith("attn_q.weight") else self.key_heads)


def rearranged(rows: Tensor, heads: int) -> Tensor:
    """The two halves of each head's rows, taken in turn: 0, n/2, 1, n/2 + 1, …"""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def naming_of(config: Any) -> GgufNaming:
    """What llama.cpp's converter makes of a base of this configuration; AdapterError where that is not known."""
    text, name = config.get_text_config(), (config.architectures or [""])[0]
    if name not in ARCHITECTURES:
        raise AdapterError(
            f"How llama.cpp names the layers of {name or 'this base'} is not known here.",
            fix=f"Known are {', '.join(ARCHITECTURES)}; merge the adapter and convert the whole model instead.",
        )
    architecture, moved = ARCHITECTURES[name]
    heads = text.num_attention_heads
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    return GgufNaming(architecture, text.num_hidden_layers, heads, key_heads, moved)


def gguf_module_paths(config: Any) -> frozenset[str] | None:
    """The linear layers, by transformers' names, that llama.cpp has a tensor for; None for an unknown architecture."""
    from tsugiki.engine.structure import structure_of

    try:
        naming = naming_of(config)
    except AdapterError:
        return None
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return frozenset(name for name in structure_of(model).linears if naming.tensor(name) is not None)


def rows_are_rearranged(file: Path, naming: GgufNaming, first_query: Tensor, first_key: Tensor) -> bool:
    """Whether this GGUF file of the base holds query and key rearranged; `first_*` are the base's own, of block 0.

    Raises BaseModelError where the file's weights are neither (it is another model), and for a file that is no GGUF.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    read_gguf_header(file)
    stored = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    answers = set()
    for name, weight, heads in (
        ("blk.0.attn_q.weight", first_query, naming.heads),
        ("blk.0.attn_k.weight", first_key, naming.key_heads),
    ):
        if name not in stored:
            raise _another_model(file, f"it has no {name}")
        values = torch.from_numpy(dequantize(stored[name].data, stored[name].tensor_type).copy()).float()
        own = weight.detach().float().cpu()
        if values.shape != own.shape:
            raise _another_model(file, f"{name} has shape {tuple(values.shape)}, the base's has {tuple(own.shape)}")
        plain, moved = (float((values - one).norm() / one.norm()) for one in (own, rearranged(own, heads)))
        if min(plain, moved) > CLOSE:
            raise _another_model(file, f"{name} differs from the base's by {min(plain, moved):.0%}")
        answers.add(moved < plain)
    if len(answers) != 1:
        raise _another_model(file, "query and key are in different orders")
    return answers.pop()


def _another_model(file: Path, why: str) -> BaseModelError:
    return BaseModelError(
        f"'{file.name}' is not a GGUF of the adapter's base: {why}.", fix="Name the GGUF of the base it was trained on."
    )

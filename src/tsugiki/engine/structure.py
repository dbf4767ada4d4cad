"""What a decoder is made of: its blocks, their linear layers, its embedding and head. Read only; nothing is changed.

Called by `plan`, `attach`, `loss` and `gradients`, so that the shape of a transformers model is known in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.errors import BaseModelError

ATTENTION_NAMES = ("self_attn", "attention", "attn")
MLP_NAMES = ("mlp", "feed_forward")


@dataclass(frozen=True)
class Block:
    """One decoder layer. All names are paths inside the whole model."""

    index: int
    name: str
    linears: tuple[str, ...]
    attention: str
    mlp: str


@dataclass(frozen=True)
class Structure:
    blocks: tuple[Block, ...]
    head: str
    hidden_size: int

    @property
    def linears(self) -> tuple[str, ...]:
        return tuple(name for block in self.blocks for name in block.linears)


def structure_of(model: nn.Module) -> Structure:
    """The blocks are the one list of modules that each hold an attention and an MLP.

    Raises BaseModelError when there is no such list or when its blocks hold no `torch.nn.Linear`.
    """
    architecture = type(model).__name__
    name, layers = _layer_list(model, architecture)
    blocks = tuple(_block(index, f"{name}.{index}", layer) for index, layer in enumerate(layers))
    if not any(block.linears for block in blocks):
        raise BaseModelError(
            f"{architecture} keeps its weights in layers other than torch.nn.Linear.",
            fix="Use a base with linear layers, such as Llama, Qwen, Mistral or Gemma.",
        )
    return Structure(blocks=blocks, head=_head_name(model, architecture), hidden_size=text_config(model).hidden_size)


def text_config(model: nn.Module) -> Any:
    """The configuration of the language part (the same object for a text-only model)."""
    return model.config.get_text_config()  # type: ignore[union-attr,operator]


def decoder_of(model: Any) -> nn.Module:
    """The model without its head: token ids in, last hidden states out."""
    decoder: nn.Module = model.get_decoder()
    return decoder


def is_plain_linear(module: nn.Module) -> bool:
    """W x + b and nothing else: no router that returns more, no layer that does something of its own besides."""
    if not isinstance(module, nn.Linear):
        return False
    if type(module).forward is nn.Linear.forward or hasattr(module, "packed"):
        return True
    weight = module.weight
    x = torch.linspace(-1, 1, 2 * module.in_features, device=weight.device).view(2, -1).to(weight.dtype)
    with torch.no_grad():
        found, expected = module(x), functional.linear(x, weight, module.bias)
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    return found.is_meta or torch.allclose(found, expected)


def _layer_list(model: nn.Module, architecture: str) -> tuple[str, nn.ModuleList]:
    """Of the decoder: a model that sees or hears has lists of blocks of other towers besides."""
    decoder = decoder_of(model) if hasattr(model, "get_decoder") else model
    prefix = next((name for name, module in model.named_modules() if module is decoder), "")
    for name, module in decoder.named_modules(prefix=prefix):
        if isinstance(module, nn.ModuleList) and len(module) > 0 and _is_block(module[0]):
            return name, module
    raise BaseModelError(
        f"{architecture} has no list of decoder blocks with an attention and an MLP.",
        fix="Use a decoder-only language model, such as Llama, Qwen, Mistral or Gemma.",
    )


def _is_block(module: nn.Module) -> bool:
    children = {name for name, _ in module.named_children()}
    return not children.isdisjoint(ATTENTION_NAMES) and not children.isdisjoint(MLP_NAMES)


def _block(index: int, name: str, layer: nn.Module) -> Block:
    children = [child for child, _ in layer.named_children()]
    attention = next(child for child in children if child in ATTENTION_NAMES)
    mlp = next(child for child in children if child in MLP_NAMES)
    linears = tuple(f"{name}.{path}" for path, module in layer.named_modules() if is_plain_linear(module))
    return Block(index=index, name=name, linears=linears, attention=f"{name}.{attention}", mlp=f"{name}.{mlp}")


def _head_name(model: Any, architecture: str) -> str:
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is head and head is not None:
            return name
    raise BaseModelError(
        f"{architecture} has no language-model head.", fix="Use a causal language model (…ForCausalLM)."
    )

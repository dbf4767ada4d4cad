"""A base: found, loaded, frozen and identified. The only code that loads base weights.

Called by `work` for every trial and by the rest of the engine for its types. Never trains, never writes into a base:
what stands in `Base.parameters` is the same, bit for bit, from load to the end (`live_weights_digest` proves it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tsugiki.config import Held
from tsugiki.engine.device import free_memory_bytes, pick_device, pick_dtype, release_memory
from tsugiki.engine.locate import display_name, find_base
from tsugiki.engine.quantize import packed_bytes, quantize_blocks, require
from tsugiki.engine.quiet import quiet
from tsugiki.engine.stored import (
    config_digest,
    stored_tensors,
    template_digest,
    tokenizer_digest,
    weights_digest,
)
from tsugiki.engine.unpack import check_unpacked
from tsugiki.errors import BaseModelError, DoesNotFit
from tsugiki.fingerprint import digest_json


@dataclass(frozen=True)
class BaseSpec:
    """What the user asked for: a hub id, a folder, a .gguf file or a packaged alias, and how to hold it."""

    name: str
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    quantize: Held = "none"


@dataclass(frozen=True)
class BaseIdentity:
    """What makes two bases the same one, taken from the files as stored; `digest` covers the four digests after it.

    Two copies of a base are equal however they are sharded and in whatever precision they are held. `name` is for
    people only.
    """

    name: str
    digest: str
    weights_digest: str
    config_digest: str
    tokenizer_digest: str
    template_digest: str | None
    architecture: str
    parameters: int


@dataclass(frozen=True)
class Base:
    """A frozen base. `parameters` are the original objects by name, wherever `attach` has moved them since."""

    spec: BaseSpec
    folder: Path
    model: Any
    tokenizer: Any
    identity: BaseIdentity
    dtype: torch.dtype
    device: torch.device
    parameters: Mapping[str, nn.Parameter]


def locate_base(spec: BaseSpec) -> Path:
    """The base as a local folder; unpacks a GGUF and fetches a hub id the first time."""
    return find_base(spec.name)


def load_tokenizer(spec: BaseSpec) -> Any:
    """The tokenizer alone, without weights."""
    return _tokenizer(locate_base(spec))


def load_base(spec: BaseSpec) -> Base:
    """Load, freeze and identify a base; refuses one that cannot be adapted or will not fit before loading it."""
    require(spec.quantize)
    folder = locate_base(spec)
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.precision, device)
    config = load_config(folder)
    _refuse_too_big(folder, config, spec.quantize, dtype, device)
    tokenizer = _tokenizer(folder)
    weights = weights_digest(stored_tensors(folder))
    check_unpacked(folder, weights)
    model = _frozen_model(folder, config, dtype)
    identity = _identity(spec.name, folder, tokenizer, model, weights)
    if spec.quantize != "none":
        quantize_blocks(model, spec.quantize, device)
        release_memory()  # the unpacked weights
    model.to(device)
    parameters = dict(model.named_parameters())
    return Base(spec, folder, model, tokenizer, identity, dtype, device, parameters)


def load_config(folder: Path) -> Any:
    """The configuration of a base that this engine can adapt: a decoder whose class transformers itself knows."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise BaseModelError(
            f"The base in '{folder}' is of an architecture that transformers does not know by itself.",
            fix="Use a base without code of its own (such code is never run), or a newer transformers.",
        ) from error
    saved_as = (config.architectures or [DECODERS.get(config.model_type, "")])[0]
    if config.is_encoder_decoder or saved_as not in DECODERS.values():
        raise BaseModelError(
            f"The base in '{folder}' is a {saved_as or config.model_type}, which does not continue text.",
            fix="Use a decoder-only language model, such as Llama, Qwen, Gemma or Mistral.",
        )
    if getattr(config, "quantization_config", None) is not None:
        raise BaseModelError(
            f"The base in '{folder}' is stored quantised.", fix="Use its unquantised safetensors, or a GGUF file of it."
        )
    return config


def live_weights_digest(base: Base) -> str:
    """Digest of the base's parameters as they are in memory now, tied ones once. Compare it within one load only."""
    total = hashlib.sha256()
    for name in sorted(base.parameters):
        tensor: Tensor = base.parameters[name].detach()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return "sha256:" + total.hexdigest()


def render(
    tokenizer: Any, prompt: str, messages: Sequence[tuple[str, str]] | None, template: Literal["plain", "chat"]
) -> str:
    """The text the model sees before the completion.

    A template that writes the beginning-of-text token itself loses it here where the tokenizer adds one anyway.
    """
    if template == "plain":
        return prompt
    if tokenizer.chat_template is None:
        raise BaseModelError("The base has no chat template.", fix="Use the plain template.")
    turns = messages if messages is not None else (("user", prompt),)
    text: str = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns], tokenize=False, add_generation_prompt=True
    )
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return text.removeprefix(tokenizer.bos_token) if adds_bos else text


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a broken tokenizer.json
        raise BaseModelError(
            f"The tokenizer in '{folder}' cannot be read: {error}.", fix="Fetch the base again."
        ) from error
    if tokenizer.eos_token_id is None:
        raise BaseModelError(
            f"The tokenizer in '{folder}' names no end-of-text token, so the model could not learn to stop.",
            fix='Set "eos_token" in its tokenizer_config.json.',
        )
    return tokenizer


def _refuse_too_big(folder: Path, config: Any, quantize: Held, dtype: torch.dtype, device: torch.device) -> None:
    """A base in few bits is whole in memory before it is packed, but never on a GPU."""
    tensors = stored_tensors(folder).values()
    largest = max((tensor.end - tensor.start for tensor in tensors), default=0)
    vocabulary = config.get_text_config().vocab_size

    def held(shape: Sequence[int]) -> int:
        if device.type == "cpu" or quantize == "none" or len(shape) != 2 or vocabulary in shape:
            return prod(shape) * dtype.itemsize
        return packed_bytes(prod(shape), shape[0], quantize)

    needed, free = sum(held(tensor.shape) for tensor in tensors) + largest, free_memory_bytes(device)
    if needed > free:
        smaller = " --precision bfloat16 halves it." if dtype == torch.float32 else ""
        raise DoesNotFit(
            f"The base in '{folder}' needs about {needed / 1e9:.1f} GB on this {device.type}, "
            f"and {free / 1e9:.1f} GB are free.",
            fix=f"Free memory or use a smaller base.{smaller}",
        )


def _frozen_model(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    from tsugiki.engine.attention import register

    try:
        with quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (ValueError, RuntimeError, OSError) as error:
        raise BaseModelError(
            f"The base in '{folder}' cannot be loaded: {error}.", fix="Fetch the base again."
        ) from error
    if absent := sorted(report["missing_keys"]):
        # transformers would fill these with random numbers and go on
        raise BaseModelError(
            f"The base in '{folder}' lacks {len(absent)} tensors of its architecture, such as {absent[0]}.",
            fix="Fetch the base again.",
        )
    if model.config._attn_implementation == "sdpa":  # what an architecture does not support is never forced on it
        model.set_attn_implementation(register())
    _refuse_unknown_layers(folder, model)
    model.eval()
    model.requires_grad_(False)
    model.config.use_cache = False
    return model


def _refuse_unknown_layers(folder: Path, model: Any) -> None:
    head = model.get_output_embeddings()
    if not any(isinstance(module, nn.Linear) and module is not head for module in model.modules()):
        raise BaseModelError(
            f"The base in '{folder}' ({type(model).__name__}) has no linear layers of a kind that can be adapted.",
            fix="Use a base built from torch.nn.Linear, such as Llama, Qwen, Gemma or Mistral.",
        )


def _identity(name: str, folder: Path, tokenizer: Any, model: Any, weights: str) -> BaseIdentity:
    parts = {
        "weights": weights,
        "config": config_digest(folder),
        "tokenizer": tokenizer_digest(folder),
        "template": template_digest(tokenizer.chat_template),
    }
    return BaseIdentity(
        name=display_name(name),
        digest=digest_json(parts),
        weights_digest=weights,
        config_digest=str(parts["config"]),
        tokenizer_digest=str(parts["tokenizer"]),
        template_digest=parts["template"],
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )

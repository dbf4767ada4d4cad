"""Small sound adapter folders for tests, written by the real safetensors library: PEFT's format and our own.

`write_peft` gives what PEFT writes, `write_own` what `engine.adapter_files.save_adapter` writes for a low-rank plan,
and `write_bottleneck` for a plan that PEFT cannot hold. Each takes changes to the files, so that a test can break one
thing.
"""

from __future__ import annotations

import ctypes
import json
import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors

LAYERS = tuple(
    f"model.layers.{block}.{layer}" for block in (0, 1) for layer in ("self_attn.q_proj", "self_attn.v_proj")
)
WIDTH, RANK, ALPHA = 8, 4, 8.0
SPEC_TYPES = {"F32": ("float32", "f"), "F16": ("float16", "e"), "BF16": ("bfloat16", ""), "F64": ("float64", "d")}
DIGEST = "sha256:" + "{:064x}"
Tensors = Mapping[str, Sequence[int]]  # shape by name


def packed(values: Sequence[float], dtype: str) -> bytes:
    """Little-endian numbers; bfloat16 is the upper half of float32."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{SPEC_TYPES[dtype][1]}", *values)


def write_tensors(path: Path, tensors: Tensors, *, dtype: str = "F32", seed: int = 0) -> None:
    """A safetensors file with small random numbers."""
    numbers, specs, buffers = random.Random(seed), {}, []
    for name, shape in tensors.items():
        count = 1
        for size in shape:
            count *= size
        data = packed([numbers.uniform(-0.1, 0.1) for _ in range(count)], dtype)
        buffer = ctypes.create_string_buffer(data, len(data))
        buffers.append(buffer)  # the library reads from the pointer
        specs[name] = safetensors.TensorSpec(
            dtype=SPEC_TYPES[dtype][0], shape=list(shape), data_ptr=ctypes.addressof(buffer), data_len=len(data)
        )
    safetensors.serialize_file(specs, str(path), {"format": "pt"})


def peft_tensors(layers: Sequence[str] = LAYERS, rank: int = RANK, width: int = WIDTH) -> dict[str, tuple[int, int]]:
    halves = {"lora_A": (rank, width), "lora_B": (width, rank)}
    return {f"base_model.model.{layer}.{half}.weight": shape for layer in layers for half, shape in halves.items()}


def peft_config(**changes: Any) -> dict[str, Any]:
    """As PEFT writes it for two kinds of layers; a change to `...` leaves the key out."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "auto_mapping": None,
        "peft_version": "0.21.2",
        "base_model_name_or_path": "example/tiny",
        "revision": None,
        "inference_mode": True,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "v_proj"],
        "exclude_modules": None,
        "fan_in_fan_out": False,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "layers_to_transform": None,
        "layers_pattern": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "trainable_token_indices": None,
        "loftq_config": {},
        "eva_config": None,
        "corda_config": None,
        "lora_ga_config": None,
        "alora_invocation_tokens": None,
        "use_qalora": False,
        "qalora_group_size": 16,
        "layer_replication": None,
        "lora_bias": False,
        "target_parameters": None,
        "ensure_weight_tying": False,
        **changes,
    }
    return {key: value for key, value in config.items() if value is not ...}


def own_manifest(**changes: Any) -> dict[str, Any]:
    """As `save_adapter` writes it for a low-rank plan on all layers; a change to `...` leaves the key out."""
    part = {"rank": RANK, "scale": ALPHA / RANK, "dropout": 0.0, "dora": False}
    manifest = {
        "format": 1,
        "tsugiki": "0.1.0",
        "base": {
            "name": "tiny",
            "digest": DIGEST.format(1),
            "weights_digest": DIGEST.format(2),
            "config_digest": DIGEST.format(3),
            "tokenizer_digest": DIGEST.format(4),
            "template_digest": None,
            "architecture": "LlamaForCausalLM",
            "parameters": 100_672,
        },
        "plan": {"method": "lora", "low_rank": dict.fromkeys(LAYERS, part), "full": [], "bottlenecks": {}},
        "dtype": "torch.float32",
        "quantize": "none",
        "recipe": {"learning_rate": 0.001, "max_steps": 30, "seed": 7, "precision": "float32"},
        "template": "plain",
        "data_digest": DIGEST.format(5),
        "train_rows": [1, 2, 5],
        "seen": [],
        "answer": {"longest": 12},
        **changes,
    }
    return {key: value for key, value in manifest.items() if value is not ...}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def write_peft(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    tensors: Tensors | None = None,
    dtype: str = "F32",
    seed: int = 0,
) -> Path:
    """A folder as PEFT writes it. `config` changes keys, `tensors` replaces all shapes; another seed, other numbers."""
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", peft_config(**(config or {})))
    write_tensors(folder / "adapter_model.safetensors", tensors or peft_tensors(), dtype=dtype, seed=seed)
    return folder


def write_own(folder: Path, *, manifest: Mapping[str, Any] | None = None, dtype: str = "F32", seed: int = 0) -> Path:
    """A folder as `tsugiki train` writes it for a low-rank plan. `manifest` changes keys of tsugiki.json."""
    write_peft(
        folder, config={"target_modules": list(LAYERS), "base_model_name_or_path": "tiny"}, dtype=dtype, seed=seed
    )
    write_json(folder / "tsugiki.json", own_manifest(**(manifest or {})))
    return folder


def write_bottleneck(folder: Path, *, seed: int = 0) -> Path:
    """A folder that only tsugiki can read: bottlenecks."""
    folder.mkdir(parents=True)
    names = ("model.layers.0.mlp", "model.layers.1.mlp")
    part = {"place": "serial", "width": 3, "dropout": 0.05}
    plan = {"method": "adapter", "low_rank": {}, "full": [], "bottlenecks": dict.fromkeys(names, part)}
    shapes = {"down": (3, WIDTH), "down_bias": (3,), "up": (WIDTH, 3), "up_bias": (WIDTH,)}
    tensors = {f"{name}.{leaf}": shape for name in names for leaf, shape in shapes.items()}
    write_tensors(folder / "adapter_model.safetensors", tensors, seed=seed)
    write_json(folder / "tsugiki.json", own_manifest(plan=plan))
    return folder

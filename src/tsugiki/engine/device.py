"""Where a base is held and in which number format: choices from what this machine really has.

Called by `base`. Never moves anything itself.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from tsugiki.errors import BaseModelError
from tsugiki.fingerprint import available_memory_bytes

# Processor flags under which a bfloat16 product is one instruction; elsewhere it is emulated and slower than float32.
NATIVE_BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16")


def pick_device(name: str) -> torch.device:
    """'auto' takes the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise BaseModelError(f"'{name}' is not a device tsugiki runs on.", fix="Use auto, cpu or cuda.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BaseModelError(
            f"The device '{name}' was asked for, but torch sees {torch.cuda.device_count()} GPUs here.",
            fix="Install a torch build for your GPU, or take the CPU.",
        )
    return device


def pick_dtype(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """'auto' takes bfloat16 only where the hardware multiplies it natively; whoever asks for it gets it everywhere.

    Emulated bfloat16 is slower than float32 and halves the memory, which may be what it is asked for.
    """
    if precision == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return torch.float32 if precision == "float32" else torch.bfloat16


def multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not _cpu_flags().isdisjoint(NATIVE_BFLOAT16)


def accelerator_name() -> str | None:
    """What a machine's fingerprint says of the GPU; None without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def tokens_per_pass(micro_tokens: int, device: torch.device, dtype: torch.dtype) -> int:
    """What 0 stands for: as few tokens as keep the device busy, since activations are what grows with them.

    A pass costs a fixed part besides: on two AVX2 cores about as much as 120 tokens of SmolLM2-135M, for unpacking the
    weights from memory and for calling thousands of small operations. At 320 a batch of eight short rows is one pass:
    a seventh faster than at 192 and in 6 % more memory, which is then more than 0.6 of what TRL + PEFT takes. Where
    bfloat16 is native, products are quick and the fixed part weighs more; twice the tokens take about the same bytes.
    """
    return micro_tokens or (8192 if device.type == "cuda" else 192 * 4 // dtype.itemsize)


def draws_numbers(device: torch.device, run: Callable[[], object]) -> bool:
    """Whether `run` draws from the device's own random numbers (as a base with dropout does in training).

    The numbers are afterwards where they were.
    """
    indices = [device.index or 0] if device.type == "cuda" else []
    generator = torch.cuda.default_generators[indices[0]] if indices else torch.default_generator
    with torch.random.fork_rng(devices=indices):
        before = generator.get_state()
        run()
        return not torch.equal(before, generator.get_state())


def release_memory() -> None:
    """Give back to the GPU and to the system what nothing holds any more, so that `free_memory_bytes` counts it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # glibc keeps what was freed between two pieces that are in use
        ctypes.CDLL(None).malloc_trim(0)


def free_memory_bytes(device: torch.device) -> int:
    """What can still be asked for; on a GPU with what torch holds there without using it."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return available_memory_bytes()


def _cpu_flags() -> set[str]:
    """Flags of the first processor: 'flags' on x86, 'Features' on Arm."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()

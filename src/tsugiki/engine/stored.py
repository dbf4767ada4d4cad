"""A base as it lies on disk: which tensors a folder stores, whether the folder is complete, and its digests.

Called by `locate` and `base` before any weight is loaded. Reads headers and bytes only, needs no torch, runs no code
that came with a model, and never writes.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from tsugiki.errors import BaseModelError
from tsugiki.fingerprint import digest_bytes, digest_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
# Any one of these is a whole vocabulary; the other files only add to it.
VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
# Keys that change with the library that saved the file, not with what the model computes.
VOLATILE_CONFIG = frozenset(
    {"transformers_version", "_name_or_path", "_model_name_or_path", "torch_dtype", "dtype", "use_cache"}
)
VOLATILE_TOKENIZER = frozenset({"chat_template", "name_or_path", "is_local", "local_files_only"})
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: `start` and `end` are byte positions in `path`."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a base folder by name; refuses a folder that is not a complete base in safetensors."""
    if not (folder / "config.json").is_file():
        raise BaseModelError(
            f"The folder '{folder}' has no config.json, so it is not a base.",
            fix="Name the folder that holds config.json, the .safetensors files and the tokenizer.",
        )
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        found |= _read_header(path)
    return found


def weight_files(folder: Path) -> list[Path]:
    """The .safetensors files transformers will load: one file, or the shards that the index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        absent = [name for name in names if not (folder / name).is_file()]
        if absent or not names:
            raise BaseModelError(
                f"The base in '{folder}' is incomplete: {absent[0] if absent else 'every shard'} is missing.",
                fix="Fetch the base again.",
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    raise _no_weights(folder)


def weights_digest(tensors: Mapping[str, StoredTensor]) -> str:
    """Digest over name, type, shape and bytes of each stored tensor, in name order: sharding makes no difference."""
    total = hashlib.sha256()
    maps: dict[Path, mmap.mmap] = {}
    try:
        for path in {tensor.path for tensor in tensors.values()}:
            with path.open("rb") as file:
                maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for name in sorted(tensors):
            tensor = tensors[name]
            total.update(f"{name} {tensor.kind} {tensor.shape}\n".encode())
            with memoryview(maps[tensor.path]) as view:
                total.update(view[tensor.start : tensor.end])
    finally:
        for mapped in maps.values():
            mapped.close()
    return "sha256:" + total.hexdigest()


def config_digest(folder: Path) -> str:
    """Digest over what the configuration says about the computation (rotary base, windows, sizes)."""
    config = read_json(folder / "config.json")
    return _digest_values({key: value for key, value in config.items() if key not in VOLATILE_CONFIG})


def tokenizer_digest(folder: Path) -> str:
    """Digest over the tokenizer's files; the chat template has a digest of its own."""
    parts: dict[str, str] = {}
    for name in TOKENIZER_FILES:
        path = folder / name
        if name == "tokenizer_config.json" and path.is_file():
            settings = {key: value for key, value in read_json(path).items() if key not in VOLATILE_TOKENIZER}
            parts[name] = _digest_values(settings)
        elif path.is_file():
            parts[name] = digest_file(path)
    return _digest_values(parts)


def template_digest(template: str | Mapping[str, str] | None) -> str | None:
    return None if template is None else _digest_values(template)


def check_tokenizer_files(folder: Path) -> None:
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise BaseModelError(
            f"The base in '{folder}' has no tokenizer.",
            fix="Put its tokenizer.json (and tokenizer_config.json) into the folder.",
        )


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"'{path}' cannot be read as JSON: {error}.", fix="Fetch the base again.") from None
    if not isinstance(value, dict):
        raise BaseModelError(f"'{path}' holds no JSON object.", fix="Fetch the base again.")
    return value


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensor table of one file: 8 bytes with the table's length, the table as JSON, then the bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, LARGEST_HEADER):
            raise _corrupted(path, "its header is cut off or not a safetensors header")
        try:
            table = json.loads(file.read(length))
            entries = {name: entry for name, entry in table.items() if name != "__metadata__"}
            found = {name: _entry(path, entry, 8 + length) for name, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _corrupted(path, "its table of tensors is not readable") from None
    expected = max((tensor.end for tensor in found.values()), default=8 + length)
    if size != expected:
        raise _corrupted(path, f"it has {size:,} bytes where its table says {expected:,}")
    return found


def _entry(path: Path, entry: Mapping[str, Any], offset: int) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(side) for side in entry["shape"])
    if entry["dtype"] in ITEM_BYTES and end - start != prod(shape) * ITEM_BYTES[entry["dtype"]]:
        raise ValueError("a tensor's bytes do not match its shape")
    return StoredTensor(path, str(entry["dtype"]), shape, offset + int(start), offset + int(end))


def _corrupted(path: Path, reason: str) -> BaseModelError:
    return BaseModelError(f"The weights file '{path}' is corrupted: {reason}.", fix="Fetch the base again.")


def _no_weights(folder: Path) -> BaseModelError:
    pickles: Sequence[Path] = [*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    if pickles:
        return BaseModelError(
            f"The base in '{folder}' has its weights only as {pickles[0].name}, a pickle that can run code on loading.",
            fix="Convert it to safetensors first, or name a base that is stored as safetensors.",
        )
    if (folder / "adapter_config.json").is_file():
        return BaseModelError(f"The folder '{folder}' is an adapter, not a base.", fix="Name the base it belongs to.")
    return BaseModelError(
        f"The folder '{folder}' has no model.safetensors.", fix="Name a base that is stored as safetensors."
    )


def _digest_values(value: Any) -> str:
    # Not RFC 8785: tokenizer settings hold integers beyond 2^53, which it refuses.
    return digest_bytes(json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode())

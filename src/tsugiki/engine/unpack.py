"""GGUF to a base folder in the cache, once: float32 safetensors, config, tokenizer, and a manifest of digests.

Called by `locate`. A folder appears under its final name complete or not at all, so any number of processes may
unpack the same file at the same time; the first to finish wins and the others use its folder. Nothing in the cache is
ever changed afterwards, and `check_unpacked` refuses a folder in which a single bit was.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from tsugiki.engine.gguf_header import GgufHeader, read_gguf_header
from tsugiki.engine.packaged import GgufSource
from tsugiki.engine.quiet import quiet
from tsugiki.engine.stored import read_json, stored_tensors, weights_digest
from tsugiki.errors import BaseModelError
from tsugiki.files import sync_folder, write_json
from tsugiki.fingerprint import available_memory_bytes, digest_file

MANIFEST = "unpacked.json"
FORMAT = 1  # part of the folder's name: a change in how we unpack never meets an old folder
WORKING = ".unpacking-"
ABANDONED_SECONDS = 24 * 3600
BLOCK = 1 << 22
BYTES_PER_PARAMETER = 9  # two float32 copies at the peak, and some; 8.2 measured with Gemma 3 270M

log = logging.getLogger(__name__)


def unpacked(source: GgufSource, cache: Path) -> Path:
    """The folder for this GGUF file, unpacked now if it is not there yet."""
    digest = _source_digest(source.files, tuple(_stamp(file) for file in source.files))
    if source.sha256 is not None and digest != source.sha256:
        raise BaseModelError(
            f"The weights file {source.name} is not the one its package was made with (sha256 {digest[:12]}…, "
            f"expected {source.sha256[:12]}…).",
            fix="Install the package again.",
        )
    folder = cache / "bases" / f"{digest[:32]}-v{FORMAT}"
    if folder.is_dir():
        _check_small_files(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    working = Path(tempfile.mkdtemp(prefix=WORKING, dir=folder.parent))
    try:
        _unpack(source, digest, working)
        _publish(working, folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return folder


def check_unpacked(folder: Path, weights: str) -> None:
    """Compare the weights just digested with those that were unpacked; nothing to compare in a folder of the user's."""
    if (folder / MANIFEST).is_file() and read_json(folder / MANIFEST).get("weights_digest") != weights:
        raise _changed(folder, "its weights")


def _stamp(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=16)
def _source_digest(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> str:  # noqa: ARG001
    """sha256 of the files one after the other; read once per process as long as size and time stay the same."""
    total = hashlib.sha256()
    for file in files:
        _each_block(file, total.update)
    return total.hexdigest()


def _each_block(file: Path, use: Callable[[bytes], Any]) -> None:
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            use(block)


def _unpack(source: GgufSource, digest: str, working: Path) -> None:
    path, joined = source.files[0], working / "joined.gguf"
    if len(source.files) > 1:
        with joined.open("wb") as output:
            for file in source.files:
                _each_block(file, output.write)
        path = joined
    header = read_gguf_header(path)
    _refuse_too_big(source.name, header)
    log.info("Unpacking %s (%.0f million parameters), once.", source.name, header.parameters / 1e6)
    with quiet(), redirect_stderr(StringIO()):  # the GGUF reader draws a progress bar whatever it is told
        _save_as_folder(path, header, working)
    joined.unlink(missing_ok=True)
    small = sorted(file.name for file in working.iterdir() if file.suffix != ".safetensors")
    write_json(
        working / MANIFEST,
        {
            "format": FORMAT,
            "source": {"name": source.name, "sha256": digest},
            "weights_digest": weights_digest(stored_tensors(working)),
            "files": {name: digest_file(working / name) for name in small},
        },
    )


def _refuse_too_big(name: str, header: GgufHeader) -> None:
    needed, free = header.parameters * BYTES_PER_PARAMETER, available_memory_bytes()
    if needed > free:
        raise BaseModelError(
            f"Unpacking {name} takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free.",
            fix="Free memory, or use a smaller base.",
        )


def _save_as_folder(path: Path, header: GgufHeader, working: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **place)
        # dequantize: without it some architectures keep their weights packed, which nothing here can train on
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **place
        )
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise BaseModelError(
            f"The GGUF file '{path.name}' of architecture {header.architecture} cannot be unpacked: {error}.",
            fix="Name a base as safetensors, or a GGUF of an architecture that transformers reads.",
        ) from error
    _agree_on_special_tokens(tokenizer, model, header, path.name)
    # the tokenizer would otherwise carry the path it was read from into its saved settings
    tokenizer.name_or_path = ""
    model.save_pretrained(working)
    tokenizer.save_pretrained(working)


def _agree_on_special_tokens(tokenizer: Any, model: Any, header: GgufHeader, name: str) -> None:
    """The file's own words on beginning and end must be what tokenizer and model end up with."""
    for role in ("bos", "eos"):
        said = header.metadata.get(f"tokenizer.ggml.{role}_token_id")
        got = getattr(tokenizer, f"{role}_token_id")
        if said is not None and got != said:
            raise BaseModelError(
                f"In '{name}' the {role} token has id {said}, but its tokenizer was read with {got}.",
                fix="Name the base as safetensors instead.",
            )
    turn_end = header.metadata.get("tokenizer.ggml.eot_token_id")
    if turn_end is not None and turn_end != tokenizer.eos_token_id:
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, int(turn_end)]


def _publish(working: Path, folder: Path) -> None:
    """Flush every file, then let the whole folder appear at once."""
    for file in working.iterdir():
        file.chmod(0o644)
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    sync_folder(working)
    working.chmod(0o755)
    try:
        working.rename(folder)
    except OSError:
        if not folder.is_dir():  # not a race lost to another process, whose folder is as good as ours
            raise
    sync_folder(folder.parent)


def _check_small_files(folder: Path) -> None:
    for name, digest in read_json(folder / MANIFEST).get("files", {}).items():
        if not (folder / name).is_file() or digest_file(folder / name) != digest:
            raise _changed(folder, name)


def _changed(folder: Path, what: str) -> BaseModelError:
    return BaseModelError(
        f"The unpacked base in '{folder}' is damaged: {what} changed since it was unpacked.",
        fix="Delete that folder; it is unpacked again at the next start.",
    )


def _remove_abandoned(folder: Path) -> None:
    """What a killed process left behind; anything younger may still be at work."""
    for path in folder.glob(f"{WORKING}*"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:  # another process removed it first
            continue

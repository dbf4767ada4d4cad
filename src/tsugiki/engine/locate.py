"""From the name of a base to a local folder with config, safetensors and tokenizer.

Called by `base`. A name is, in this order: a packaged alias, a folder, a .gguf file, a hub id. Nothing is loaded here,
and the hub is asked only for a hub id that is not in its local cache yet.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from tsugiki.engine.packaged import PACKAGED, GgufSource, packaged_source
from tsugiki.engine.stored import check_tokenizer_files, stored_tensors
from tsugiki.engine.unpack import unpacked
from tsugiki.errors import BaseModelError

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "spiece.model", "vocab.txt", "merges.txt"]


def find_base(name: str) -> Path:
    """A folder that holds a complete base; every other outcome is a BaseModelError that says what to do."""
    folder = _folder(name)
    stored_tensors(folder)
    check_tokenizer_files(folder)
    return folder


def display_name(name: str) -> str:
    """What reports call this base: paths are cut down to their last part."""
    return name if name in PACKAGED or not Path(name).expanduser().exists() else Path(name).expanduser().resolve().name


def cache_folder() -> Path:
    """Where unpacked bases are kept: $TSUGIKI_CACHE, or the user's cache folder of this system."""
    if chosen := os.environ.get("TSUGIKI_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tsugiki"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tsugiki"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tsugiki"


def _folder(name: str) -> Path:
    if name in PACKAGED:
        return unpacked(packaged_source(name), cache_folder())
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix != ".gguf":
            raise BaseModelError(
                f"'{name}' is a file, but not a .gguf file.", fix="Name a base folder or a .gguf file."
            )
        return unpacked(GgufSource(path.name, (path.resolve(),)), cache_folder())
    if HUB_ID.fullmatch(name) and path.suffix != ".gguf":
        return _from_hub(name)
    raise _unknown(name)


def _unknown(name: str) -> BaseModelError:
    if "/" in name or "\\" in name or name.endswith(".gguf"):
        return BaseModelError(f"There is no folder or file '{name}'.", fix="Check the path to the base.")
    close = difflib.get_close_matches(name.lower(), PACKAGED, n=2, cutoff=0.5)
    meant = f"Did you mean {' or '.join(close)}?" if close else f"Packaged bases are {', '.join(PACKAGED)}."
    return BaseModelError(
        f"No base is called '{name}'.", fix=f"{meant} A hub id (org/name), a folder or a .gguf file work too."
    )


def _from_hub(name: str) -> Path:
    """The local copy of a hub id, fetched when it is absent or incomplete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetch(*, local_files_only: bool) -> Path:
        # nested folders hold other formats of the same weights
        return Path(
            snapshot_download(
                name, allow_patterns=HUB_FILES, ignore_patterns=["*/*"], local_files_only=local_files_only
            )
        )

    try:
        folder = fetch(local_files_only=True)
        stored_tensors(folder)
    except (LocalEntryNotFoundError, BaseModelError):
        return _download(name, lambda: fetch(local_files_only=False))
    return folder


def _download(name: str, fetch: Callable[[], Path]) -> Path:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        return fetch()
    except GatedRepoError:
        raise BaseModelError(
            f"The base '{name}' is gated on the hub.", fix="Accept its terms there and log in with `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise BaseModelError(
            f"The hub has no base called '{name}' (or it is private).",
            fix="Check the name, or log in with `hf auth login`.",
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise BaseModelError(
            f"The base '{name}' is neither a local folder nor in the local hub cache, and the hub cannot be reached"
            f" ({type(error).__name__}).",
            fix=f"Go online once, or name a local folder, a .gguf file or a packaged base ({', '.join(PACKAGED)}).",
        ) from None

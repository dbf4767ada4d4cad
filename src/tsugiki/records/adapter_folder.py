"""An adapter folder from anywhere, read with suspicion: every file once, under limits, from the bytes that are judged.

Called by `work.register` before anything is stored and by whoever takes adapters in. A folder may hold the five files
below and nothing else: no links, no devices, no code, no pickle. Needs neither torch nor numpy nor safetensors, imports
nothing that a folder names, and opens no file that is not on the list. The digests are of the very bytes that were
checked; the store refuses to keep others under them, so a file that changes in between is refused.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tsugiki.errors import RecordsError
from tsugiki.records.adapter_manifest import AdapterManifest, read_manifest
from tsugiki.records.adapter_tensors import check_agreement, check_own_tensors, check_peft_tensors
from tsugiki.records.finite import all_finite
from tsugiki.records.peft_schema import PeftConfig, read_config
from tsugiki.records.safe_names import shown
from tsugiki.records.safetensors_header import LARGEST_HEADER, Tensor, read_header
from tsugiki.records.strict_json import read_object

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "tsugiki.json"
TEXTS = ("README.md", "LICENSE")
ALLOWED = (WEIGHTS, CONFIG, MANIFEST, *TEXTS)
ONLY_THESE = f"Copy {', '.join(ALLOWED[:-1])} and {ALLOWED[-1]}, as far as they exist, into a folder of their own."
CHUNK = 4 << 20  # bytes; a multiple of every width of a number
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".zst")
CODE = (".py", ".pyc", ".so", ".dll", ".sh", ".ipynb", ".js", ".exe", ".bat", ".ps1")


@dataclass(frozen=True)
class Limits:
    """What a folder may be at most; each is checked before the thing it limits is read."""

    folder_bytes: int = 40_000_000_000
    header_bytes: int = LARGEST_HEADER
    json_bytes: int = 4_000_000
    text_bytes: int = 1_000_000
    tensors: int = 50_000
    rank: int = 4096


@dataclass(frozen=True)
class AdapterFile:
    path: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class AdapterFolder:
    """A sound adapter. `config` is PEFT's and `manifest` ours, at least one is there; `rank` is the largest or 0."""

    folder: Path
    files: tuple[AdapterFile, ...]
    config: PeftConfig | None
    manifest: AdapterManifest | None
    tensors: tuple[Tensor, ...]
    rank: int

    @property
    def digests(self) -> Mapping[str, str]:
        return {file.path: file.digest for file in self.files}


def read_adapter_folder(folder: Path, limits: Limits = Limits()) -> AdapterFolder:
    """Read and check every file. Raises RecordsError for whatever is not a sound adapter, in one sentence.

    What is small is judged first: sizes, texts, configuration, header, and only then the data.
    """
    files, handles = [], {}
    with _opened_folder(folder) as handle:
        try:
            for name in _names(handle, folder):
                handles[name] = _HashedFile(handle, name, folder)
            _check_sizes(handles, folder, limits)
            config = manifest = None
            for name, file in handles.items():
                content = file.read(file.size) if name != WEIGHTS else b""
                if name == CONFIG:
                    config = read_config(read_object(content, file.where), file.where)
                elif name == MANIFEST:
                    manifest = read_manifest(read_object(content, file.where), file.where)
                elif name in TEXTS:
                    _check_text(content, file.where)
            if config is not None and manifest is not None:
                check_agreement(config, manifest, shown(str(folder)))
            tensors, rank = _read_weights(handles[WEIGHTS], config, manifest, limits)
            files = [AdapterFile(name, file.digest(), file.size) for name, file in sorted(handles.items())]
        finally:
            for file in handles.values():
                file.close()
    return AdapterFolder(folder, tuple(files), config, manifest, tensors, rank)


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        handle = os.open(folder, flags)
    except (OSError, ValueError) as error:
        raise _not_a_folder(folder, error) from None
    try:
        yield handle
    finally:
        os.close(handle)


def _not_a_folder(folder: Path, error: Exception) -> RecordsError:
    name, give = shown(str(folder)), "Give the folder that `tsugiki train` or PEFT wrote."
    if isinstance(error, FileNotFoundError):
        return RecordsError(f"There is no adapter folder {name}.", fix=give)
    if folder.is_symlink():
        return RecordsError(f"{name} is a link, and links are not followed.", fix="Give the folder that it points to.")
    if folder.suffix.lower() in ARCHIVES:
        return RecordsError(
            f"{name} is an archive.", fix="Unpack it yourself and give the folder; archives are not read."
        )
    why = error.strerror if isinstance(error, OSError) else str(error)
    return RecordsError(f"{name} is not an adapter folder ({why}).", fix=give)


def _names(handle: int, folder: Path) -> list[str]:
    """The files of the folder, each one allowed; a folder of a million names is not listed to its end."""
    with os.scandir(handle) as entries:
        names = [entry.name for entry in islice(entries, len(ALLOWED) + 1)]
    odd = sorted(set(names) - set(ALLOWED))
    if odd:
        raise RecordsError(f"{shown(str(folder))} holds {shown(odd[0])}, {_why_not(odd[0])}.", fix=ONLY_THESE)
    if WEIGHTS not in names:
        raise RecordsError(f"{shown(str(folder))} holds no {WEIGHTS}.", fix="Give a folder that holds an adapter.")
    if CONFIG not in names and MANIFEST not in names:
        raise RecordsError(
            f"{shown(str(folder))} holds neither {CONFIG} nor {MANIFEST}.",
            fix="Give a folder written by tsugiki or by PEFT.",
        )
    return names


def _why_not(name: str) -> str:
    ending = Path(name).suffix.lower()
    if ending in PICKLES:
        return "which can run code when it is loaded"
    if ending in CODE:
        return "which is code"
    if ending in ARCHIVES:
        return "which is an archive"
    return "which is no part of an adapter"


class _HashedFile:
    """One file of the folder, open; its digest is of the bytes that were handed out.

    No link is followed, and a pipe or device is not waited for.
    """

    def __init__(self, handle: int, name: str, folder: Path) -> None:
        self.where = shown(str(folder / name))
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
        except OSError as error:
            why = (
                "is a link, and links are not followed"
                if error.errno == errno.ELOOP
                else f"cannot be read ({error.strerror})"
            )
            raise RecordsError(f"{self.where} {why}.", fix=ONLY_THESE) from None
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            os.close(descriptor)
            why = "the same file as one elsewhere (a hard link)" if stat.S_ISREG(about.st_mode) else "no regular file"
            raise RecordsError(f"{self.where} is {why}.", fix=ONLY_THESE)
        self.size = about.st_size
        self._file = os.fdopen(descriptor, "rb")
        self._sha256, self._bytes = hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        try:
            content = self._file.read(size)
        except OSError as error:
            raise RecordsError(f"{self.where} cannot be read ({error.strerror}).", fix="Copy it again.") from None
        self._sha256.update(content)
        self._bytes += len(content)
        return content

    def digest(self) -> str:
        """Of the whole file, which must have been read to the end that it had when it was opened."""
        if self._bytes != self.size or self.read(1):
            raise RecordsError(
                f"{self.where} changed while it was read.", fix="Wait until it is written, then try again."
            )
        return "sha256:" + self._sha256.hexdigest()

    def close(self) -> None:
        self._file.close()


def _check_sizes(files: Mapping[str, _HashedFile], folder: Path, limits: Limits) -> None:
    total = sum(file.size for file in files.values())
    if total > limits.folder_bytes:
        raise _too_large(shown(str(folder)), total, limits.folder_bytes)
    for name, file in files.items():
        limit = limits.text_bytes if name in TEXTS else limits.json_bytes
        if name != WEIGHTS and file.size > limit:
            raise _too_large(file.where, file.size, limit)


def _too_large(where: str, size: int, limit: int) -> RecordsError:
    return RecordsError(f"{where} has {size} bytes, and {limit} are the limit.", fix="Is this an adapter?")


def _read_weights(
    file: _HashedFile, config: PeftConfig | None, manifest: AdapterManifest | None, limits: Limits
) -> tuple[tuple[Tensor, ...], int]:
    """The tensors and their largest rank, 0 if none."""
    header = read_header(file, file.size, file.where, largest=limits.header_bytes)
    if not 1 <= len(header.tensors) <= limits.tensors:
        raise RecordsError(
            f"{file.where} holds {len(header.tensors)} tensors; 1 to {limits.tensors} are allowed.",
            fix="Give a folder that holds an adapter.",
        )
    if config is not None:
        rank = check_peft_tensors(header.tensors, config, file.where)
    else:
        assert manifest is not None, "a folder without a description"
        rank = check_own_tensors(header.tensors, manifest.plan, file.where)
    if rank > limits.rank:
        raise RecordsError(
            f"{file.where} has rank {rank}, and {limits.rank} is the limit.", fix="Train it with a lower rank."
        )
    for tensor in header.tensors:
        _check_data(file, tensor)
    return header.tensors, rank


def _check_data(file: _HashedFile, tensor: Tensor) -> None:
    """Every number is finite. A file that ends too early is found by its digest."""
    left = tensor.end - tensor.begin
    while left and (data := file.read(min(CHUNK, left))):
        if not all_finite(data, tensor.dtype):
            raise RecordsError(
                f"The tensor {shown(tensor.name)} in {file.where} holds NaN or infinity.",
                fix="Train the adapter again.",
            )
        left -= len(data)


def _check_text(content: bytes, where: str) -> None:
    try:
        odd = "\0" in content.decode("utf-8")
    except UnicodeDecodeError:
        odd = True
    if odd:
        raise RecordsError(f"{where} is not a text in UTF-8.", fix="Save it as UTF-8, or leave it out.")

"""Anchors: checkpoints kept where whoever can write to the registry cannot, so that a tail cut off is seen.

Called by the verb that anchors and by whoever verifies against an anchor. A file holds one JSON line for each anchored
checkpoint; each line names the digest of the line before it, so that none can be taken out of the middle. A command
gets the same line on its standard input (to mail it, to print it, to write it to another machine). Never removes or
changes a line.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tsugiki.errors import RecordsError
from tsugiki.files import sync_folder
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import canonical
from tsugiki.records.checkpoints import Checkpoint, is_signed, read_checkpoint
from tsugiki.records.keys import PublicKey

LONGEST_LINE = 65_536  # bytes
COMMAND_SECONDS = 60


def anchor_to_file(path: Path, checkpoint: Checkpoint, public: PublicKey) -> bool:
    """Append the checkpoint; False when it is the newest line already. On disk when this returns.

    Raises RecordsError when the file cannot be written, when its last line is broken, of another registry or not signed
    by `public`, and when it knows a later event than the ledger has: then the ledger's tail was cut off.
    """
    try:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last = _last_line(file, path)
            if last:
                _, known = _read_line(last, public, f"the last line of {path}")
                if known == checkpoint:
                    return False
                _check_order(known, checkpoint, path)
            file.write(_line(checkpoint, digest_bytes(last) if last else None) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise RecordsError(
            f"The anchor {path} cannot be written: {error.strerror}.", fix="Name a file that can be written to."
        ) from None
    return True


def anchor_to_command(command: Sequence[str], checkpoint: Checkpoint) -> None:
    """Hand the line to a command's standard input. Raises RecordsError unless it ends with status 0 in a minute."""
    try:
        done = subprocess.run(
            command, input=_line(checkpoint, None) + b"\n", capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except OSError as error:
        raise RecordsError(
            f"The anchor command {command[0]} cannot be started: {error.strerror}.", fix="Name a program with its path."
        ) from None
    except subprocess.TimeoutExpired:
        raise RecordsError(
            f"The anchor command {command[0]} took longer than {COMMAND_SECONDS} s and was ended.",
            fix="See why it waits, then anchor again.",
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        raise RecordsError(
            f"The anchor command {command[0]} ended with status {done.returncode}: {said or 'it said nothing'}.",
            fix="Nothing is anchored until it ends with status 0; repair it and anchor again.",
        )


def read_anchor(path: Path, public: PublicKey) -> Iterator[Checkpoint]:
    """The anchored checkpoints, oldest first, streamed. Raises RecordsError naming the first line that is not true."""
    before: bytes | None = None
    known: Checkpoint | None = None
    try:
        with path.open("rb") as file:
            for number, whole in enumerate(file, start=1):
                where = f"line {number} of {path}"
                line = whole.removesuffix(b"\n")
                named, checkpoint = _read_line(line, public, where)
                if named != (digest_bytes(before) if before is not None else None):
                    raise _broken(f"{where} does not follow the line before it: a line is missing or was changed")
                if known is not None and (checkpoint.registry, checkpoint.seq > known.seq) != (known.registry, True):
                    raise _broken(f"{where} goes back in the ledger, or to another one")
                yield checkpoint
                before, known = line, checkpoint
    except OSError as error:
        raise RecordsError(
            f"The anchor {path} cannot be read: {error.strerror}.", fix="Name the file that the anchors are written to."
        ) from None


def _line(checkpoint: Checkpoint, before: str | None) -> bytes:
    facts = {"before": before, "checkpoint": json.loads(checkpoint.body), "signature": checkpoint.signature}
    return canonical.canonical_bytes(facts)


def _read_line(line: bytes, public: PublicKey, where: str) -> tuple[str | None, Checkpoint]:
    try:
        facts: Any = canonical.parse(line)
        if not isinstance(facts, dict) or set(facts) != {"before", "checkpoint", "signature"}:
            raise ValueError("an anchor's line holds before, checkpoint and signature")
        checkpoint = read_checkpoint(canonical.canonical_bytes(facts["checkpoint"]), facts["signature"])
    except ValueError as error:
        raise _broken(f"{where} is not an anchor: {error}") from None
    if not is_signed(checkpoint, public):
        raise _broken(f"{where} is not signed by the registry's key")
    return facts["before"], checkpoint


def _last_line(file: BinaryIO, path: Path) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST_LINE))
    tail = file.read()
    if not tail:
        return b""
    if not tail.endswith(b"\n"):
        raise RecordsError(
            f"The last line of {path} is not whole: the program that wrote it was ended.",
            fix="Remove what follows the last whole line, then anchor again.",
        )
    return tail.removesuffix(b"\n").rpartition(b"\n")[2]


def _check_order(known: Checkpoint, checkpoint: Checkpoint, path: Path) -> None:
    if known.registry != checkpoint.registry:
        raise RecordsError(f"{path} anchors the registry {known.registry}.", fix="Name another file for this registry.")
    if known.seq >= checkpoint.seq:
        raise RecordsError(
            f"{path} knows event {known.seq}, but the ledger's newest checkpoint is of event {checkpoint.seq}: "
            "events were cut off or rewritten.",
            fix=f"Run: tsugiki registry verify --anchor {path}",
        )


def _broken(problem: str) -> RecordsError:
    return RecordsError(
        f"{problem[0].upper()}{problem[1:]}.",
        fix="Compare the file with its copies; keep it as evidence, do not repair it.",
    )

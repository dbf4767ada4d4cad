"""Which kind of file system a folder lies on; SQLite loses data on those that other machines share.

Called by `open`. Locks on a network file system are promises that servers and clients keep differently, and a
write-ahead log needs memory that all its users share. Never guesses where the system does not say.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tsugiki.errors import RecordsError

# f_type of statfs(2).
NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x564C: "NCP",
    0x01021997: "9P",
    0x65735546: "FUSE",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x19830326: "BeeGFS",
    0x47504653: "GPFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
}
LARGE_ENOUGH = 256  # bytes; struct statfs has 120 on 64-bit Linux


def magic_number(folder: Path) -> int | None:
    """f_type of the file system under `folder`, or nothing where the system does not say it."""
    if sys.platform != "linux":
        return None
    buffer = ctypes.create_string_buffer(LARGE_ENOUGH)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), buffer) != 0:
        return None
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


def refuse_network(folder: Path, magic_of: Callable[[Path], int | None] = magic_number) -> None:
    """Raise RecordsError when `folder` lies on a file system that SQLite must not be used on."""
    kind = NETWORK.get(magic_of(folder) or 0)
    if kind is not None:
        raise RecordsError(
            f"{folder} lies on a network file system ({kind}), where SQLite can lose what was written.",
            fix="Use a local disk, or PostgreSQL with --database postgresql://…",
        )

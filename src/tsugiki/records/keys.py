"""The registry's Ed25519 key: made once, kept in a file only its owner can read, used to sign.

Called by `open` (which makes it), `database` and `pending` (which sign with it), `verify`, and whoever signs a version
or an archive. A signature is 88 characters of base64 over exact bytes. Never prints or returns the private half.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tsugiki.errors import RecordsError
from tsugiki.files import sync_folder, write_bytes
from tsugiki.fingerprint import digest_bytes

PRIVATE = "ledger.key"
PUBLIC = "ledger.pub"
RESTORE = "Restore it from a backup of the registry."


@dataclass(frozen=True)
class PublicKey:
    """What an auditor holds: 32 bytes."""

    raw: bytes

    @cached_property
    def digest(self) -> str:
        """Names the key in checkpoints."""
        return digest_bytes(self.raw)

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    def verifies(self, content: bytes, signature: str) -> bool:
        """Whether `signature` was made over exactly `content` with the private half."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class SigningKey:
    """The private half, in memory."""

    private: Ed25519PrivateKey

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, content: bytes) -> str:
        """88 characters of base64."""
        return base64.b64encode(self.private.sign(content)).decode("ascii")


def create_key(folder: Path) -> SigningKey:
    """Make a key pair in `folder`: ledger.key (0600) and ledger.pub. Raises OSError; never replaces a key."""
    key = SigningKey(Ed25519PrivateKey.generate())
    folder.mkdir(parents=True, exist_ok=True)  # others may read the public half
    content = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle = os.open(folder / PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    write_bytes(folder / PUBLIC, key.public.pem())
    sync_folder(folder)
    return key


def load_key(path: Path) -> SigningKey:
    """Read a private key. Raises RecordsError when it is missing, no such key, or readable by others."""
    content = _read(path, "private")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise RecordsError(
            f"{path} can be read by others than its owner (its mode is {mode:04o}).",
            fix=f"Run: chmod 600 {path}; if somebody else may have read it, the registry needs a new key.",
        )
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise RecordsError(f"{path} is not an Ed25519 private key.", fix=RESTORE)
    return SigningKey(key)


def load_public(path: Path) -> PublicKey:
    """The registry's public key. Raises RecordsError when it is missing or no such key."""
    return _public(path, _read(path, "public"), RESTORE)


def load_given(path: Path) -> PublicKey:
    """A public key that somebody was given by another way. Raises RecordsError when it is none."""
    other = "Name the ledger.pub that you were given."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordsError(f"The public key {path} cannot be read: {error.strerror}.", fix=other) from None
    return _public(path, content, other)


def _public(path: Path, content: bytes, fix: str) -> PublicKey:
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise RecordsError(f"{path} is not an Ed25519 public key.", fix=fix)
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _read(path: Path, half: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordsError(f"The registry's {half} key {path} is missing.", fix=RESTORE) from None
    except OSError as error:
        raise RecordsError(
            f"The registry's {half} key {path} cannot be read: {error.strerror}.",
            fix="Run the command as the user who owns the registry.",
        ) from None

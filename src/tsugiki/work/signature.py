"""An adapter folder signed in OpenSSF's model-signing format, with a key of one's own.

Called by `tsugiki export --to signature`; needs the extra `signing`. The signature covers every file of the folder, so
an edited, added or linked file is found by any tool that reads the format. Keeps no key of anyone's: the private key
stays where the user has it, and is made there when it does not exist yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsugiki.errors import AdapterError, UsageError
from tsugiki.fingerprint import digest_bytes

MODEL, SIGNATURE, PUBLIC = "adapter", "model.sig", "signing.pub"


def sign_folder(adapter: Path, out: Path, key: Path | None, name: str) -> dict[str, Any]:
    """Copy the adapter to `out`/adapter, sign it and check the signature; the public key goes beside it.

    Raises UsageError without the extra, without a key or with one that is no ECDSA key on P-256, P-384 or P-521.
    """
    signing, verifying = _library()
    if key is None:
        raise UsageError("A signature needs a key.", fix="Name its file with --key; it is made if it does not exist.")
    public = _public_key(key)
    shutil.copytree(adapter, out / MODEL)
    (out / PUBLIC).write_bytes(public)
    try:
        signing.Config().use_elliptic_key_signer(private_key=key).sign(out / MODEL, out / SIGNATURE)
        verify(verifying, out)
    except (ValueError, OSError) as error:
        raise AdapterError(f"{name} cannot be signed: {error}.", fix="Look at the folder and the key.") from error
    return {"folder": MODEL, "signature": SIGNATURE, "public_key": PUBLIC, "key": digest_bytes(public)}


def verify(verifying: Any, out: Path) -> None:
    """Raises ValueError where a file of the folder is not what was signed."""
    config = verifying.Config().use_elliptic_key_verifier(public_key=out / PUBLIC)
    config.verify(out / MODEL, out / SIGNATURE)


def _library() -> tuple[Any, Any]:
    try:
        from model_signing import signing, verifying
    except ImportError as error:
        raise UsageError(
            f"Signatures in OpenSSF's format need packages that are not installed ({error.name}).",
            fix="Install them: pip install 'tsugiki[signing]'.",
        ) from None
    return signing, verifying


def _public_key(path: Path) -> bytes:
    """The public half of the key in `path`, which is made, readable by its owner alone, if it is not there."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    forms: Mapping[str, Any] = {
        "encoding": serialization.Encoding.PEM,
        "format": serialization.PrivateFormat.PKCS8,
        "encryption_algorithm": serialization.NoEncryption(),
    }
    try:
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(ec.generate_private_key(ec.SECP256R1()).private_bytes(**forms))
        held = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"The key {path} cannot be used ({error}).", fix="Name a PEM file without a password."
        ) from None
    if not isinstance(held, ec.EllipticCurvePrivateKey) or held.curve.name not in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        raise UsageError(
            f"The key {path} is not one that OpenSSF's format takes.", fix="Use ECDSA on P-256, P-384 or P-521."
        )
    return held.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

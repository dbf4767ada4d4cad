"""What is read of a serving base is what the engines will meet: its own class, digests, tokens and terms."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.work.adapters import adapter_of, tiny
from tsugiki.config import PlanSpec
from tsugiki.engine.base import Base, load_config
from tsugiki.errors import BaseModelError
from tsugiki.work.adapter_facts import facts_of_folder
from tsugiki.work.compatibility import ENGINES, Report, check_compatibility, load_rules
from tsugiki.work.serving_base import base_licence, check_folder, module_paths, targets_for

RULES = load_rules()


def checked(adapter: Path, base: Path, engine: str) -> dict[str, Any]:
    report = check_folder(adapter, [engine], str(base), licence="mit")
    return {one.rule.removeprefix(f"{engine}-"): one for one in report.results}


def test_an_adapter_on_its_own_base_passes_everywhere(tiny_bases: Base, tmp_path: Path) -> None:
    adapter_of(tiny_bases, tmp_path / "a")
    report = check_folder(tmp_path / "a", ENGINES, str(tiny_bases.folder), licence="mit")
    # how a base in safetensors will be held in GGUF is not known before somebody has converted it
    assert [one.rule for one in report.not_passed()] == ["llama.cpp-quantization"]
    held = check_folder(tmp_path / "a", ENGINES, str(tiny_bases.folder), licence="mit", quantization="none")
    assert held.outcome == "pass"


def test_another_base_fails_by_its_weights_and_tokens(tiny_base: Base, tiny_gemma3: Path, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    found = checked(tmp_path / "a", tiny_gemma3, "vllm")
    assert found["base"].outcome == "fail" and "tiny-gemma3" in found["base"].sentence
    assert found["golden"].outcome == "fail" and "position 0" in found["golden"].sentence
    assert found["tokenizer"].outcome == "fail"


def test_another_template_is_found(tiny_base: Base, tiny_llama: Path, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    shutil.copytree(tiny_llama, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    found = checked(tmp_path / "a", tmp_path / "base", "vllm")
    assert found["template"].outcome == "fail"
    assert found["base"].outcome == found["golden"].outcome == "pass"


def test_a_text_adapter_is_refused_on_the_wrapped_class(tiny_base: Base, tmp_path: Path) -> None:
    """The same language model inside a class that also sees: vLLM would load the adapter and never apply it."""
    from transformers import Gemma3Config, Gemma3TextConfig

    adapter_of(tiny_base, tmp_path / "a")
    text = Gemma3TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    config = Gemma3Config(text_config=text, architectures=["Gemma3ForConditionalGeneration"])
    config.save_pretrained(tmp_path / "wrapped")
    paths = module_paths(load_config(tmp_path / "wrapped"))
    assert "model.language_model.layers.0.self_attn.q_proj" in paths
    facts = facts_of_folder(tmp_path / "a")
    (target,) = targets_for(facts, ["vllm"], str(tiny_base.folder))
    served = replace(target, paths=paths, serving_class="Gemma3ForConditionalGeneration")
    by_rule = {one.rule: one for one in check_compatibility(facts, [served], RULES).results}
    assert by_rule["vllm-paths"].outcome == "fail"
    assert "model.language_model.layers.0." in by_rule["vllm-paths"].sentence
    sglang = check_compatibility(facts, [replace(served, engine="sglang")], RULES)
    assert {one.rule for one in sglang.results if one.outcome == "fail"} == {"sglang-paths", "sglang-class"}


def test_without_golden_prompts_or_a_manifest_what_they_prove_is_open(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", golden=[])
    assert checked(tmp_path / "a", tiny_base.folder, "peft")["golden"].outcome == "undecidable"
    (tmp_path / "a" / "tsugiki.json").unlink()
    found = checked(tmp_path / "a", tiny_base.folder, "peft")
    assert {rule for rule, one in found.items() if one.outcome == "undecidable"} == {
        "base", "tokenizer", "template", "golden", "quantization", "context",
    }  # fmt: skip
    assert found["paths"].outcome == "pass"


def test_a_base_that_is_named_and_not_there_is_an_error(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    with pytest.raises(BaseModelError, match="There is no folder or file"):
        check_folder(tmp_path / "a", ["peft"], str(tmp_path / "nothing" / "here"))
    report = check_folder(tmp_path / "a", ["peft"], None)
    assert isinstance(report, Report) and report.outcome == "undecidable"


def test_a_licence_is_read_where_the_files_say_it(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\nlicense: wrong\n")
    assert base_licence(str(tmp_path)) == "apache-2.0"
    (tmp_path / "README.md").write_text("# No front matter\nlicense: wrong\n")
    assert base_licence(str(tmp_path)) is None
    assert base_licence("smollm2-135m") == "apache-2.0" and base_licence("gemma3-270m") == "gemma"
    assert base_licence("org/name") is None


def test_the_embedded_engine_holds_the_base_as_it_was_trained(tiny_llama: Path, tmp_path: Path) -> None:
    adapter_of(tiny(tiny_llama, quantize="int8"), tmp_path / "a")
    assert checked(tmp_path / "a", tiny_llama, "embedded")["quantization"].outcome == "pass"
    vllm = checked(tmp_path / "a", tiny_llama, "vllm")["quantization"]
    assert vllm.outcome == "fail" and "trained on the base in int8" in vllm.sentence


def test_bottlenecks_pass_in_our_own_engine_alone(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", PlanSpec(method="adapter", width=4))
    report = check_folder(tmp_path / "a", ENGINES, str(tiny_base.folder), licence="mit", quantization="none")
    refused = {one.target for one in report.results if one.outcome == "fail"}
    assert refused == set(ENGINES) - {"embedded"} and report.of("embedded").outcome == "pass"
    assert json.dumps(report.as_json())

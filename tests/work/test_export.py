"""Exports: the same model on the other side, or a refusal in one sentence with nothing left behind."""

from __future__ import annotations

import json
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.work.adapters import adapter_of, logits_of, tiny
from tsugiki.config import PlanSpec
from tsugiki.engine.adapter_files import load_adapter
from tsugiki.engine.base import Base
from tsugiki.engine.plan import LowRank, Plan, make_plan
from tsugiki.errors import AdapterError, BaseModelError, Undecided, UsageError
from tsugiki.work import export_folder, export_merged
from tsugiki.work.adapter_facts import facts_of_folder
from tsugiki.work.export import Export, export
from tsugiki.work.export_gguf import write_gguf

LICENCE = "apache-2.0"


def quiet(_: Any) -> None:
    pass


def ordered(base: Base, folder: Path, out: Path, form: Any, **changes: Any) -> dict[str, Any]:
    wanted = Export(folder, out, form, base=str(base.folder), licence=LICENCE)
    return export(replace(wanted, **changes), quiet)


def refused_order(base: Base, folder: Path, out: Path, changes: dict[str, Any]) -> None:
    wanted = Export(folder, out, "peft", base=str(base.folder), licence=LICENCE)
    export(replace(wanted, **changes), quiet)


def mixed(base: Base) -> Plan:
    """Ranks and scales of their own per layer."""
    names = list(make_plan(base.model, PlanSpec(rank=4)).low_rank)
    return Plan("lora", {name: LowRank(2 + at % 3, 0.5 + at % 2) for at, name in enumerate(names)})


PLANS: dict[str, Any] = {
    "lora": lambda base: PlanSpec(rank=4),
    "rslora": lambda base: PlanSpec(rank=6, rslora=True),
    "dora": lambda base: PlanSpec(rank=4, dora=True),
    "layers": lambda base: PlanSpec(rank=4, targets=("q_proj", "down_proj"), blocks=("1",)),
    "hybrid": lambda base: PlanSpec(method="hybrid", rank=4, full_layers=("1",)),
    "mixed": mixed,
}


@pytest.mark.parametrize("kind", PLANS)
def test_peft_computes_the_same_from_what_is_exported(tiny_bases: Base, tmp_path: Path, kind: str) -> None:
    logits = adapter_of(tiny_bases, tmp_path / "a", PLANS[kind](tiny_bases))
    ordered(tiny_bases, tmp_path / "a", tmp_path / "out", "peft", served_base="org/base")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "tsugiki.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/base"
    bare = AutoModelForCausalLM.from_pretrained(tiny_bases.folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(bare, tmp_path / "out").eval()
    torch.testing.assert_close(logits_of(theirs), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (PlanSpec(method="adapter", width=4), "bottleneck parts"),
        (PlanSpec(method="full"), "no low-rank part"),
        (PlanSpec(method="hybrid", rank=2, full_layers=("lm_head",)), "PEFT would untie"),
    ],
)
def test_what_peft_cannot_say_is_refused_with_the_reason(
    tiny_base: Base, tmp_path: Path, plan: PlanSpec, reason: str
) -> None:
    adapter_of(tiny_base, tmp_path / "a", plan)
    for form in ("peft", "vllm"):
        with pytest.raises(AdapterError, match=reason):
            ordered(tiny_base, tmp_path / "a", tmp_path / "out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_peft_folder_of_others_is_exported_as_plain_lora(tiny_base: Base, tmp_path: Path) -> None:
    logits = adapter_of(tiny_base, tmp_path / "a", PlanSpec(rank=4))
    (tmp_path / "a" / "tsugiki.json").unlink()
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": True, "lora_alpha": 16.0}))
    ordered(tiny_base, tmp_path / "a", tmp_path / "out", "peft")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert not config["use_rslora"] and config["lora_alpha"] == 32.0
    load_adapter(tiny_base, tmp_path / "out")
    torch.testing.assert_close(logits_of(tiny_base.model), logits, rtol=0, atol=1e-5)


# --- merged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "dora", "hybrid", "mixed"])
def test_the_merged_folder_loads_by_itself_and_is_the_same_model(tiny_bases: Base, tmp_path: Path, kind: str) -> None:
    logits = adapter_of(tiny_bases, tmp_path / "a", PLANS[kind](tiny_bases))
    found = ordered(tiny_bases, tmp_path / "a", tmp_path / "out", "merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    torch.testing.assert_close(logits_of(model), logits, rtol=0, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("pump").input_ids == tiny_bases.tokenizer("pump").input_ids
    merged = json.loads((tmp_path / "out" / "tsugiki-export.json").read_text())["merged"]
    assert merged == found["merged"]
    assert merged["recovery"] == 1.0 and merged["largest_logit_difference"] < 1e-3 and merged["positions"] > 100


def test_a_tied_head_that_was_adapted_alone_leaves_the_embedding_as_it_was(tiny_base: Base, tmp_path: Path) -> None:
    logits = adapter_of(tiny_base, tmp_path / "a", PlanSpec(rank=2, targets=("lm_head", "q_proj")))
    ordered(tiny_base, tmp_path / "a", tmp_path / "out", "merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    torch.testing.assert_close(logits_of(model), logits, rtol=0, atol=1e-4)
    assert torch.equal(model.get_input_embeddings().weight, tiny_base.model.get_input_embeddings().weight)


def test_the_task_metric_is_measured_where_rows_are_given(tiny_base: Base, tmp_path: Path) -> None:
    from tsugiki.work.prepare import DataSpec

    adapter_of(tiny_base, tmp_path / "a")
    rows = "".join(f"pump {i} is worn,fault\n" for i in range(6))
    (tmp_path / "rows.csv").write_text("prompt,completion\n" + rows, encoding="utf-8")
    data = DataSpec(tmp_path / "rows.csv")
    found = ordered(tiny_base, tmp_path / "a", tmp_path / "out", "merged", data=data, metric="chrf")
    task = found["merged"]["task"]
    assert task["rows"] == 6 and task["metric"] == "chrf" and task["merged"] == task["unmerged"]


def test_too_little_left_is_refused_unless_forced_and_recorded(
    tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    save = export_merged._save

    def damaged(base: Any, weights: Any, *rest: Any) -> None:
        save(base, {name: value + 0.2 * torch.randn_like(value) for name, value in weights.items()}, *rest)

    monkeypatch.setattr(export_merged, "_save", damaged)
    with pytest.raises(AdapterError, match=r"Only 0\.\d+ of a is left.*at least 0\.99") as refused:
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "merged")
    assert "--force" in refused.value.fix and not (tmp_path / "out").exists()
    found = ordered(tiny_base, tmp_path / "a", tmp_path / "out", "merged", force="only for a demonstration")
    assert found["forced"] == "only for a demonstration" and found["merged"]["recovery"] < 0.99
    assert json.loads((tmp_path / "out" / "tsugiki-export.json").read_text())["forced"] == found["forced"]


def test_a_task_that_falls_is_less_recovery_than_its_tokens_say() -> None:
    from tsugiki.work.assess import AnswerShape

    check = export_merged.Check(("a", "b"), ("x", "y"), "exact_match", AnswerShape(4, None))
    compared = {"same_next_token": 1.0, "answers": ["x", "n"]}
    assert export_merged.recovery_of(compared, check, ["x", "y"])["recovery"] == 0.5
    assert export_merged.recovery_of(compared, check, ["x", "n"])["recovery"] == 1.0


def test_a_base_in_few_bits_is_merged_as_it_was_held_with_a_warning(tiny_llama: Path, tmp_path: Path) -> None:
    base = tiny(tiny_llama, quantize="int8")
    logits = adapter_of(base, tmp_path / "a")
    found = ordered(base, tmp_path / "a", tmp_path / "out", "merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    torch.testing.assert_close(logits_of(model), logits, rtol=0, atol=1e-4)
    (warning,) = found["merged"]["warnings"]
    assert "held in int8 in training" in warning
    assert 0 < found["merged"]["loss_if_held_so_again"] < 1


def test_bottlenecks_cannot_be_merged(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", PlanSpec(method="adapter", width=4))
    with pytest.raises(AdapterError, match="not linear in its input and cannot be merged"):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# --- GGUF -----------------------------------------------------------------------------------------------------------


def delta(reader: GGUFReader, tensor: str, alpha: float) -> torch.Tensor:
    """What llama.cpp adds to a weight: alpha / r · B A, from the file."""
    held = {one.name: torch.from_numpy(one.data.copy()) for one in reader.tensors}
    factor_A, factor_B = held[f"{tensor}.lora_a"], held[f"{tensor}.lora_b"]
    return alpha / factor_A.shape[0] * factor_B @ factor_A


@pytest.mark.parametrize("kind", ["lora", "rslora", "layers", "mixed"])
def test_a_gguf_adapter_says_what_llama_cpp_reads_and_adds_the_same(
    tiny_bases: Base, tmp_path: Path, kind: str
) -> None:
    adapter_of(tiny_bases, tmp_path / "a", PLANS[kind](tiny_bases))
    found = ordered(tiny_bases, tmp_path / "a", tmp_path / "out", "gguf")
    reader = GGUFReader(tmp_path / "out" / "adapter.gguf")
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert said["general.type"] == "adapter" and said["adapter.type"] == "lora"
    llama = type(tiny_bases.model).__name__ == "LlamaForCausalLM"
    assert (
        said["general.architecture"]
        == {"Llam": "llama", "Qwen": "qwen2", "Gemm": "gemma3"}[type(tiny_bases.model).__name__[:4]]
    )
    assert found["gguf"]["rearranged_query_and_key"] == llama
    trainable = load_adapter(tiny_bases, tmp_path / "a")
    name = next(n for n in trainable.plan.low_rank if n.endswith("1.self_attn.q_proj"))
    layer = trainable.low_rank_layers()[name]
    expected = layer.part.scale * (layer.lora_B @ layer.lora_A).detach()
    added = delta(reader, "blk.1.attn_q.weight", said["adapter.lora.alpha"])
    if llama:  # heads of 16 rows: row 1 of a head is the first of its second half
        assert torch.allclose(added[1], expected[8], atol=1e-6) and not torch.allclose(added[1], expected[1], atol=1e-3)
        expected = expected.reshape(4, 2, 8, -1).transpose(1, 2).reshape(expected.shape)
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-6)
    assert len(reader.tensors) == 2 * len(trainable.plan.low_rank) == found["gguf"]["tensors"]
    assert {one.name.rpartition(".")[2] for one in reader.tensors} == {"lora_a", "lora_b"}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (PlanSpec(rank=4, dora=True), "it is DoRA"),
        (PlanSpec(method="hybrid", rank=2, full_layers=("1",)), "is trained in full"),
        (PlanSpec(method="adapter", width=4), "bottleneck parts"),
        (PlanSpec(rank=2, targets=("lm_head", "q_proj")), "the embedding as well"),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused(
    tiny_base: Base, tmp_path: Path, plan: PlanSpec, reason: str
) -> None:
    adapter_of(tiny_base, tmp_path / "a", plan)
    with pytest.raises(AdapterError, match=reason):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def write_base_gguf(base: Base, path: Path, *, rearrange: bool, noise: float = 0.0) -> Path:
    from gguf import GGUFWriter

    from tsugiki.engine.gguf_names import rearranged

    writer = GGUFWriter(path, "llama")
    for part, heads in (("q", 4), ("k", 2)):
        weight = base.parameters[f"model.layers.0.self_attn.{part}_proj.weight"].detach()
        weight = weight + noise * torch.randn_like(weight)
        writer.add_tensor(f"blk.0.attn_{part}.weight", (rearranged(weight, heads) if rearrange else weight).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_order_of_rows_is_read_from_the_bases_own_file(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    for rearrange in (True, False):
        file = write_base_gguf(tiny_base, tmp_path / f"{rearrange}.gguf", rearrange=rearrange, noise=0.005)
        trainable = load_adapter(tiny_base, tmp_path / "a")
        found = write_gguf(trainable, tmp_path / "a.gguf", name="a", base_file=file)
        trainable.detach()
        assert found["rearranged_query_and_key"] == rearrange and found["order_read_from"] == file.name
    other = write_base_gguf(tiny_base, tmp_path / "other.gguf", rearrange=True, noise=1.0)
    with pytest.raises(BaseModelError, match=r"other\.gguf' is not a GGUF of the adapter's base"):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "gguf", base_file=other)
    with pytest.raises(UsageError, match="There is no file"):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "gguf", base_file=tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("x")
    with pytest.raises(BaseModelError, match="is not a GGUF file"):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "gguf", base_file=tmp_path / "text.gguf")


# --- vLLM and SGLang ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_start_script_has_limits_a_name_of_its_own_and_no_secret(
    tiny_base: Base, tmp_path: Path, engine: str
) -> None:
    logits = adapter_of(tiny_base, tmp_path / "a", mixed(tiny_base))
    found = ordered(tiny_base, tmp_path / "a", tmp_path / "out", engine, served_base="org/base model")
    script = (tmp_path / "out" / f"start-{engine}.sh").read_text()
    assert subprocess.run(["sh", "-n", tmp_path / "out" / f"start-{engine}.sh"], check=False).returncode == 0
    assert (tmp_path / "out" / f"start-{engine}.sh").stat().st_mode & stat.S_IXUSR
    weights = facts_of_folder(tmp_path / "out" / "adapter").files["adapter_model.safetensors"][0]
    assert found["served_name"] == f"a-{weights[7:15]}" and found["served_name"] in script
    assert "'org/base model'" in script and "--host 127.0.0.1" in script
    if engine == "vllm":
        assert "--max-lora-rank 8 " in script and "--max-loras 4" in script and "VLLM_API_KEY:?" in script
    else:
        assert "--lora-strict-loading" in script and '--admin-api-key "$SGLANG_ADMIN_KEY"' in script
        assert "--max-lora-rank 4 " in script and "--lora-target-modules down_proj gate_proj" in script
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert not config["rank_pattern"] and not config["alpha_pattern"], "engines take one rank and one scale"
    assert found["compatibility"]["outcome"] == "pass"
    assert "pass: All 14 adapted modules" in (tmp_path / "out" / "NOTES.md").read_text()
    load_adapter(tiny_base, tmp_path / "out" / "adapter")
    torch.testing.assert_close(logits_of(tiny_base.model), logits, rtol=0, atol=1e-5)


def test_what_an_engine_would_not_serve_is_refused_unless_forced(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", PlanSpec(rank=4, dora=True))
    with pytest.raises(AdapterError, match=r"not written for vllm \(vllm-features\): It has DoRA") as refused:
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "vllm")
    assert refused.value.exit_status == 1 and not (tmp_path / "out").exists()
    found = ordered(tiny_base, tmp_path / "a", tmp_path / "out", "vllm", force="to show the error")
    assert found["forced"] == "to show the error" and "fail: It has DoRA" in (tmp_path / "out" / "NOTES.md").read_text()


def test_what_is_not_known_is_undecidable(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    with pytest.raises(Undecided, match="licence is not known") as refused:
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "vllm", licence=None)
    assert refused.value.exit_status == 3 and not (tmp_path / "out").exists()


# --- bad input ------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_sentence_and_leaves_nothing(
    tiny_base: Base, tiny_qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (AdapterError, "There is no adapter folder", {"adapter": tmp_path / "nothing"}),
        (AdapterError, "is not an adapter: it holds neither", {"adapter": tmp_path / "empty"}),
        (AdapterError, "was trained on .* this base is tiny-qwen2", {"base": str(tiny_qwen2)}),
        (UsageError, "taken exists already", {"out": tmp_path / "taken"}),
        (UsageError, "There is no export to 'onnx'", {"form": "onnx"}),
        (UsageError, "--force has no reason", {"force": " "}),
    ]
    for kind, message, changes in cases:
        with pytest.raises(kind, match=message) as refused:
            refused_order(tiny_base, tmp_path / "a", tmp_path / "out", changes)
        assert "\n" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "empty", "taken"}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_folder, "_flush", full)
    with pytest.raises(AdapterError, match=r"out cannot be written: No space left on device\. Free space"):
        ordered(tiny_base, tmp_path / "a", tmp_path / "out", "bom")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "empty", "taken"}

"""Adapter folders: exact both ways, whole or absent, and suspicious of everything that comes from outside."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tsugiki.config import PlanSpec
from tsugiki.engine import adapter_files
from tsugiki.engine.adapter_files import MANIFEST, PEFT_CONFIG, WEIGHTS, adapter_bytes, load_adapter, save_adapter
from tsugiki.engine.attach import attach
from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.plan import make_plan
from tsugiki.errors import AdapterError

SPECS = {
    "lora": PlanSpec(rank=4),
    "adapter": PlanSpec(method="adapter", width=5),
    "parallel": PlanSpec(method="adapter", bottleneck="parallel", width=5),
    "hybrid": PlanSpec(method="hybrid", rank=2, full_layers=("0",)),
    "full": PlanSpec(method="full"),
}


def saved(base: Base, folder: Path, spec: PlanSpec = SPECS["lora"]) -> torch.Tensor:
    """Save an adapter whose parts matter, take it off, and return its logits."""
    trainable = attach(base, make_plan(base.model, spec), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainable.trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        logits = base.model(input_ids=torch.arange(20)[None]).logits
    save_adapter(trainable, folder, {"purpose": "検査"})
    trainable.detach()
    return logits


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_saved_and_loaded_is_the_same_bit_for_bit(
    tiny_llama: Path, tmp_path: Path, spec: PlanSpec, precision: str
) -> None:
    base = load_base(BaseSpec(str(tiny_llama), precision, "cpu"))  # type: ignore[arg-type]
    logits = saved(base, tmp_path / "adapter", spec)
    loaded = load_adapter(base, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(base.model(input_ids=torch.arange(20)[None]).logits, logits)
    loaded.detach()


def test_the_manifest_identifies_the_base_and_carries_the_callers_facts(tiny_base: Base, tmp_path: Path) -> None:
    saved(tiny_base, tmp_path / "adapter")
    manifest = json.loads((tmp_path / "adapter" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["base"]["digest"] == tiny_base.identity.digest
    assert manifest["purpose"] == "検査" and manifest["plan"]["method"] == "lora"


def test_only_what_peft_can_express_gets_its_configuration(tiny_base: Base, tmp_path: Path) -> None:
    for name, spec in SPECS.items():
        saved(tiny_base, tmp_path / name, spec)
        assert (tmp_path / name / PEFT_CONFIG).is_file() == (name in ("lora", "hybrid"))


def test_lora_stores_only_the_small_parts(tiny_base: Base, tmp_path: Path) -> None:
    saved(tiny_base, tmp_path / "adapter")
    assert all(".lora_" in name for name in load_file(tmp_path / "adapter" / WEIGHTS))
    assert adapter_bytes(tmp_path / "adapter") < 100_000


def test_a_failed_save_leaves_the_old_folder_and_nothing_else(
    tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tiny_base, tmp_path / "adapter")
    before = (tmp_path / "adapter" / WEIGHTS).read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_files, "write_json", no_space)
    trainable = attach(tiny_base, make_plan(tiny_base.model, SPECS["lora"]), seed=1)
    with pytest.raises(OSError, match="No space left"):
        save_adapter(trainable, tmp_path / "adapter", {})
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert (tmp_path / "adapter" / WEIGHTS).read_bytes() == before


def edit(name: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        change(value)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")

    return apply


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return apply


def as_peft(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / MANIFEST).unlink()
        edit(PEFT_CONFIG, change)(folder)

    return apply


def only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"weights": 1}))


def first(found: dict[str, torch.Tensor]) -> str:
    return next(iter(found))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "has no adapter_model.safetensors"),
    "pickle": (only_pickle, "only adapter_model.bin, which can carry code"),
    "cut off": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-50]), "not a whole safetensors file"),
    "not safetensors": (lambda f: (f / WEIGHTS).write_bytes(b"hello" * 10), "not a whole safetensors file"),
    "header bomb": (lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 8 + b"{}"), "not a whole safetensors file"),
    "missing tensor": (tensors(lambda t: t.pop(first(t))), "lacks .*1 tensors missing"),
    "extra tensor": (tensors(lambda t: t.update(extra=torch.ones(1))), "holds extra"),
    "misshapen": (tensors(lambda t: t.update({first(t): torch.ones(3, 3)})), r"has shape \(3, 3\)"),
    "nan": (tensors(lambda t: t[first(t)].fill_(float("nan"))), "holds NaN or infinity"),
    "no description": (lambda f: [(f / n).unlink() for n in (MANIFEST, PEFT_CONFIG)], "holds neither tsugiki.json nor"),
    "manifest not json": (lambda f: (f / MANIFEST).write_text("{", encoding="utf-8"), "cannot be read as JSON"),
    "manifest list": (lambda f: (f / MANIFEST).write_text("[]", encoding="utf-8"), "holds a list, not an object"),
    "manifest nesting": (lambda f: (f / MANIFEST).write_text("[" * 99999, encoding="utf-8"), "cannot be read as JSON"),
    "manifest format": (edit(MANIFEST, lambda m: m.update(format=99)), "not a manifest of format 1"),
    "other base": (edit(MANIFEST, lambda m: m["base"].update(digest="sha256:0", name="X")), "trained on X .sha256:0"),  # type: ignore[attr-defined]
    "peft ia3": (as_peft(lambda c: c.update(peft_type="IA3")), "PEFT adapter of type 'IA3'"),
    "peft code": (as_peft(lambda c: c.update(auto_mapping={"parent_library": "os"})), "sets auto_mapping"),
    "peft corda": (as_peft(lambda c: c.update(corda_config={"x": 1})), "sets corda_config"),
    "peft bias": (as_peft(lambda c: c.update(bias="all")), "sets bias = 'all'"),
    "peft pissa": (as_peft(lambda c: c.update(init_lora_weights="pissa")), "sets init_lora_weights = 'pissa'"),
    "peft rank": (as_peft(lambda c: c.update(r=10**9)), "asks for rank 1000000000"),
    "peft rank text": (as_peft(lambda c: c.update(r="8")), "sets r = '8'"),
    "peft targets": (as_peft(lambda c: c.update(target_modules=["c_attn"])), "match no linear layer"),
    "peft saved": (as_peft(lambda c: c.update(modules_to_save=["score"])), "names 'score', which the base lacks"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_or_hostile_folder_is_refused_and_the_base_stays_bare(
    tiny_base: Base, tmp_path: Path, case: str
) -> None:
    damage, message = DAMAGES[case]
    saved(tiny_base, tmp_path / "adapter")
    damage(tmp_path / "adapter")
    modules = [id(module) for module in tiny_base.model.modules()]
    with pytest.raises(AdapterError, match=message) as caught:
        load_adapter(tiny_base, tmp_path / "adapter")
    assert caught.value.fix and "\n" not in caught.value.problem
    assert [id(module) for module in tiny_base.model.modules()] == modules


def test_a_folder_that_is_not_there_is_named(tiny_base: Base, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="There is no adapter folder"):
        load_adapter(tiny_base, tmp_path / "nothing")


def test_a_tied_head_trained_in_full_is_not_written_for_peft_which_would_untie_it(
    tiny_base: Base, tiny_llama_untied: Path, tmp_path: Path
) -> None:
    spec = PlanSpec(method="hybrid", rank=2, full_layers=("lm_head",))
    logits = saved(tiny_base, tmp_path / "tied", spec)
    assert not (tmp_path / "tied" / PEFT_CONFIG).exists()
    load_adapter(tiny_base, tmp_path / "tied").detach()
    assert torch.isfinite(logits).all()
    untied = load_base(BaseSpec(str(tiny_llama_untied), "float32", "cpu"))
    saved(untied, tmp_path / "untied", spec)
    assert json.loads((tmp_path / "untied" / PEFT_CONFIG).read_text())["modules_to_save"] == ["lm_head"]
    (tmp_path / "untied" / MANIFEST).unlink()
    with pytest.raises(AdapterError, match=r"lm_head\.weight of its own.*the same weight as another"):
        load_adapter(tiny_base, tmp_path / "untied")

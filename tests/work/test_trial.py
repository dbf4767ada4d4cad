"""Every kind of trial against the real engine on a tiny base, in this process; for the process see test_process."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.work.fakes import write_data
from tsugiki.config import Design, PlanSpec, Recipe
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.engine.device import accelerator_name, free_memory_bytes
from tsugiki.errors import DoesNotFit
from tsugiki.work import fit, trial
from tsugiki.work.design import ALL_MEASUREMENTS, Cost, calibration_of
from tsugiki.work.examples import write_examples
from tsugiki.work.prepare import ALL, DataSpec, divided, read_source, usable_findings, write_parts
from tsugiki.work.spec import TrialSpec, read_result, read_spec, scratch_folder, spec_path
from tsugiki.work.trial import clear_scratch, json_lines, outcome

RECIPE = Recipe(max_steps=6, batch_size=4, evaluations=2, checkpoint_every=2, precision="float32", learning_rate=2e-3)
METRICS = {"exact_match", "macro_f1", "chrf", "character_accuracy"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    source = read_source(DataSpec(write_data(folder / "reports.csv", rows=30)))
    findings = usable_findings(source)
    write_examples(folder / ALL, findings.examples)
    write_parts(source, folder, findings, divided(source, findings, Design()))
    return folder


def spec_of(base: Path, **values: Any) -> TrialSpec:
    shared = {"id": values["kind"], "base": str(base), "base_digest": None, "template": "plain", "recipe": RECIPE}
    return TrialSpec(**{**shared, **values})


def run(spec: TrialSpec, study: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    found = outcome(spec, study, events.append)
    assert found["status"] == "done", (found["reason"], found["fix"])
    json.dumps(found, allow_nan=False)
    return found, events


def test_inspection_identifies_the_base_and_counts_tokens(study: Path, tiny_llama: Path):
    found, _ = run(spec_of(tiny_llama, kind="inspect", train=ALL), study)
    assert found["identity"]["architecture"] == "LlamaForCausalLM"
    assert found["identity"]["digest"].startswith("sha256:")
    assert len(found["lengths"]) == 30
    assert all(prompt > 10 and completion in (2, 3) for prompt, completion in found["lengths"])  # letter, end
    assert found["dtype"] == "float32"


def test_a_base_that_has_changed_is_refused(study: Path, tiny_llama: Path):
    found = outcome(spec_of(tiny_llama, kind="inspect", train=ALL, base_digest="sha256:00"), study, lambda event: None)
    assert found["status"] == "failed" and "not the one that the study was locked with" in found["reason"]


def test_calibration_prices_every_method(study: Path, tiny_llama: Path):
    plans = tuple(PlanSpec(method=method, rank=4) for method in ("lora", "full"))
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")  # by the tests before
    found, _ = run(spec_of(tiny_llama, kind="calibrate", plans=plans), study)
    reference, _ = run(spec_of(tiny_llama, kind="reference", shots=2), study)
    calibration = calibration_of(found, reference)
    assert set(calibration.methods) == {"lora", "full"} and found["does_not_fit"] == {}
    for cost in calibration.methods.values():
        assert min(cost.start, cost.step, cost.dev_loss, cost.answer, cost.retention, cost.speed) > 0
    for method in found["methods"].values():
        measured, estimated = method["memory"]["measured_bytes"], method["memory"]["estimated_bytes"]
        assert 0.3 * estimated < measured < held + 3 * estimated
    assert calibration.reference == reference["wall_seconds"]
    assert not list((study / "work").rglob("*.safetensors"))


def test_calibration_notes_what_does_not_fit(study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    from tsugiki.work import calibration

    def no_memory(*_: Any, **__: Any) -> None:
        raise DoesNotFit("Out of memory.", fix="Take less.")

    monkeypatch.setattr(calibration, "train", no_memory)
    found, _ = run(spec_of(tiny_llama, kind="calibrate", plans=(PlanSpec(method="full"),)), study)
    assert found["does_not_fit"] == {"full": {"reason": "Out of memory.", "fix": "Take less."}}
    assert calibration_of(found, {"wall_seconds": 1.0}).methods["full"] == Cost()


def test_references_answer_every_test_row_with_and_without_shots(study: Path, tiny_llama: Path):
    found, _ = run(spec_of(tiny_llama, kind="reference", shots=3), study)
    assert set(found["references"]) == {"base", "k-shot"}
    for answers in found["references"].values():
        assert [one["row"] for one in answers["predictions"]] == rows(study, "test")
        assert set(answers["scores"]) == METRICS
        assert "\n" not in "".join(one["predicted"] for one in answers["predictions"])
    assert len(found["shots"]) == 3 and set(found["shots"]) <= set(rows(study, "train"))
    assert all(math.isfinite(loss) for loss in found["general"].values()) and set(found["general"]) == {"en", "ja"}


def test_the_search_tries_every_rate_from_the_same_start(study: Path, tiny_llama: Path):
    spec = spec_of(tiny_llama, kind="search", plans=(PlanSpec(rank=4),), learning_rates=(1e-3, 1e-2, 1e-5))
    found, _ = run(spec, study)
    assert [one["learning_rate"] for one in found["tries"]] == [1e-3, 1e-2, 1e-5]
    best = min(found["tries"], key=lambda one: one["dev_loss"])
    assert (found["learning_rate"], found["dev_loss"]) == (best["learning_rate"], best["dev_loss"])
    alone = spec_of(tiny_llama, kind="search", id="alone", plans=(PlanSpec(rank=4),), learning_rates=(1e-2,))
    assert run(alone, study)[0]["dev_loss"] == pytest.approx(found["tries"][1]["dev_loss"], abs=1e-5)


def test_low_rank_tries_share_a_bank_where_the_weaker_half_leaves(
    study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = spec_of(tiny_llama, kind="search", id="banked", plans=(PlanSpec(rank=4),), learning_rates=(1e-3, 1e-2, 1e-6))
    found, events = run(spec, study)
    assert "3 tries together" in [event.get("phase") for event in events]
    assert sorted(one["steps"] for one in found["tries"]) == [3, 6, 6] and found["tries"][2]["steps"] == 3
    monkeypatch.setattr(fit, "train_bank", lambda *_, **__: (_ for _ in ()).throw(DoesNotFit("no.", fix="less.")))
    after, _ = run(spec.model_copy(update={"id": "tight"}), study)
    assert [one["steps"] for one in after["tries"]] == [6, 6, 6], "one after the other where memory is short"
    assert after["learning_rate"] == found["learning_rate"]


def test_tries_of_other_methods_run_one_after_the_other(study: Path, tiny_llama: Path):
    plans = (PlanSpec(method="adapter", width=4),)
    spec = spec_of(tiny_llama, kind="search", id="narrow", plans=plans, learning_rates=(1e-3, 1e-2))
    found, events = run(spec, study)
    assert [one["steps"] for one in found["tries"]] == [6, 6]
    assert [event["number"] for event in events if event.get("phase") == "try"] == [1, 2]


def test_trials_share_what_lies_below_the_trained_blocks(study: Path, tiny_llama: Path):
    plans = (PlanSpec(rank=4, blocks=("last:1",)),)
    for seed in (0, 1):
        recipe = RECIPE.model_copy(update={"seed": seed, "max_steps": 12})
        found, _ = run(spec_of(tiny_llama, kind="train", id=f"top-s{seed}", plans=plans, recipe=recipe), study)
        assert found["training"]["cached_blocks"] == 1
    assert len(list((study / "work" / "prefix").iterdir())) == 2, "training rows and dev rows, once for both seeds"


def test_a_search_goes_on_with_the_tries_that_are_left(study: Path, tiny_llama: Path):
    spec = spec_of(tiny_llama, kind="search", id="again", plans=(PlanSpec(rank=4),), learning_rates=(1e-3, 1e-2))
    done = [{"learning_rate": 1e-3, "dev_loss": 0.001, "steps": 6, "best_step": 6, "seconds": 1.0}]
    scratch = scratch_folder(study, "again")
    scratch.mkdir(parents=True)
    (scratch / "tries.json").write_text(json.dumps(done), encoding="utf-8")
    found, _ = run(spec, study)
    assert found["tries"][0] == done[0] and found["learning_rate"] == 1e-3
    assert found["tries"][1]["learning_rate"] == 1e-2


@pytest.mark.parametrize("method", ["lora", "adapter", "hybrid", "full"])
def test_a_method_is_trained_saved_and_measured(study: Path, tiny_llama: Path, method: Any):
    plan = PlanSpec(method=method, rank=4, width=8)
    spec = spec_of(tiny_llama, kind="train", id=f"{method}-s0", plans=(plan,), measurements=ALL_MEASUREMENTS)
    found, events = run(spec, study)
    assert (found["method"], found["seed"], found["rows"]) == (method, 0, len(rows(study, "train")))
    assert found["training"]["steps"] == 6 and len(found["training"]["history"]) == 6
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert [one["row"] for one in found["predictions"]] == rows(study, "test")
    assert set(found["scores"]) == METRICS and found["facts"]["n"] == len(rows(study, "test"))
    folder = study / found["adapter"]
    assert found["adapter_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    manifest = json.loads((folder / "tsugiki.json").read_text(encoding="utf-8"))
    assert manifest["train_rows"] == rows(study, "train") and manifest["template"] == "plain"
    assert found["memory"]["train_bytes"] > 10_000_000 and found["memory"]["inference_bytes"] > 10_000_000
    assert set(found["general"]) == {"en", "ja"}
    assert all(value > 0 for value in found["change"].values())
    expected = {
        "lora": {"merged", "unmerged"},
        "adapter": {"unmerged"},
        "hybrid": {"merged", "unmerged"},
        "full": {"merged"},
    }
    assert {(one["batch"], one["weights"]) for one in found["latency"]} == {
        (batch, weights) for batch in (1, 16) for weights in expected[method]
    }
    assert 0 < found["trainable_share"] <= 1 and (found["trainable_share"] == 1) == (method == "full")


def test_a_method_is_measured_on_a_base_in_few_bits(study: Path, tiny_llama: Path):
    recipe = RECIPE.model_copy(update={"quantize": "int8"})
    plan = PlanSpec(rank=4)
    spec = spec_of(tiny_llama, kind="train", id="bits-s0", plans=(plan,), recipe=recipe, measurements=ALL_MEASUREMENTS)
    found, _ = run(spec, study)
    assert 0 < found["merge_error"] < 1 and "general_before" not in found
    manifest = json.loads((study / found["adapter"] / "tsugiki.json").read_text(encoding="utf-8"))
    assert manifest["quantize"] == "int8"


def test_the_calibration_holds_the_base_as_each_method_will(study: Path, tiny_llama: Path):
    plans = tuple(PlanSpec(method=method, rank=4, width=4) for method in ("full", "lora", "hybrid", "adapter"))
    recipe = RECIPE.model_copy(update={"quantize": "int8"})
    found, events = run(spec_of(tiny_llama, kind="calibrate", plans=plans, recipe=recipe), study)
    assert set(found["methods"]) == {"full", "lora", "hybrid", "adapter"}
    assert [event["phase"] for event in events].count("load") == 2


def test_the_loss_before_training_is_that_of_the_base_itself(study: Path, tiny_llama: Path):
    plans = (PlanSpec(method="full"),)
    spec = spec_of(tiny_llama, kind="train", id="own-s0", plans=plans, measurements=("retention_before",))
    found, _ = run(spec, study)
    reference, _ = run(spec_of(tiny_llama, kind="reference", shots=1), study)
    assert found["general_before"] == pytest.approx(reference["general"], abs=1e-6)


def test_nothing_is_measured_that_was_not_asked_for(study: Path, tiny_llama: Path):
    found, _ = run(spec_of(tiny_llama, kind="train", id="plain-s0", plans=(PlanSpec(rank=4),)), study)
    assert not {"general", "latency", "change"} & found.keys()


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_end(
    study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def kill_at_step_5(event: Mapping[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 5:
            raise Killed

    whole, _ = run(spec_of(tiny_llama, kind="train", id="whole", plans=(PlanSpec(rank=4),)), study)
    spec = spec_of(tiny_llama, kind="train", id="killed", plans=(PlanSpec(rank=4),))
    with pytest.raises(Killed):
        outcome(spec, study, kill_at_step_5)
    resumed, events = run(spec, study)
    assert [event["step"] for event in events if event["event"] == "step"] == [5, 6]
    assert resumed["dev_loss"] == whole["dev_loss"] and resumed["predictions"] == whole["predictions"]
    assert [one["loss"] for one in resumed["training"]["history"]] == [
        one["loss"] for one in whole["training"]["history"]
    ]


def test_failures_become_results(study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any):
    spec = spec_of(tiny_llama, kind="train", id="bad", plans=(PlanSpec(targets=("nothing",)),))
    found = outcome(spec, study, lambda event: None)
    assert (found["status"], found["spec_digest"]) == ("failed", spec.digest)
    assert "'nothing'" in found["reason"] and "q_proj" in found["fix"]

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(fit, "open_task", broken)
    found = outcome(spec, study, lambda event: None)
    assert found["status"] == "failed" and found["reason"] == "RuntimeError: a defect"
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        DoesNotFit("Out of memory.", fix="Take less."),
    ],
)
def test_out_of_memory_anywhere_is_does_not_fit(
    study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def no_memory(*_: Any) -> None:
        raise error

    monkeypatch.setattr(fit, "scored", no_memory)
    found = outcome(spec_of(tiny_llama, kind="train", id="oom", plans=(PlanSpec(rank=4),)), study, lambda event: None)
    assert found["status"] == "does_not_fit" and "Out of memory" in found["reason"] and found["fix"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_on_a_gpu_the_meter_reads_the_devices_own_peak(tiny_llama: Path):
    base = load_base(BaseSpec(str(tiny_llama), "float32", "cuda"))
    meter = fit.meter_for(base)
    with meter.phase("train"):
        held = torch.empty(50_000_000, dtype=torch.uint8, device="cuda")
    peak = meter.phases["train"]
    assert peak.memory_method == "device peak" and peak.peak_memory_bytes >= held.numel()
    assert 0 < free_memory_bytes(base.device) < torch.cuda.get_device_properties(0).total_memory
    assert accelerator_name() == torch.cuda.get_device_name()


def test_main_leaves_a_result_and_no_scratch(study: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    spec = spec_of(tiny_llama, kind="inspect", id="inspection", train=ALL)
    path = spec_path(study, spec.id)
    path.parent.mkdir(parents=True)
    path.write_text(spec.model_dump_json(), encoding="utf-8")
    assert read_spec(path) == spec
    out = io.BytesIO()
    monkeypatch.setattr(trial, "_own_stdout", lambda: out)
    monkeypatch.setattr(trial, "end_with_parent", lambda pipe: None)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: 0))  # pytest's own has no descriptor
    assert trial.main([str(path), str(study)]) == 0
    assert json.loads(out.getvalue().splitlines()[0]) == {"event": "phase", "phase": "load"}
    found = read_result(study, "inspection")
    assert found is not None and found["status"] == "done" and found["wall_seconds"] > 0
    assert not path.parent.exists()


def test_the_log_of_a_failure_is_kept(tmp_path: Path):
    scratch = scratch_folder(tmp_path, "one")
    (scratch / "checkpoint").mkdir(parents=True)
    for name in ("log.txt", "spec.json", "checkpoint/checkpoint.safetensors"):
        (scratch / name).write_text("x", encoding="utf-8")
    clear_scratch(tmp_path, "one", keep_log=True)
    assert [path.name for path in scratch.iterdir()] == ["log.txt"]
    clear_scratch(tmp_path, "one", keep_log=False)
    assert not scratch.exists()


def test_events_are_lines_of_json():
    out = io.BytesIO()
    json_lines(out)({"event": "step", "loss": 0.5})
    assert out.getvalue() == b'{"event": "step", "loss": 0.5}\n'


def rows(study: Path, part: str) -> list[int]:
    lines = (study / f"data/{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["row"] for line in lines]

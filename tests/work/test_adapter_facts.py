"""Facts come from the folder alone: ours or PEFT's, without a weight being loaded, and a broken folder is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.work.adapters import DATA_DIGEST, adapter_of
from tests.work.workspaces import card, put
from tsugiki.config import PlanSpec
from tsugiki.engine.base import Base
from tsugiki.errors import AdapterError
from tsugiki.work.adapter_facts import facts_of_folder
from tsugiki.work.golden import GOLDEN_PROMPTS
from tsugiki.work.provenance import named, provenance_of


def edit(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_our_own_folder_says_everything(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", PlanSpec(rank=4))
    facts = facts_of_folder(tmp_path / "a", licence="mit")
    assert facts.name == "a" and facts.rank == 4 and len(facts.ranks) == 14 and facts.features == frozenset()
    assert facts.base.weights == tiny_base.identity.weights_digest and facts.base.licence == "mit"
    assert facts.base.quantization == "none" and facts.longest == 128
    assert facts.golden is not None and [one.prompt for one in facts.golden] == list(GOLDEN_PROMPTS)
    assert tiny_base.tokenizer(GOLDEN_PROMPTS[2]).input_ids == list(facts.golden[2].ids)


def test_a_peft_folder_says_the_same_of_its_layers(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a", PlanSpec(method="hybrid", rank=4, full_layers=("1",)))
    ours = facts_of_folder(tmp_path / "a")
    (tmp_path / "a" / "tsugiki.json").unlink()
    theirs = facts_of_folder(tmp_path / "a")
    assert dict(theirs.ranks) == dict(ours.ranks) and dict(theirs.scales) == dict(ours.scales)
    assert set(theirs.full) == set(ours.full) and theirs.modules == ours.modules
    assert theirs.base.weights is None and theirs.golden is None and theirs.longest is None


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"use_dora": True}, "dora"),
        ({"bias": "all"}, "bias"),
        ({"use_rslora": True}, "rslora"),
        ({"init_lora_weights": "pissa_niter_4"}, "special_init"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"use_qalora": True}, "qalora"),
        ({"alora_invocation_tokens": [1]}, "alora"),
        ({"alpha_pattern": {"q_proj": 64}}, "mixed_ranks"),
        ({"modules_to_save": ["norm"]}, "modules_to_save"),
    ],
)
def test_features_of_a_peft_configuration_are_found(
    tiny_base: Base, tmp_path: Path, changes: dict[str, Any], feature: str
) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    (tmp_path / "a" / "tsugiki.json").unlink()
    assert feature not in facts_of_folder(tmp_path / "a").features
    edit(tmp_path / "a", "adapter_config.json", **changes)
    assert feature in facts_of_folder(tmp_path / "a").features


@pytest.mark.parametrize(
    ("spec", "features"),
    [
        (PlanSpec(rank=2, dora=True), {"dora"}),
        (PlanSpec(method="adapter", width=4), {"bottleneck", "no_low_rank"}),
        (PlanSpec(method="full"), {"modules_to_save", "no_low_rank"}),
        (PlanSpec(rank=2, targets=("lm_head", "q_proj")), {"head"}),
    ],
)
def test_features_of_our_own_plans_are_found(
    tiny_base: Base, tmp_path: Path, spec: PlanSpec, features: set[str]
) -> None:
    adapter_of(tiny_base, tmp_path / "a", spec)
    assert facts_of_folder(tmp_path / "a").features == features


def test_a_broken_folder_is_refused_in_one_sentence(tiny_base: Base, tmp_path: Path) -> None:
    adapter_of(tiny_base, tmp_path / "a")
    weights, manifest = tmp_path / "a" / "adapter_model.safetensors", tmp_path / "a" / "tsugiki.json"
    sound, said = weights.read_bytes(), manifest.read_text(encoding="utf-8")
    for content in (b"", b"\xff" * 8 + b"{}", b"\x05" + b"\0" * 7 + b"[1,2]", sound[:20]):
        weights.write_bytes(content)
        with pytest.raises(AdapterError, match="not a whole safetensors file"):
            facts_of_folder(tmp_path / "a")
    weights.write_bytes(sound)
    for text, message in (("[]", "no JSON object"), ("{", "cannot be read as JSON"), ("[" * 99999, "cannot be read")):
        manifest.write_text(text)
        with pytest.raises(AdapterError, match=message):
            facts_of_folder(tmp_path / "a")
    manifest.write_text(json.dumps(json.loads(said) | {"plan": {"low_rank": {"x": {}}}}))
    with pytest.raises(AdapterError, match="does not follow its format"):
        facts_of_folder(tmp_path / "a")


def test_facts_and_rules_need_no_torch() -> None:
    code = "import sys, tsugiki.work.compatibility, tsugiki.work.bom; print({'torch', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_study_gives_results_and_another_study_is_refused(tiny_base: Base, tmp_path: Path) -> None:
    content = card()
    adapter_of(tiny_base, tmp_path / "a", trial=next(m for m in content["methods"] if m["name"] == "lora")["trials"][0])
    facts = facts_of_folder(tmp_path / "a")
    about = provenance_of(facts, put(tmp_path / "study", content))
    own = named(about.measured, "adapter")
    quality = next(m for m in content["methods"] if m["name"] == "lora")["quality"]
    assert own is not None and (own.estimate, own.low, own.high) == (
        quality["estimate"], quality["low"], quality["high"],
    )  # fmt: skip
    assert named(about.measured, "base") is not None and about.purpose == content["study"]["purpose"]
    assert about.data[0].digest == DATA_DIGEST and about.data[0].rows == 40
    assert about.verdict is not None and about.verdict["value"] == "adopt"
    for method in content["methods"]:
        method["trials"] = ["other"]
    with pytest.raises(AdapterError, match=r"did not make a: none of its methods names the trial"):
        provenance_of(facts, put(tmp_path / "study", content))
    with pytest.raises(AdapterError, match=r"has no scorecard\.json"):
        provenance_of(facts, tmp_path)

"""The bill of materials validates strictly, holds what is known and nothing else, and is the same for equal facts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.work.adapters import DATA_DIGEST
from tests.work.provenances import FACTS, KNOWN
from tsugiki.work.bom import bom_of, licences
from tsugiki.work.provenance import DataUse, Provenance


def complaint(bom: dict[str, Any]) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom))


BARE = Provenance(replace(FACTS, base=replace(FACTS.base, name=None, licence=None, weights=None, architecture=None)))


@pytest.mark.parametrize("about", [KNOWN, BARE, replace(KNOWN, created_at=None, data=(DataUse(DATA_DIGEST),))])
def test_it_validates_strictly_whatever_is_known(about: Provenance) -> None:
    assert complaint(bom_of(about)) is None


def test_the_validator_does_refuse() -> None:
    assert complaint({**bom_of(KNOWN), "anything": 1}) is not None


def test_it_names_base_data_and_results_with_digests_and_licences() -> None:
    bom = bom_of(KNOWN)
    base, data = bom["components"]
    assert base["name"] == "smollm2-135m" and base["type"] == "machine-learning-model"
    assert base["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert base["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert data["hashes"][0]["content"] == "d" * 64 and "40 rows" in data["description"]
    assert data["licenses"] == [{"license": {"name": "社内データ"}}]
    adapter = bom["metadata"]["component"]
    assert {one["name"] for one in adapter["components"]} == set(FACTS.files)
    metrics = adapter["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {
        "type": "exact_match",
        "value": "0.81",
        "confidenceInterval": {"lowerBound": "0.74", "upperBound": "0.87"},
    }
    assert [one.get("slice") for one in metrics] == [None, "comparison: base"]
    assert adapter["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data-1"}]
    assert bom["dependencies"][0] == {"ref": "adapter", "dependsOn": ["base", "data-1"]}


def test_the_serial_number_comes_from_digests_and_the_time_from_the_version() -> None:
    one, other = bom_of(KNOWN), bom_of(replace(KNOWN, version_digest="sha256:" + "1" * 64))
    assert json.dumps(one) == json.dumps(bom_of(KNOWN))
    assert one["serialNumber"] != other["serialNumber"]
    assert one["metadata"]["timestamp"] == "2026-11-02T05:05:12.123456Z"
    assert "timestamp" not in bom_of(replace(KNOWN, created_at=None))["metadata"]


def test_what_is_not_known_is_left_out() -> None:
    bom = bom_of(BARE)
    assert "licenses" not in bom["components"][0] and "hashes" not in bom["components"][0]
    assert "quantitativeAnalysis" not in bom["metadata"]["component"]["modelCard"]
    assert licences("gemma") == [{"license": {"name": "gemma"}}] and licences(None) == []


def test_the_export_writes_it(tmp_path: Path) -> None:
    from tests.conftest import build_tiny
    from tests.work.adapters import adapter_of, tiny
    from tsugiki.work.export import Export, export

    base = tiny(build_tiny("tiny_llama", tmp_path / "base"))
    adapter_of(base, tmp_path / "a")
    export(Export(tmp_path / "a", tmp_path / "out", "bom"), lambda _: None)
    bom = json.loads((tmp_path / "out" / "bom.cdx.json").read_text(encoding="utf-8"))
    assert complaint(bom) is None and bom["components"][1]["hashes"][0]["content"] == "d" * 64

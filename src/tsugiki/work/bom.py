"""A machine-learning bill of materials in CycloneDX 1.6: adapter, base and data with digests, licences and results.

Called by `tsugiki export --to bom` and by whoever packs evidence. Written by hand, because the library that reads the
format cannot write model cards; the tests validate it with that library. Equal facts give equal bytes: the serial
number is made from digests and the time is the version's own, or none.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tsugiki import __version__
from tsugiki.fingerprint import digest_json
from tsugiki.work.provenance import DataUse, Measured, Provenance

SERIALS = uuid.UUID("6f1b5f0a-2b1e-5c53-9d0e-6d0a7c0c2a51")  # ours alone; with a digest it gives a serial number
# The identifiers that occur for models and data, as SPDX spells them; any other licence is given by its name.
SPDX_IDS = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0", "Unlicense", "GPL-3.0-only", "AGPL-3.0-only", "LGPL-3.0-only", "MPL-2.0",
)  # fmt: skip
METHODS = {"lora": "low-rank adaptation", "hybrid": "low-rank adaptation with layers trained in full",
           "adapter": "bottleneck adapters", "full": "full fine-tuning"}  # fmt: skip


def bom_of(about: Provenance) -> dict[str, Any]:
    """The bill as a JSON value."""
    facts = about.facts
    digest = about.version_digest or digest_json({name: held[0] for name, held in facts.files.items()})
    adapter = {
        "type": "machine-learning-model",
        "bom-ref": "adapter",
        "name": facts.name,
        "version": about.version.rpartition("@")[2] if about.version else digest.removeprefix("sha256:")[:12],
        "description": _description(about),
        "licenses": [],
        "hashes": [_hash(digest)],
        "components": [_file(name, *held) for name, held in facts.files.items()],
        "modelCard": _model_card(about),
        "properties": _properties(about),
    }
    metadata: dict[str, Any] = {
        "tools": {"components": [{"type": "application", "name": "tsugiki", "version": __version__}]},
        "component": _without_empty(adapter),
    }
    if about.created_at is not None:
        metadata = {"timestamp": about.created_at, **metadata}
    data = [_data(index, one) for index, one in enumerate(about.data, start=1)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SERIALS, digest)}",
        "version": 1,
        "metadata": metadata,
        "components": [_base(about), *data],
        "dependencies": [
            {"ref": "adapter", "dependsOn": ["base", *(one["bom-ref"] for one in data)]},
            {"ref": "base"},
            *({"ref": one["bom-ref"]} for one in data),
        ],
    }


def licences(name: str | None) -> list[dict[str, Any]]:
    """By SPDX identifier where it is one, by name otherwise, nothing where it is not known."""
    if name is None:
        return []
    found = next((one for one in SPDX_IDS if one.lower() == name.lower()), None)
    return [{"license": {"id": found} if found else {"name": name}}]


def _base(about: Provenance) -> dict[str, Any]:
    base = about.facts.base
    known = {
        "architecture": base.architecture,
        "identity": base.digest,
        "tokenizer": base.tokenizer,
        "chat_template": base.template,
        "held_in": base.quantization,
    }
    return _without_empty(
        {
            "type": "machine-learning-model",
            "bom-ref": "base",
            "name": base.name or "unknown",
            "hashes": [_hash(base.weights)] if base.weights else [],
            "licenses": licences(base.licence),
            "properties": [_property(f"base:{key}", value) for key, value in known.items() if value is not None],
        }
    )


def _data(index: int, data: DataUse) -> dict[str, Any]:
    rows = f"{data.rows} rows used for training" if data.rows is not None else "rows not recorded"
    purpose = f"; stated purpose: {data.purpose}" if data.purpose else ""
    return _without_empty(
        {
            "type": "data",
            "bom-ref": f"data-{index}",
            "name": f"training data {index}",
            "description": f"{rows}{purpose}",
            "hashes": [_hash(data.digest)] if data.digest else [],
            "licenses": licences(data.licence),
            "data": [{"type": "dataset", "name": f"training data {index}", "description": f"{rows}{purpose}"}],
        }
    )


def _model_card(about: Provenance) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": "text generation",
        "architectureFamily": "transformer",
        "datasets": [{"ref": f"data-{index}"} for index in range(1, len(about.data) + 1)],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    if about.facts.base.architecture:
        parameters["modelArchitecture"] = about.facts.base.architecture
    card: dict[str, Any] = {"modelParameters": _without_empty(parameters)}
    if metrics := [_metric(one) for one in about.measured if one.estimate is not None]:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if about.purpose:
        card["considerations"] = {"useCases": [about.purpose]}
    return card


def _metric(one: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.metric, "value": _number(one.estimate)}
    if one.of != "adapter":
        found["slice"] = f"comparison: {one.of}"
    if one.low is not None and one.high is not None:
        found["confidenceInterval"] = {"lowerBound": _number(one.low), "upperBound": _number(one.high)}
    return found


def _description(about: Provenance) -> str:
    method = METHODS.get(about.method or "", "an adapter")
    base = about.facts.base.name or "an unknown base"
    return f"{method[0].upper()}{method[1:]} of {base}; {len(about.facts.ranks)} layers, rank {about.facts.rank}."


def _properties(about: Provenance) -> list[dict[str, str]]:
    verdict = (about.verdict or {}).get("value")
    known: Mapping[str, Any] = {
        "version": about.version,
        "version_digest": about.version_digest,
        "parent": about.parent,
        "method": about.method,
        "verdict": verdict,
        "scorecard_digest": about.study_digest,
    }
    return [_property(key, value) for key, value in known.items() if value is not None]


def _property(name: str, value: Any) -> dict[str, str]:
    return {"name": f"tsugiki:{name}", "value": str(value)}


def _file(name: str, digest: str, size: int) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [_hash(digest)],
        "properties": [_property("bytes", size)],
    }


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _number(value: float | None) -> str:
    return format(value, ".6g") if value is not None else "unknown"


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """The schema allows no empty lists of licences, and an empty list says nothing."""
    return {key: held for key, held in value.items() if not (isinstance(held, Sequence) and len(held) == 0)}

"""The facts of a model card, as plain values that `report/model_card.py` puts into words.

Called by `tsugiki export --to card`. Says what the adapter, its study and its registered version say; what none of them
says is None here and "not known" on the card.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tsugiki.work.adapter_facts import PEFT_CONFIG
from tsugiki.work.provenance import Provenance, named

RECIPE = ("learning_rate", "max_steps", "batch_size", "max_length", "precision", "seed")


def card_of(about: Provenance) -> dict[str, Any]:
    """Everything that the card says; equal facts give equal values."""
    facts, manifest = about.facts, about.facts.manifest or {}
    recipe = manifest.get("recipe") or {}
    return {
        "name": facts.name,
        "version": about.version,
        "version_digest": about.version_digest,
        "parent": about.parent,
        "created_at": about.created_at,
        "purpose": about.purpose,
        "owner": about.owner,
        "base": asdict(facts.base),
        "method": about.method,
        "layers": len(facts.ranks),
        "rank": facts.rank or None,
        "full": len(facts.full),
        "bottlenecks": len((manifest.get("plan") or {}).get("bottlenecks", {})),
        "features": sorted(facts.features),
        "recipe": {key: recipe[key] for key in RECIPE if key in recipe},
        "template": manifest.get("template"),
        "data": [asdict(one) for one in about.data],
        "measured": [asdict(one) for one in about.measured],
        "verdict": about.verdict,
        "retention": (about.change or {}).get("retention"),
        "limits": _limits(about),
        "peft": PEFT_CONFIG in facts.files,
        "files": {name: {"digest": digest, "bytes": size} for name, (digest, size) in facts.files.items()},
    }


def _limits(about: Provenance) -> list[dict[str, Any]]:
    """Codes with their values, in the order in which a reader should meet them."""
    own, base = named(about.measured, "adapter"), named(about.measured, "base")
    limits: list[dict[str, Any]] = [{"code": "same_base"}]
    if own is None or own.estimate is None:
        limits.append({"code": "not_measured"})
    else:
        limits.append({"code": "test_only", "n": own.n})
        if base is not None and None not in (own.low, base.high) and own.low <= base.high:  # type: ignore[operator]
            limits.append({"code": "overlaps_base"})
    retention = (about.change or {}).get("retention")
    limits.append({"code": "general" if retention else "general_unknown", **(retention or {})})
    if about.facts.longest is not None:
        limits.append({"code": "longest", "tokens": about.facts.longest})
    if about.facts.base.licence is None:
        limits.append({"code": "base_licence"})
    if not about.data or any(one.licence is None for one in about.data):
        limits.append({"code": "data_licence"})
    limits.append({"code": "not_examined"})
    return limits

"""What gates, lists and cards read of an evidence pack: the numbers about the one method that the version was made by.

Called by `evidence_pack`, whose manifest holds the summary. Taken from the scorecard as it stands; a number that the
study did not measure is null here as well, so that no gate can take it for passed. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsugiki.report.scorecard import method_named

Summary = dict[str, Any]

MEASURED = (
    "trainable_share", "trainable_parameters", "adapter_bytes", "peak_memory_bytes", "memory", "train_seconds",
    "tokens_per_second", "latency", "change",
)  # fmt: skip


def summary_of(card: Mapping[str, Any], method: str, trial: str) -> Summary:
    """`trial`: the training whose files the version holds; its own quality stands beside that over all seeds."""
    entry = method_named(card, method)
    assert entry is not None, f"the scorecard of a study with the trial {trial} has no {method}"
    money = card["money"] or {}
    return {
        "verdict": _verdict(card, method),
        "method": method,
        "trial": trial,
        "quality": entry["quality"],
        "quality_of_trial": next((one["quality"] for one in entry["by_seed"] if one["trial"] == trial), None),
        "against_full": entry["against_full"],
        "reference": {one["name"]: one["quality"] for one in card["reference"]},
        "retention": entry["retention"],
        "slices": _slices(card, method),
        "shift": _shift(card, method),
        "sample_size": card["task"]["test"],
        "measurements": {name: entry[name] for name in MEASURED},
        "reasons": entry["reasons"],
        "machine": card["machine"],
        "cost": entry["cost"],
        "prices_date": money.get("date"),
        "criteria": card["study"]["criteria"],
        "made_at": card["study"]["created"],
        "study": card["study"]["digest"],
        "base": card["study"]["base"],
        "data": card["data"]["digest"],
        "warnings": card["warnings"],
    }


def _verdict(card: Mapping[str, Any], method: str) -> Summary:
    """A verdict about another method says nothing about this version: its value is null, which no gate passes."""
    found = card["verdict"]
    ours = found["method"] == method
    return {
        "value": found["value"] if ours else None,
        "reason": None if ours else f"the verdict is about {found['method']}, and this version is {method}",
        **{name: found[name] for name in ("code", "rule", "reasons", "needed_examples", "method")},
    }


def _slices(card: Mapping[str, Any], method: str) -> Summary | None:
    found = card["slices"]
    if found is None or found["method"] != method:
        return None
    return {name: found[name] for name in ("metric", "looked_at", "corrected_confidence", "worst")}


def _shift(card: Mapping[str, Any], method: str) -> Summary | None:
    found = card["shift"]
    return None if found is None else next((one for one in found["methods"] if one["name"] == method), None)

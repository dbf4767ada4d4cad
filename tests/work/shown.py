"""What a good version shows to the gates, for the tests of gates and lifecycle."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from tsugiki.work.gates import Shown

AT = datetime(2026, 11, 26, tzinfo=UTC)


def measured(estimate: float, low: float, high: float) -> dict[str, Any]:
    return {"metric": "exact_match", "estimate": estimate, "low": low, "high": high, "n": 200, "method": "test"}


SUMMARY: dict[str, Any] = {
    "verdict": {"value": "adopt"},
    "method": "lora",
    "quality": measured(0.785, 0.723, 0.836),
    "against_full": {"difference": measured(-0.005, -0.019, 0.012), "margin": 0.02},
    "retention": {"loss_before": 3.214, "loss_after": 3.255},
    "slices": {"looked_at": 8, "worst": {"difference": measured(-0.06, -0.09, -0.03)}},
    "criteria": {"metric": "exact_match", "success": 0.65, "retention_loss": 0.1},
    "made_at": "2026-11-02T05:00:00+00:00",
}


def report(target: str, *outcomes: str) -> dict[str, Any]:
    """As work/compatibility.py writes it."""
    results = [{"rule": f"r{place}", "target": target, "outcome": one} for place, one in enumerate(outcomes)]
    return {"format": 1, "results": results}


REPORTS = [report("embedded", "pass"), report("vllm", "pass")]
DATA = [{"digest": "sha256:" + "ab" * 32, "licence": "in-house", "purpose": "sorting reports"}]


def shown() -> Shown:
    return Shown(copy.deepcopy(SUMMARY), copy.deepcopy(REPORTS), copy.deepcopy(DATA))

"""A scorecard with slices and shifted rows, for the tests of the report floor and for looking at the page by eye."""

from __future__ import annotations

from typing import Any

from tests.report.cards import TEXTS, full_card, quality
from tsugiki.report.figures import Language
from tsugiki.report.words import reason_sentence


def sliced_card(language: Language = "ja") -> dict[str, Any]:
    """A study with slices, one of them surely weak, some too small, and with shifted rows that are not covered."""
    card, text = full_card(language, "conditional"), TEXTS[language]
    card["task"]["shift"] = 120
    names = {"ja": ("搬送設備", "プレス設備", "工場", "東"), "en": ("Conveying", "Pressing", "Plant", "East")}[language]
    weak = _slice(text, 40, (0.35, 0.19, 0.55), (-0.36, -0.55, -0.15), value=names[0])
    card["slices"] = {
        "method": "lora", "metric": "exact_match", "confidence": 0.95, "correction": "bonferroni",
        "corrected_confidence": 0.99, "looked_at": 5, "fewest": 10,
        "whole": {name: quality(0.705, 0.638, 0.764) for name in ("lora", "full", "base")},
        "dimensions": [
            {"by": "label", "name": None, "left_out": 50, "slices": [
                weak, _slice(text, 160, (0.79, 0.7, 0.86), (0.08, 0.01, 0.17), value=names[1]),
                _slice(text, 3, value="C"),
            ]},
            {"by": "length", "name": None, "left_out": 0, "slices": [
                _slice(text, 100, (0.7, 0.58, 0.8), (0.0, -0.09, 0.09), **{"from": 12.0, "to": 61.0}),
                _slice(text, 100, (0.71, 0.59, 0.81), (0.0, -0.09, 0.09), **{"from": 62.0, "to": 1388.0}),
            ]},
            {"by": "language", "name": None, "left_out": 0, "slices": [
                _slice(text, 195, (0.7, 0.6, 0.79), value="ja"), _slice(text, 5, value="other"),
            ]},
            {"by": "value", "name": names[2], "left_out": 0, "slices": [
                _slice(text, 120, (0.7, 0.58, 0.8), (0.0, -0.08, 0.08), value=names[3]), _slice(text, 4, value=None),
            ]},
        ],
        "worst": {"by": "label", "name": None, **weak},
    }  # fmt: skip
    lost = {
        "change": quality(-0.325, -0.44, -0.2),
        "against_full": quality(-0.2, -0.31, -0.08),
        "against_base": quality(-0.3, -0.42, -0.17),
    }
    missing = {**quality(0, 0, 0, n=0, method="none"), "estimate": None, "low": None, "high": None}
    missing["reason"] = text["no_time"]
    card["shift"] = {
        "rows": 120, "groups": 118, "column": names[2],
        "methods": [
            {"name": "lora", "test": quality(0.705, 0.638, 0.764), "shifted": quality(0.38, 0.3, 0.47, n=120), **lost},
            {"name": "full", "test": quality(0.79, 0.73, 0.84), "shifted": missing, "change": missing,
             "against_full": None, "against_base": missing},
        ],
        "reference": [{"name": "base", "test": quality(0.04, 0.02, 0.08), "shifted": quality(0.02, 0.0, 0.06),
                       "change": quality(-0.02, -0.06, 0.03)}],
    }  # fmt: skip
    said = {"method": "lora", "rows": 120, "value": 0.38, "low": 0.3, "high": 0.47, "success": 0.65}
    said |= {"change": -0.325, "change_low": -0.44, "change_high": -0.2}
    more = {"method": "lora", "difference": -0.2, "low": -0.31, "high": -0.08, "margin": 0.02}
    codes = [("shift_not_covered", said), ("shift_more_than_full", more)]
    card["verdict"]["codes"] = [{"code": code, "values": values} for code, values in codes]
    card["verdict"]["reasons"] += [reason_sentence(code, values, language) for code, values in codes]
    card["data_check"]["split"] = {"by": "column", "column": names[2]}
    return card


def _slice(
    text: dict[str, Any],
    n: int,
    scored: tuple[float, float, float] | None = None,
    apart: tuple[float, float, float] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """Without a quality it is too small; without a difference too little lies outside it."""
    nothing = {**quality(0, 0, 0, n=n, method="none"), "estimate": None, "low": None, "high": None}
    nothing["reason"] = "件数が少なく推定できません" if text is TEXTS["ja"] else "too few rows to estimate"
    return {
        **about,
        "n": n,
        "groups": n,
        "too_small": scored is None,
        "quality": {name: quality(*scored, n=n) if scored else nothing for name in ("lora", "full", "base")},
        "difference": quality(*apart, n=n) if apart else nothing,
        "surely_worse": apart[2] < 0 if apart else None,
    }

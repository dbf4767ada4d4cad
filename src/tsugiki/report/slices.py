"""What a slice of the test rows is called, and which one is the weakest, in the reader's language.

Called by `parts` (the tables), `text` and `findings`. Never decides which slice is weak; the card does so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsugiki.report.figures import Language, interval
from tsugiki.report.scorecard import Card, criteria
from tsugiki.report.words import has, name_of, say

LONGEST_NAME = 40  # characters of a value on the page


def weakest(card: Card) -> dict[str, Any] | None:
    """The values of the sentences about the weakest slice; None where none is surely worse than the whole."""
    found, language = card.get("slices"), card["language"]
    if not found or not found["worst"]:
        return None
    worst = found["worst"]
    quality, difference = worst["quality"][found["method"]], worst["difference"]
    dimension, name = dimension_name(worst, language), slice_name(worst["by"], worst, language)
    return {
        "slice": f"{dimension}「{name}」" if language == "ja" else f"{dimension} “{name}”",
        "metric": name_of("metric", found["metric"], language),
        "value": quality["estimate"],
        "interval": interval(quality["low"], quality["high"], "percent", language),
        "difference": difference["estimate"],
        "ends": interval(difference["low"], difference["high"], "points", language),
    }


def weakest_misses_success(card: Card) -> bool:
    """Whether even the upper end of the weakest slice lies below the success criterion."""
    found, success = card.get("slices"), criteria(card).get("success")
    if not found or not found["worst"] or success is None:
        return False
    high = found["worst"]["quality"][found["method"]]["high"]
    return found["metric"] == card["task"]["metric"] and high is not None and high < success


def dimension_name(dimension: Mapping[str, Any], language: Language) -> str:
    key = f"slice.by_{dimension['by']}"
    return say(key, language) if has(key) else say("slice.by_column", language, name=dimension["name"])


def slice_name(by: str, one: Mapping[str, Any], language: Language) -> str:
    if "from" in one:
        low, high = _end(one["from"]), _end(one["to"])
        key = "slice.characters" if by == "length" else "slice.range"
        return say(key, language, low=low, high=high) if low != high else say(f"{key}_of_one", language, low=low)
    value = one["value"]
    if value is None:
        return say("slice.blank", language)
    if by == "language" and has(f"slice.language_{value}"):
        return say(f"slice.language_{value}", language)
    return value if len(value) <= LONGEST_NAME else f"{value[:LONGEST_NAME]}…"


def _end(value: Any) -> str:
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)

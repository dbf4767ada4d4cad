"""What the learning curve says, in sentences: least data, forecasts, whether to invest in more, and a look back.

Called by `html` and `text`, and by the study for the sentence that stands in the JSON. Only numbers of the card are
told; what could not be told has its reason as a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tsugiki.report.figures import Language
from tsugiki.report.scorecard import Card
from tsugiki.report.words import has, say

Curve = Mapping[str, Any]


def curve_sentences(card: Card) -> list[str]:
    """The least data first; the rest is its ground."""
    language, curve = card["language"], card["learning_curve"]
    if not curve:
        return [say("curve.none", language)]
    found = [_least(curve, card["task"]["train"], language)]
    if curve.get("advice"):
        found.append(advice_sentence(curve, language))
    found += forecast_sentences(curve, language)
    if curve.get("backtest"):
        found.append(_backtest(curve["backtest"], language))
    formula = (curve["fit"] or {}).get("formula")
    return [*found, say("curve.formula", language, formula=formula)] if formula else found


def forecast_sentences(curve: Curve, language: Language) -> list[str]:
    """One per size that was forecast, and what their intervals are; none without a forecast."""
    rows = curve.get("forecast") or ()
    said = [
        say("forecast.at", language, factor=row["factor"], n=row["n"], value=row["quality"]["estimate"],
            low=row["quality"]["low"], high=row["quality"]["high"], target=curve["target"], chance=row["reaches"])
        for row in rows
    ]  # fmt: skip
    return [*said, say("forecast.interval", language)] if said else []


def advice_sentence(curve: Curve, language: Language) -> str:
    """Whether more data is worth the investment, with the chances that say so."""
    chances = {row["factor"]: row for row in curve["advice"]["chances"]}
    now, last = chances[min(chances)], chances[max(chances)]
    following = chances[min(factor for factor in chances if factor > now["factor"])]
    stage = now if curve["advice"]["code"] == "reached" else following
    return say(
        f"advice.{curve['advice']['code']}",
        language,
        target=curve["target"],
        factor=stage["factor"],
        n=stage["n"],
        chance=stage["reaches"],
        last_factor=last["factor"],
        last_n=last["n"],
        last=last["reaches"],
    )


def short_forecasts(curve: Curve | None, language: Language) -> Iterator[str]:
    """Each forecast in a few words."""
    for row in (curve or {}).get("forecast") or ():
        quality = row["quality"]
        ends = {"low": quality["low"], "high": quality["high"]}
        yield say("forecast.short", language, factor=row["factor"], n=row["n"], value=quality["estimate"], **ends)


def _least(curve: Curve, train: int, language: Language) -> str:
    least = curve["least_data"]
    if least and least["n"] is not None:
        values = {"target": curve.get("target"), **{end: least[end] for end in ("n", "low", "high")}}
        key = "short" if least["n"] > train else "at_most" if least["n"] <= curve["points"][0]["n"] else "enough"
        return say(f"curve.{key}", language, train=train, **values)
    known = has(f"curve.{curve.get('reason')}")
    return say(f"curve.{curve['reason'] if known else 'unknown'}", language)


def _backtest(found: Mapping[str, Any], language: Language) -> str:
    quality = found["quality"]
    values = {"value": quality["estimate"], "low": quality["low"], "high": quality["high"]}
    key = "held" if found["holds"] else "missed"
    return say(f"backtest.{key}", language, n=found["n"], measured=found["measured"], **values)

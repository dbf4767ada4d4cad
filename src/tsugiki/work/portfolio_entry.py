"""One scorecard as a row of the portfolio: what it says of value, cost and certainty, and what it lacks.

Called by `portfolio`. A stranger may have written the card: what is missing or makes no sense is None, and named among
what the row lacks. Every number is the card's own, but for two: the gain over the best reference where the card holds
no paired comparison (measure/unpaired.py), and the standing, which places a quality on the scale that the study's own
criteria span.

The standing is 1 for a perfect score, 0 at the success criterion, -1 at the withdrawal criterion, -2 for nothing, and
linear between them. It makes studies with different metrics comparable by what their owners asked of them, which raw
qualities are not: 0.7 is much for one metric and little for another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from tsugiki.measure.prices import LARGEST
from tsugiki.measure.unpaired import difference_of_intervals
from tsugiki.report.scorecard import Card, subject
from tsugiki.work.find_cards import Found
from tsugiki.work.verdict import FEWEST_SEEDS

COMPARED = ("beats_reference", "not_better_than_reference", "worse_than_reference")
AGREEING = 0.005  # between a paired difference and that of the two numbers it is of; more is another comparison

Entry = dict[str, Any]


def entry_of(found: Found) -> Entry:
    card = found.card
    method = subject(card)
    study, task = _mapping(card.get("study")), card["task"]
    quality, best = method["quality"], _best_reference(card)
    gain = _gain(card, method, best)
    criteria = _criteria(study)
    money, money_is_odd = _money(card)
    lacks = _lacking(card, method, gain=gain, criteria=criteria) + (["money"] if money_is_odd else [])
    value, low, high = (_number(quality[end]) for end in ("estimate", "low", "high"))
    base = _mapping(study.get("base"))
    return {
        "path": clean(found.path),
        "also": [],
        "title": _text(study.get("purpose")),
        "owner": _text(study.get("owner")),
        "created": _text(study.get("created")),
        "language": card["language"],
        "base": _text(base.get("name")),
        "task": {
            "kind": clean(task["kind"]),
            "metric": clean(task["metric"]),
            "train": task["train"],
            "test": task["test"],
        },
        "verdict": {"value": card["verdict"]["value"], "rule": _text(card["verdict"].get("code"))},
        "method": method["name"],
        "quality": {"estimate": value, "low": low, "high": high, "n": quality["n"]},
        "gain": gain,
        "standing": None if criteria is None or value is None else _standings(quality, *criteria),
        "cost": _cost(card, method, study),
        "certainty": {
            "width": None if low is None or high is None else high - low,
            "seeds": len(method["seeds"]),
            "test": task["test"],
            "needed_examples": card["verdict"]["needed_examples"],
            "used_examples": card["data"]["used"],
        },
        "money": money,
        "lacks": lacks,
        "comparable": None,
        "digests": {
            "card": found.digest,
            "study": _text(study.get("digest")),
            "data": _text(card["data"]["digest"]),
            "base": _text(base.get("digest")),
            "machine": _text(card["machine"]["fingerprint"]),
        },
    }


def clean(text: str) -> str:
    """One line without control characters, marks of direction and halves of characters, whoever wrote it."""
    return "".join("\ufffd" if unicodedata.category(one)[0] == "C" else one for one in " ".join(text.split()))


def standing(quality: float, *, success: float, withdraw: float) -> float:
    """Where a quality lies on the scale of its own study: see above; all from 0 to 1, withdraw <= success."""
    if quality >= success:
        return (quality - success) / (1 - success) if success < 1 else 0.0
    if quality >= withdraw:
        return (quality - success) / (success - withdraw)
    return quality / withdraw - 2


def _best_reference(card: Card) -> Mapping[str, Any] | None:
    measured = [entry for entry in card["reference"] if entry["quality"]["estimate"] is not None]
    return max(measured, key=lambda entry: entry["quality"]["estimate"], default=None)


def _gain(card: Card, method: Mapping[str, Any], best: Mapping[str, Any] | None) -> Entry | None:
    """Over the best reference: the paired comparison that the verdict rests on, else from the two intervals."""
    if best is None or method["quality"]["estimate"] is None:
        return None
    ours, theirs = (
        (float(quality["estimate"]), float(quality["low"]), float(quality["high"]))
        for quality in (method["quality"], best["quality"])
    )
    paired = _paired(card, method["name"], best["name"], ours[0] - theirs[0])
    value, low, high = paired or difference_of_intervals(ours, theirs)
    how = "paired" if paired else "unpaired"
    return {"reference": best["name"], "estimate": value, "low": low, "high": high, "method": how}


def _paired(card: Card, method: str, reference: str, expected: float) -> tuple[float, float, float] | None:
    codes = card["verdict"].get("codes")
    for code in codes if isinstance(codes, list) else ():
        values = _mapping(_mapping(code).get("values"))
        if _mapping(code).get("code") not in COMPARED or values.get("method") != method:
            continue
        value, low, high = (_number(values.get(end)) for end in ("difference", "low", "high"))
        if value is None or low is None or high is None or values.get("reference") != reference:
            continue
        if low <= value <= high and abs(value - expected) <= AGREEING:
            return value, low, high
    return None


def _criteria(study: Mapping[str, Any]) -> tuple[float, float] | None:
    """Success and withdrawal, as they were set beforehand."""
    given = _mapping(study.get("criteria"))
    success, withdraw = _number(given.get("success")), _number(given.get("withdraw"))
    if success is None or withdraw is None or not 0 <= withdraw <= success <= 1:
        return None
    return success, withdraw


def _standings(quality: Mapping[str, Any], success: float, withdraw: float) -> Entry:
    inside = {end: min(1.0, max(0.0, float(quality[end]))) for end in ("estimate", "low", "high")}  # cards are rounded
    return {end: standing(value, success=success, withdraw=withdraw) for end, value in inside.items()}


def _cost(card: Card, method: Mapping[str, Any], study: Mapping[str, Any]) -> Entry:
    cost = _mapping(method["cost"])
    train, currency = _number(cost.get("train")), _text(cost.get("currency"))
    return {
        "train_seconds": _number(method["train_seconds"]),
        "peak_memory_bytes": _number(method["peak_memory_bytes"]),
        "study_minutes": _number(_mapping(study.get("budget")).get("used_minutes")),
        "train": None if train is None or currency is None else {"amount": train, "currency": currency},
        "accelerator": _text(card["machine"]["accelerator"]),
    }


def _money(card: Card) -> tuple[Entry | None, bool]:
    """The net gain of a month as work/money.py writes it, and whether there is one that cannot be read.

    Null where no month was worked out: no price table, or no business case in it.
    """
    given = card.get("money")
    if given is None:
        return None, False
    net = _mapping(_mapping(given).get("month")).get("net")
    if isinstance(net, Mapping) and net.get("estimate", "") is None:
        return None, False
    value, low, high = (_number(_mapping(net).get(end)) for end in ("estimate", "low", "high"))
    currency = _text(_mapping(given).get("currency"))
    if value is None or low is None or high is None or currency is None or not low <= value <= high:
        return None, True
    return {"estimate": value, "low": low, "high": high, "currency": currency}, False


def _lacking(
    card: Card, method: Mapping[str, Any], *, gain: Entry | None, criteria: tuple[float, float] | None
) -> list[str]:
    """What an expansion would rest on and is not there, by the words of [lacks]."""
    named = card["verdict"].get("method")
    against_full = _mapping(method["against_full"]).get("non_inferior")
    missing = {
        "quality": method["quality"]["estimate"] is None,
        "method": named is not None and named != method["name"],
        "reference": any(entry["quality"]["estimate"] is None for entry in card["reference"]),
        "gain": gain is None,
        "criteria": criteria is None,
        "full": method["name"] != "full"
        and (method["against_full"] is None or (card["verdict"]["value"] == "adopt" and against_full is not True)),
        "seeds": len(set(method["seeds"])) < FEWEST_SEEDS,
        "time": _number(method["train_seconds"]) is None,
        "memory": _number(method["peak_memory_bytes"]) is None,
        "retention": method["retention"] is None,
    }
    return [name for name, is_missing in missing.items() if is_missing]


def _mapping(value: Any) -> Mapping[str, Any]:
    """Extensions of the contract may be missing, and a stranger may have written anything in their place."""
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return clean(value) or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= LARGEST else None  # NaN is not, either

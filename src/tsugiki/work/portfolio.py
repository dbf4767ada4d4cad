"""All studies of a workspace side by side: value, cost, certainty, and what to do with each, best first.

Called by `tsugiki portfolio`; report/portfolio.py draws what this returns, a plain value that goes to JSON as it is. A
study is one scorecard.json. Every number is the card's own, but for two: the gain over the best reference where the
card holds no paired comparison (measure/unpaired.py), and the standing, which places a quality on the scale that the
study's own criteria span. Recommendations are read off the table in work/allocation.py. Trains and changes nothing.

The standing is 1 for a perfect score, 0 at the success criterion, -1 at the withdrawal criterion, -2 for nothing, and
linear between them. It makes studies with different metrics comparable by what their owners asked of them, which raw
qualities are not: 0.7 is much for one metric and little for another.

Ranking: first what to expand, then what to hold, then what to stop. Within each, where all money that was worked out is
in one currency: the sure earners by the lower end of their net gain per month, then studies without money, then the
others that have one; ties, and everything where there is no such money, by the lower end of the standing.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsugiki.config import LanguageName
from tsugiki.errors import StudyError
from tsugiki.fingerprint import digest_json
from tsugiki.measure.unpaired import difference_of_intervals
from tsugiki.report.scorecard import Card, subject
from tsugiki.work.allocation import (
    RECOMMENDATIONS,
    EvidenceFinding,
    GainFinding,
    MoneyFinding,
    allocate,
)
from tsugiki.work.find_cards import Found, Unusable, find_cards
from tsugiki.work.verdict import FEWEST_SEEDS

SCHEMA = 1
COMPARED = ("beats_reference", "not_better_than_reference", "worse_than_reference")
AGREEING = 0.005  # between a paired difference and that of the two numbers it is of; more is another comparison
LONGEST_FAULT = 240  # characters
LARGEST_NUMBER = 1e15  # a time, a size or an amount beyond it is a mistake of whoever wrote the card

Entry = dict[str, Any]


def build_portfolio(places: Sequence[Path], language: LanguageName | None) -> dict[str, Any]:
    """`language` None: that of most of the scorecards. Raises StudyError where no scorecard can be used."""
    found, unusable = find_cards(places)
    if not found:
        first = unusable[0]
        raise StudyError(
            f"No scorecard can be used ({len(unusable)} found); {clean(first.path)}: {_reason(first)}.",
            fix="Rebuild them with `tsugiki scorecard FOLDER`.",
        )
    entries = _without_copies([_entry(one) for one in found])
    for entry in entries:
        entry.update(_recommendation(entry))
    currencies = sorted({entry["money"]["currency"] for entry in entries if entry["money"]})
    entries.sort(key=lambda entry: _order(entry, by_money=len(currencies) == 1))
    for rank, entry in enumerate(entries, start=1):
        entry["rank"] = rank
    groups = _mark_comparable(entries)
    return {
        "schema": SCHEMA,
        "language": language or _most_common_language(entries),
        "studies": entries,
        "totals": {name: sum(entry["recommendation"] == name for entry in entries) for name in RECOMMENDATIONS},
        "ranked_by": "money_and_standing" if len(currencies) == 1 else "standing",
        "comparable": groups,
        "unusable": [
            {
                "path": clean(one.path),
                "code": one.code,
                "values": {key: _shown(value) for key, value in one.values.items()},
            }
            for one in unusable
        ],
        "metrics": sorted({entry["task"]["metric"] for entry in entries}),
        "machines": len({entry["digests"]["machine"] for entry in entries}),
        "currencies": currencies,
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


def _entry(found: Found) -> Entry:
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


def _without_copies(entries: Sequence[Entry]) -> list[Entry]:
    """A study that stands in several folders counts once; where its copies differ, each says so."""
    by_study: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_study[entry["digests"]["study"] or entry["digests"]["card"]].append(entry)
    kept: list[Entry] = []
    for copies in by_study.values():
        alike: dict[str, Entry] = {}
        for entry in copies:
            first = alike.setdefault(digest_json(_decisive(entry)), entry)
            if first is not entry:
                first["also"].append(entry["path"])
        for entry in alike.values():
            entry["lacks"] += ["copies"] if len(alike) > 1 else []
        kept += alike.values()
    return kept


def _decisive(entry: Entry) -> Entry:
    """What two copies of one study must agree in; numbers as text, for canonical JSON bounds integers."""
    parts = ("verdict", "method", "quality", "gain", "money", "task")
    return {part: repr(entry[part]) for part in parts} | {"data": entry["digests"]["data"] or ""}


def _recommendation(entry: Entry) -> Entry:
    gain, money, lacks = entry["gain"], entry["money"], entry["lacks"]
    gain_found: GainFinding = "unmeasured" if gain is None else _sign(gain, "sure", "unclear", "lost")
    money_found: MoneyFinding = "none" if money is None else _sign(money, "earns", "open", "loses")
    evidence: EvidenceFinding = "contradicted" if "copies" in lacks else "lacking" if lacks else "whole"
    recommendation, rule = allocate(entry["verdict"]["value"], gain_found, money_found, evidence)
    return {"recommendation": recommendation, "rule": rule}


def _sign(interval: Mapping[str, Any], above: Any, across: Any, below: Any) -> Any:
    """A gain that touches 0 is not sure; money that can at best come out even is lost."""
    if interval["low"] > 0:
        return above
    lost = interval["high"] <= 0 if "currency" in interval else interval["high"] < 0
    return below if lost else across


def _order(entry: Entry, *, by_money: bool) -> tuple[Any, ...]:
    money = entry["money"] if by_money else None
    earning = 1 if money is None else 0 if money["low"] > 0 else 2
    low = -math.inf if entry["standing"] is None else entry["standing"]["low"]
    first = RECOMMENDATIONS.index(entry["recommendation"])
    return first, earning, 0.0 if money is None else -money["low"], -low, entry["path"]


def _mark_comparable(entries: Sequence[Entry]) -> Entry:
    """Studies of the same rows, base, task and metric get a letter, in the order of the ranking."""
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        data, base = entry["digests"]["data"], entry["digests"]["base"]
        if data and base:
            groups[data, base, entry["task"]["kind"], entry["task"]["metric"]].append(entry)
    marked: Entry = {}
    for members in groups.values():
        if len(members) > 1:
            letter = _letter(len(marked))
            marked[letter] = [entry["rank"] for entry in members]
            for entry in members:
                entry["comparable"] = letter
    return marked


def _letter(number: int) -> str:
    """A to Z, then AA, AB, as spreadsheets name columns."""
    head, last = divmod(number, 26)
    return (_letter(head - 1) if head else "") + chr(ord("A") + last)


def _most_common_language(entries: Sequence[Entry]) -> LanguageName:
    counts = Counter(entry["language"] for entry in entries)
    return "ja" if counts["ja"] > counts["en"] else "en"


def _reason(unusable: Unusable) -> str:
    from tsugiki.report.words import say

    return say(f"unusable.{unusable.code}", "en", **{key: _shown(value) for key, value in unusable.values.items()})


def _shown(value: Any) -> Any:
    return clean(value)[:LONGEST_FAULT] if isinstance(value, str) else value


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
    return number if abs(number) <= LARGEST_NUMBER else None  # NaN is not, either

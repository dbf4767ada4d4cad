"""All studies of a workspace side by side: value, cost, certainty, and what to do with each, best first.

Called by `tsugiki portfolio`; report/portfolio.py draws what this returns, a plain value that goes to JSON as it is. A
study is one scorecard.json, read by portfolio_entry.py. Recommendations are read off the table in work/allocation.py.
Trains and changes nothing.

Ranking: first what to expand, then what to hold, then what to stop. Within each, where all money that was worked out is
in one currency: the sure earners by the lower end of their net gain per month, then studies without money, then the
others that have one; ties, and everything where there is no such money, by the lower end of the standing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsugiki.config import LanguageName
from tsugiki.errors import StudyError
from tsugiki.fingerprint import digest_json
from tsugiki.work.allocation import (
    RECOMMENDATIONS,
    EvidenceFinding,
    GainFinding,
    MoneyFinding,
    allocate,
)
from tsugiki.work.find_cards import Unusable, find_cards
from tsugiki.work.portfolio_entry import Entry, clean, entry_of

SCHEMA = 1
LONGEST_FAULT = 240  # characters


def build_portfolio(places: Sequence[Path], language: LanguageName | None) -> dict[str, Any]:
    """`language` None: that of most of the scorecards. Raises StudyError where no scorecard can be used."""
    found, unusable = find_cards(places)
    if not found:
        first = unusable[0]
        raise StudyError(
            f"No scorecard can be used ({len(unusable)} found); {clean(first.path)}: {_reason(first)}.",
            fix="Rebuild them with `tsugiki scorecard FOLDER`.",
        )
    entries = _without_copies([entry_of(one) for one in found])
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


def _without_copies(entries: Sequence[Entry]) -> list[Entry]:
    """A study that stands in several folders counts once; where its copies differ, each says so.

    A copy with a price table differs from one without in nothing that was measured, and stands for both.
    """
    by_study: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_study[entry["digests"]["study"] or entry["digests"]["card"]].append(entry)
    kept: list[Entry] = []
    for copies in by_study.values():
        alike: dict[str, Entry] = {}
        priced = {repr(entry["money"]) for entry in copies if entry["money"] is not None}
        for entry in sorted(copies, key=lambda entry: entry["money"] is None):
            key = digest_json(_decisive(entry, with_money=len(priced) > 1))
            first = alike.setdefault(key, entry)
            if first is not entry:
                first["also"].append(entry["path"])
        for entry in alike.values():
            entry["lacks"] += ["copies"] if len(alike) > 1 else []
        kept += alike.values()
    return kept


def _decisive(entry: Entry, *, with_money: bool) -> Entry:
    """What two copies of one study must agree in; numbers as text, for canonical JSON bounds integers."""
    parts = ("verdict", "method", "quality", "gain", "task", *(("money",) if with_money else ()))
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

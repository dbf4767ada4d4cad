"""The money section of the scorecard as text: lead sentences, the account line by line, and the alternatives.

Called by `html` and `text`. Every amount is the card's own; what is missing is a dash with a footnote. The date and the
source of the prices stand beside whatever is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tsugiki.report.figures import Language, shown, whole_days
from tsugiki.report.scorecard import Card
from tsugiki.report.tables import Cell, Notes, Row
from tsugiki.report.words import has, name_of, say

Money = Mapping[str, Any]

MONTHLY = ("saved", "checking", "wrong", "serving", "changes", "upkeep", "net")
ONCE = ("study", "training", "setup_labour", "setup_cost", "total")
# What follows from both, with the form of its amount where that is not money.
RESULTS = {
    "change.cost": "money",
    "break_even.months": "months",
    "break_even.cases_per_month": "count",
    "horizon.net": "money",
    "horizon.returned": "signed_percent",
}
TOTALS = ("month.net", "once.total", "horizon.net")
UNDECIDED = ("stop", "undecidable")  # verdicts under which the amounts are no advice


def money_lead(card: Card) -> list[str]:
    """What it comes to, in a few sentences; or why it cannot be told."""
    money, language = card["money"], card["language"]
    net = money["month"]["net"]
    if net["estimate"] is None:
        return [say("money.lead_unknown", language, reason=money["reasons"]["month.net"])]
    word = "open" if net["low"] <= 0 <= net["high"] else "gain" if net["estimate"] > 0 else "loss"
    values = {**_values(card), "net": _amount(money, net["estimate"]), "interval": money_interval(money, net, language)}
    found = [say(f"money.lead_{word}", language, **values)]
    back, once = money["break_even"]["months"], _amount(money, money["once"]["total"])
    soon = back["high"] is not None and whole_days(back["high"]) < 1
    word = "never" if back["estimate"] is None else "soon" if soon else "back"
    interval = _interval(money, back, "months", language, less=False)
    found.append(say(f"money.lead_{word}", language, months=back["estimate"], once=once, interval=interval))
    least = money["break_even"]["cases_per_month"]["estimate"]
    if least is not None:
        found.append(say("money.lead_cases", language, cases=least, months=money["horizon"]["months"]))
    return found


def money_groups(card: Card, notes: Notes) -> list[tuple[str, list[Row]]]:
    """Every month, once, and what follows: lines under a heading, each an amount, its interval, how it comes about.

    Without a business case, lines that need one stay away, and a group may be empty: the lead says what is missing.
    """
    money, language = card["money"], card["language"]
    heads = {
        "monthly": {f"month.{name}": "money" for name in MONTHLY},
        "once": {f"once.{name}": "money" for name in ONCE},
        "result": RESULTS,
    }
    groups = []
    for head, forms in heads.items():
        rows = [
            _row(card, place, form, notes)
            for place, form in forms.items()
            if _has_case(money) or _ends(money, place)["estimate"] is not None
        ]
        groups.append((say(f"money.{head}", language, months=money["horizon"]["months"]), rows))
    return groups


def alternative_heads(card: Card) -> list[str]:
    """Names of the columns of `alternatives`, behind that of the method."""
    names = ("right", "seconds", "net", "interval", "months")
    return [say(f"money.column_{name}", card["language"], confidence=card["money"]["confidence"]) for name in names]


def alternatives(card: Card, notes: Notes) -> list[Row]:
    """The same business case, where there is one, with each way of answering: right answers, time, net, break-even."""
    money = card["money"]
    if not _has_case(money):
        return []
    subject = {
        "name": money["method"],
        "share_right": money["share_right"],
        "seconds_per_case": money["seconds_per_case"],
        "net_month": money["month"]["net"],
        "months": money["break_even"]["months"],
        "reasons": {
            "net_month": money["reasons"].get("month.net"),
            "months": money["reasons"].get("break_even.months"),
            "seconds_per_case": money["reasons"].get("seconds_per_case"),
        },
    }
    return [_alternative(card, entry, notes) for entry in (subject, *money["alternatives"])]


def price_line(card: Card) -> str:
    """Where the prices are from; goes with every estimate."""
    money = card["money"]
    return say("money.prices", card["language"], **{name: money[name] for name in ("currency", "date", "source")})


def money_notes(card: Card) -> list[str]:
    """What to know before the amounts are used."""
    language = card["language"]
    verdict = card["verdict"]["value"]
    first = [say("money.note_verdict", language, verdict=say(f"verdict.{verdict}", language))]
    return [*(first if verdict in UNDECIDED else []), *card["money"]["notes"]]


def money_interval(money: Money, ends: Mapping[str, Any], language: Language) -> str:
    """Both ends; an end that is never reached is a dash."""
    joint = "〜" if language == "ja" else " to "
    return joint.join(shown(_amount(money, ends[end]), "money", language) for end in ("low", "high"))


def rate_lines(rates: list[Mapping[str, Any]], currency: str, language: Language) -> Iterator[str]:
    """One line per way of paying."""
    for rate in rates:
        amounts = {end: {"amount": rate[end], "currency": currency} for end in ("hour", "month")}
        yield say("money.rate", language, way=name_of("way", rate["way"], language), **amounts)


def _row(card: Card, place: str, form: str, notes: Notes) -> Row:
    money, language = card["money"], card["language"]
    ends, (group, _, name) = _ends(money, place), place.partition(".")
    less = group == "month" and name not in ("saved", "net")
    title = say(f"money.{group}_{name}", language, months=money["horizon"]["months"])
    if ends["estimate"] is None:
        cells = (Cell(shown(None, "text", language), note=notes.number(money["reasons"][place])), Cell(""), Cell(""))
    else:
        cells = (
            Cell(_shown(money, -ends["estimate"] if less else ends["estimate"], form, language)),
            Cell(_interval(money, ends, form, language, less=less)),
            Cell(_basis(card, place)),
        )
    return Row(title, cells, emphasis=place in TOTALS)


def _interval(money: Money, ends: Mapping[str, Any], form: str, language: Language, *, less: bool) -> str:
    """Empty where the quality does not matter; a cost that is taken off turns its ends round."""
    if ends["low"] == ends["high"]:
        return ""
    low, high = (ends["low"], ends["high"]) if not less else (-ends["high"], -ends["low"])
    if high is None:
        return say("money.endless", language, low=_shown(money, low, form, language))
    return ("〜" if language == "ja" else " to ").join(_shown(money, end, form, language) for end in (low, high))


def _shown(money: Money, value: float | None, form: str, language: Language) -> str:
    return shown(_amount(money, value) if form == "money" else value, form, language)


def _basis(card: Card, place: str) -> str:
    """How an amount comes about; nothing where it was given as it is."""
    key = f"basis.{place.replace('.', '_')}"
    if place == "month.serving":
        key = f"{key}_{card['money']['serving']['counted']}"
    if place == "change.cost" and card["money"]["change"]["labour"] is None:
        key = f"{key}_alone"
    return say(key, card["language"], **_values(card)) if has(key) else ""


def _values(card: Card) -> dict[str, Any]:
    """Everything that a sentence of this section may name."""
    money, language = card["money"], card["language"]
    case, share, training = money["case"], money["share_right"]["estimate"], money["training"]
    given = {name: _given(value) for name, value in case.items()}
    wanted = ("cases_per_month", "minutes_saved", "minutes_to_check", "minutes_per_wrong", "changes_per_year")
    hours = ("hours_per_change", "setup_hours")
    paid = {f"{name}_way": name_of("way", way, language) for name, way in money["paid"].items() if way is not None}
    return {
        "method": name_of("method", money["method"], language),
        "confidence": money["confidence"],
        **{name: given.get(name) for name in wanted},
        **{name: None if given.get(name) is None else given[name] * 3600 for name in hours},
        "wage": _amount(money, _given(money["table"].get("wage_hour"))),
        "right": share,
        "wrong": None if share is None else 1 - share,
        "case_ms": None if money["seconds_per_case"] is None else 1000 * money["seconds_per_case"],
        "busy": None if money["serving"]["hours"] is None else 3600 * money["serving"]["hours"],
        "machines": money["serving"]["machines"],
        "change": _amount(money, money["change"]["cost"]),
        "change_labour": _amount(money, money["change"]["labour"]),
        "study": money["study_seconds"],
        **{name: training[name] for name in ("rows", "steps", "seconds")},
        **{"training_way": None, "serving_way": None},
        **paid,
        "months": money["horizon"]["months"],
    }


def _has_case(money: Money) -> bool:
    return "cases_per_month" in money["case"]


def _ends(money: Money, place: str) -> Mapping[str, float | None]:
    """What stands at a dotted place, as estimate and ends; an amount that does not depend on the quality is its own."""
    group, _, name = place.partition(".")
    found = money[group][name]
    return found if isinstance(found, Mapping) else {"estimate": found, "low": found, "high": found}


def _alternative(card: Card, entry: Mapping[str, Any], notes: Notes) -> Row:
    money, language, name = card["money"], card["language"], entry["name"]
    share, net, seconds = entry["share_right"], entry["net_month"], entry["seconds_per_case"]

    def cell(value: Any, form: str, reason: str | None) -> Cell:
        return Cell(shown(value, form, language), note=None if value is not None else notes.number(reason))

    trained = has(f"method.{name}")
    cells = (
        cell(share["estimate"], "percent", share.get("reason")),
        cell(None if seconds is None else 1000 * seconds, "ms", entry["reasons"].get("seconds_per_case")),
        cell(_amount(money, net["estimate"]), "money", entry["reasons"].get("net_month")),
        Cell("" if net["estimate"] is None else money_interval(money, net, language)),
        cell(entry["months"]["estimate"], "months", entry["reasons"].get("months")),
    )
    title = name_of("method" if trained else "reference", name, language)
    return Row(title, cells, emphasis=name == money["method"], reference=not trained)


def _given(value: Any) -> Any:
    """An amount that may be a range: what is reckoned with."""
    return value["value"] if isinstance(value, Mapping) else value


def _amount(money: Money, value: float | None) -> dict[str, Any] | None:
    return None if value is None else {"amount": value, "currency": money["currency"]}

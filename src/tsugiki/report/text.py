"""The scorecard in a few lines for a terminal.

Called by the command line when a study ends. Plain text without colour or control characters, whatever stands in the
card; the page has everything else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tsugiki.report.curve_words import advice_sentence, short_forecasts
from tsugiki.report.figures import Language, interval, shown
from tsugiki.report.html import headline
from tsugiki.report.inputs import input_name
from tsugiki.report.money import (
    alternative_heads,
    alternatives,
    money_groups,
    money_interval,
    money_lead,
    money_notes,
    price_line,
    rate_lines,
)
from tsugiki.report.scorecard import Card, subject
from tsugiki.report.slices import weakest
from tsugiki.report.tables import Cell, Notes, Row
from tsugiki.report.words import name_of, say
from tsugiki.width import columns


def render_text(card: Card) -> str:
    """The verdict, its reasons and a line for each number that matters; ends with a newline."""
    language: Language = card["language"]
    verdict = say(f"verdict.{card['verdict']['value']}", language)
    lines = [f"{say('page.verdict', language)}: {verdict}", headline(card), ""]
    lines += [f"- {reason}" for reason in card["verdict"]["reasons"]]
    rows = list(_numbers(card))
    width = max(columns(label) for label, _ in rows)
    lines += ["", *(f"{label}{' ' * (width - columns(label))}  {value}" for label, value in rows)]
    return "".join(f"{_printable(line)}\n" for line in lines)


def render_money(card: Card) -> str:
    """The whole money section, as `tsugiki money` prints it; the card holds one. Ends with a newline."""
    language, money = card["language"], card["money"]
    notes = Notes(language)
    lines = [price_line(card), *rate_lines(money["rates"], money["currency"], language), "", *money_lead(card)]
    for head, rows in money_groups(card, notes):
        lines += ["", head, *_aligned(rows)] if rows else []
    if others := alternatives(card, notes):
        heads = Row(say("column.method", language), tuple(map(Cell, alternative_heads(card))))
        lines += ["", say("money.alternatives", language), *_aligned([heads, *others])]
    lines += [""] if notes.texts else []
    lines += [f"({number}) {text}" for number, text in enumerate(notes.texts, start=1)]
    lines += ["", *(f"- {note}" for note in money_notes(card))]
    return "".join(f"{_printable(line)}\n" for line in lines)


def render_prices(summary: Mapping[str, Any], language: Language) -> str:
    """A price table in a few lines, as `tsugiki prices` prints it; ends with a newline."""
    currency, lacks = summary["currency"], summary["lacks"]
    lines = [price_line({"money": summary, "language": language})]
    for machine, rates in summary["machines"].items():
        lines.append(say(f"money.{machine}", language))
        lines += [f"  {line}" for line in rate_lines(rates, currency, language)]
        lines += [] if rates else [f"  {say('money.no_rate', language)}"]
    names = ("、" if language == "ja" else ", ").join(input_name(name, language) for name in lacks)
    lines.append(say("money.case_lacks" if lacks else "money.case_complete", language, names=names))
    return "".join(f"{_printable(line)}\n" for line in lines)


def _aligned(rows: list[Row]) -> list[str]:
    """Cells under each other, as wide as a terminal draws them."""
    table = [
        [row.name, *(f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in row.cells)] for row in rows
    ]
    widths = [max(columns(line[place]) for line in table) for place in range(len(table[0]))]
    return [
        "  "
        + "  ".join(f"{text}{' ' * (width - columns(text))}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]


def _numbers(card: Card) -> Iterator[tuple[str, str]]:
    language, method, task = card["language"], subject(card), card["task"]
    quality = method["quality"]
    base = next((one["quality"]["estimate"] for one in card["reference"] if one["name"] == "base"), None)
    yield say("text.method", language), name_of("method", method["name"], language)
    values = {
        "metric": name_of("metric", quality["metric"], language),
        "value": quality["estimate"],
        "interval": interval(quality["low"], quality["high"], "percent", language),
        "base": base,
    }
    yield say("text.quality", language), say("text.quality_value", language, **values)
    difference = (method["against_full"] or {}).get("difference") or {}
    yield say("text.full", language), shown(difference.get("estimate"), "points", language)
    time, memory = method["train_seconds"], method["peak_memory_bytes"]
    yield say("text.training", language), say("text.training_value", language, seconds=time, memory=memory)
    sizes = {"share": method["trainable_share"], "size": method["adapter_bytes"]}
    yield say("text.share", language), say("text.share_value", language, **sizes)
    counts = {"train": task["train"], "test": task["test"], "excluded": len(card["data"]["excluded"])}
    yield say("text.data", language), say("text.data_value", language, **counts)
    if forecasts := list(short_forecasts(card["learning_curve"], language)):
        yield say("text.forecast", language), say("forecast.joint", language).join(forecasts)
    if (card["learning_curve"] or {}).get("advice"):
        yield say("text.more_data", language), advice_sentence(card["learning_curve"], language)
    yield from _of_parts(card)
    yield from _money(card)


def _of_parts(card: Card) -> Iterator[tuple[str, str]]:
    """The weakest slice, and the shifted rows; nothing where they were not measured."""
    language, slices, shift = card["language"], card.get("slices"), card.get("shift")
    if worst := weakest(card):
        yield say("text.slices", language), say("text.slices_worst", language, **worst)
    elif slices and slices["looked_at"]:
        yield say("text.slices", language), say("text.slices_none", language, count=slices["looked_at"])
    entry = next((one for one in (shift or {}).get("methods", ()) if one["name"] == subject(card)["name"]), None)
    if entry:
        there, change = entry["shifted"], entry["change"]
        values = {
            "value": there["estimate"],
            "interval": interval(there["low"], there["high"], "percent", language),
            "change": change["estimate"],
            "ends": interval(change["low"], change["high"], "points", language),
        }
        yield say("text.shift", language), say("text.shift_value", language, **values)


def _money(card: Card) -> Iterator[tuple[str, str]]:
    """The net value a month, or what a training costs; always with the date and the source of the prices."""
    language, money = card["language"], card.get("money")
    if not money:
        return
    net, currency = money["month"]["net"], money["currency"]
    about = {name: money[name] for name in ("date", "source")}
    if net["estimate"] is not None:
        value = {
            "net": {"amount": net["estimate"], "currency": currency},
            "months": money["break_even"]["months"]["estimate"],
        }
        yield (
            say("text.money", language),
            say("text.money_value", language, **value, interval=money_interval(money, net, language), **about),
        )
    elif (cost := money["training"]["cost"]) is not None:
        yield (
            say("text.money", language),
            say("text.money_training", language, cost={"amount": cost, "currency": currency}, **about),
        )


def _printable(line: str) -> str:
    """No control character of a data file reaches the terminal."""
    return "".join(" " if unicodedata.category(character) in ("Cc", "Cf", "Zs") else character for character in line)

"""The slides of numbers: quality with intervals, what it costs, how much data is enough.

Called by `slides`. Charts are drawn natively from the rows that the page's charts are drawn from; tables are the page's
cells. Every number is the card's; one that is missing is a dash, and the reason stands below the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tsugiki.report.charts import confidence_of, cost_axes, cost_rows, cost_spoken, quality_rows, quality_spoken
from tsugiki.report.curve_words import curve_sentences
from tsugiki.report.figures import interval, shown
from tsugiki.report.scorecard import Card, criteria, method_named, subject
from tsugiki.report.slide_charts import Curve, CurveNames, Dot, bars_chart, curve_chart, dots_chart
from tsugiki.report.slide_decision import data_needed
from tsugiki.report.slide_deck import BODY, Deck, add_page
from tsugiki.report.slide_rows import write_rows
from tsugiki.report.slide_shapes import QUIET, WASH, Box, Page, block, write, write_list
from tsugiki.report.slide_table import TableCell, write_table
from tsugiki.report.slide_text import fitted
from tsugiki.report.tables import Notes, cost_table, quality_table
from tsugiki.report.words import name_of, say

CAPTION = 0.26  # height of a line above a chart
CAPTION_SIZES = (12, 11)


def quality_page(deck: Deck, card: Card) -> Page:
    """Every method and reference as a dot with its interval, and the same as a table with the gap to full."""
    language, notes = card["language"], Notes(card["language"])
    page = add_page(deck, eyebrow=say("page.methods", language), title=_quality_title(card))
    metric = name_of("metric", card["task"]["metric"], language)
    left = Box(BODY.left, BODY.top, 6.6, BODY.height)
    title = say("chart.quality", language, metric=metric)
    note = say("chart.interval", language, confidence=confidence_of(card))
    below = _caption(page, left, f"{title}  /  {note}")
    dots = [
        Dot(
            row["name"], row["value"], row["low"], row["high"],
            strong=row["name"] == name_of("short", subject(card)["name"], language), diamond=row["reference"],
        )
        for row in quality_rows(card)
    ]  # fmt: skip
    success = criteria(card).get("success")
    dots_chart(
        page,
        below,
        dots,
        metric=metric,
        criterion=None if success is None else (success, say("chart.success", language, value=success)),
        name=title,
        spoken=quality_spoken(card),
    )
    rows = quality_table(card, notes)
    head = [
        say("column.method", language),
        metric,
        say("column.interval", language, confidence=confidence_of(card)),
        say("column.against_full", language),
        say("column.margin", language),
    ]
    right = Box(left.right + 0.2, BODY.top, BODY.right - left.right - 0.2, BODY.height)
    write_rows(page, right, head, rows, notes, widths=(1.62, 0.8, 1.15, 1.2, 0.78), sizes=(12, 11, 10, 9))
    return page


def cost_page(deck: Deck, card: Card) -> Page:
    """What every method takes as a table, and beside it the load relative to full fine-tuning."""
    language, notes = card["language"], Notes(card["language"])
    page = add_page(deck, eyebrow=say("page.cost", language), title=_cost_title(card))
    axes = cost_axes(card)
    compared = len(axes) > 1 and len(card["methods"]) > 1
    width = 8.25 if compared else min(BODY.width, 3.2 + 2.3 * len(card["methods"]))
    table = Box(BODY.left, BODY.top, width, BODY.height)
    head = [say("column.measure", language), *(name_of("short", one["name"], language) for one in card["methods"])]
    note = say("slide.cost_note" if compared else "slide.cost_note_alone", language)
    widths = (2.35, *[1.5] * len(card["methods"]))
    write_rows(
        page, table, head, cost_table(card, notes), notes, widths=widths, sizes=(13, 12, 11, 10, 9), caption=note
    )
    if compared:
        right = Box(table.right + 0.3, BODY.top, BODY.right - table.right - 0.3, BODY.height)
        title = say("chart.cost", language)
        caption = f"{title}  /  {say('chart.cost_note', language)}"
        below = _caption(page, right, caption)
        shares = {axis: {row["name"]: row["share"] for row in cost_rows(card, axis, 0)} for axis in axes}
        first = subject(card)
        names = [
            name_of("short", one["name"], language) for one in sorted(card["methods"], key=lambda one: one is not first)
        ]
        bars_chart(
            page,
            below,
            [say(f"chart.{axis}", language) for axis in axes],
            {name: [shares[axis].get(name) for axis in axes] for name in names},
            name=title,
            spoken=cost_spoken(card),
        )
    return page


def data_page(deck: Deck, card: Card) -> Page:
    """The learning curve and what follows from it; where there is none, why."""
    language, curve = card["language"], _curve(card)
    page = add_page(deck, eyebrow=say("page.curve", language), title=_data_title(card))
    chart = Box(BODY.left, BODY.top, 7.3, BODY.height)
    side = Box(chart.right + 0.35, BODY.top, BODY.right - chart.right - 0.35, BODY.height)
    if curve is None:
        _without_a_curve(page, chart, card)
        _data_table(page, side, card)
        return page
    metric = name_of("metric", card["task"]["metric"], language)
    method = name_of("method", card["learning_curve"]["method"], language)
    title = say("chart.curve", language, metric=metric, method=method)
    below = _caption(page, chart, title)
    success, confidence = criteria(card).get("success"), confidence_of(card)
    names = CurveNames(
        measured=say("slide.measured", language, confidence=confidence),
        fitted=say("slide.fitted", language),
        forecast=say("slide.forecast", language),
        band=say("slide.band", language),
        criterion=say("chart.success", language, value=success),
        least=say("chart.least_data", language, n=curve.least[0] if curve.least else None),
        x_axis=say("chart.curve_x", language),
    )
    spoken = "".join(say("chart.curve_row", language, n=n, value=value) for n, value, *_ in curve.measured)
    spoken += "".join(say("chart.curve_forecast_row", language, n=n, value=value) for n, value, *_ in curve.forecast)
    curve_chart(
        page,
        below,
        curve,
        names=names,
        criterion=success,
        name=title,
        spoken=say("chart.curve_alt", language, metric=metric, rows=spoken),
    )
    upper = Box(side.left, side.top, side.width, 2.95)
    write_list(page, upper, curve_sentences(card), sizes=(15, 14, 13, 12, 11), name="Findings")
    _data_table(page, Box(side.left, upper.bottom + 0.15, side.width, side.bottom - upper.bottom - 0.15), card)
    return page


def _without_a_curve(page: Page, box: Box, card: Card) -> None:
    """Why nothing is known, what is known of the need all the same, and how to find out."""
    language = card["language"]
    block(page, box, fill=WASH, name="Block")
    texts = [
        ("", " ".join(curve_sentences(card))),
        (say("slide.needed", language), data_needed(card)),
        (say("slide.data_how", language), say("slide.data_how_value", language)),
    ]
    height = (box.height - 0.5) / len(texts)
    for number, (label, text) in enumerate(texts):
        top = box.top + 0.3 + number * height
        inner = Box(box.left + 0.35, top + (0.3 if label else 0.0), box.width - 0.7, height - (0.4 if label else 0.1))
        if label:
            place = Box(inner.left, top, inner.width, 0.26)
            write(page, place, label, sizes=(12,), bold=True, colour=QUIET, name="Label")
        write(page, inner, text, sizes=(18, 17, 16, 15, 14, 13, 12), bold=not label, name=label or "Finding")


def _caption(page: Page, box: Box, text: str) -> Box:
    """A line above a chart; what is left below it."""
    height = fitted(text, box.width, 2 * CAPTION, CAPTION_SIZES).height
    write(page, Box(box.left, box.top, box.width, height), text, sizes=CAPTION_SIZES, name="Caption")
    return Box(box.left, box.top + height + 0.05, box.width, box.height - height - 0.05)


def _quality_title(card: Card) -> str:
    language, method = card["language"], subject(card)
    quality, name = method["quality"], name_of("method", method["name"], language)
    if quality["estimate"] is None:
        return say("slide.quality_title_none", language, method=name)
    values = {"method": name, "metric": name_of("metric", quality["metric"], language), "value": quality["estimate"]}
    difference = ((method["against_full"] or {}).get("difference") or {}).get("estimate")
    if difference is not None:
        return say("slide.quality_title", language, difference=difference, **values)
    ends = interval(quality["low"], quality["high"], "percent", language)
    return say("slide.quality_title_alone", language, interval=ends, **values)


def _cost_title(card: Card) -> str:
    language, method, full = card["language"], subject(card), method_named(card, "full")
    name = name_of("method", method["name"], language)
    time, memory = method["train_seconds"], method["peak_memory_bytes"]
    if time is None or memory is None:
        return say("slide.cost_title_none", language, method=name)
    if full and full is not method and full["train_seconds"] and full["peak_memory_bytes"]:
        shares = {"memory": memory / full["peak_memory_bytes"], "time": time / full["train_seconds"]}
        return say("slide.cost_title", language, method=name, **shares)
    return say("slide.cost_title_alone", language, method=name, time=time, memory=memory)


def _data_title(card: Card) -> str:
    least, train = (card["learning_curve"] or {}).get("least_data"), card["task"]["train"]
    if not least or least["n"] is None:
        return say("slide.data_unknown", card["language"])
    key = "slide.data_enough" if least["n"] <= train else "slide.data_short"
    return say(key, card["language"], n=least["n"], train=train)


def _curve(card: Card) -> Curve | None:
    """What the chart draws; None where no size was measured."""
    curve = card["learning_curve"] or {}
    measured = list(_points(sorted(curve.get("points", ()), key=lambda point: point["n"])))
    if not measured:
        return None
    least = curve["least_data"]
    drawn = least and all(least[end] is not None for end in ("n", "low", "high"))
    return Curve(
        measured,
        list((curve["fit"] or {}).get("points", ())),
        list(_points(curve.get("forecast") or ())),
        (least["n"], least["low"], least["high"]) if drawn else None,
    )


def _points(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, float, float, float]]:
    for row in rows:
        value, low, high = (row["quality"][end] for end in ("estimate", "low", "high"))
        if value is not None and low is not None and high is not None:
            yield row["n"], value, low, high


def _data_table(page: Page, box: Box, card: Card) -> None:
    """How many rows there were, what they were used for, and how many it would take."""
    language, data, task = card["language"], card["data"], card["task"]
    needed, least = card["verdict"]["needed_examples"], (card["learning_curve"] or {}).get("least_data")
    parts = {part: task[part] for part in ("train", "dev", "test")}
    lines = [
        ("in_file", shown(data["rows"], "count", language)),
        ("excluded", shown(len(data["excluded"]), "count", language)),
        ("parts", say("slide.parts_value", language, **parts)),
    ]
    if needed is not None:
        lines.append(("to_decide", shown(needed, "count", language)))
    if least and least["n"] is not None:
        ends = {end: least[end] for end in ("n", "low", "high")}
        lines.append(("to_succeed", say("slide.to_succeed_value", language, **ends)))
    cells = [
        [TableCell(say(f"slide.{key}", language), bold=key.startswith("to_")), TableCell(value)] for key, value in lines
    ]
    head = [say("slide.data_count", language), say("slide.rows_count", language)]
    write_table(
        page,
        box,
        head,
        cells,
        widths=(2.3, 1.9),
        sizes=(13, 12, 11, 10, 9),
        name=head[0],
        described=", ".join(f"{label.text} {value.text}" for label, value in cells),
    )

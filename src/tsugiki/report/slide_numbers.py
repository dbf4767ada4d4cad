"""The slides of numbers: quality with intervals, what it costs, how much data is enough.

Called by `slides`. Charts are drawn natively from the rows that the page's charts are drawn from; tables are the page's
cells. Every number is the card's; one that is missing is a dash, and the reason stands below the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from tsugiki.report.charts import confidence_of, cost_axes, cost_rows, cost_spoken, quality_rows, quality_spoken
from tsugiki.report.figures import interval, shown
from tsugiki.report.curve_words import curve_sentences
from tsugiki.report.scorecard import Card, criteria, method_named, subject
from tsugiki.report.slide_charts import Curve, CurveNames, Dot, bars_chart, curve_chart, dots_chart
from tsugiki.report.slide_deck import BODY, Deck, add_page
from tsugiki.report.slide_shapes import FAINT, INK, QUIET, SUBJECT, Box, Page, block, write, write_list
from tsugiki.report.slide_table import TableCell, write_table
from tsugiki.report.tables import Cell, Notes, Row, cost_table, quality_table
from tsugiki.report.words import name_of, say

CAPTION = 0.26  # height of the line above a chart
FOOTNOTES = 0.62  # height of the block below a table


def quality_page(deck: Deck, card: Card) -> Page:
    """Every method and reference as a dot with its interval, and the same as a table with the gap to full."""
    language, notes = card["language"], Notes(card["language"])
    page = add_page(deck, eyebrow=say("page.methods", language), title=_quality_title(card))
    metric = name_of("metric", card["task"]["metric"], language)
    left = Box(BODY.left, BODY.top, 6.35, BODY.height)
    title = say("chart.quality", language, metric=metric)
    note = say("chart.interval", language, confidence=confidence_of(card))
    write(page, Box(left.left, left.top, left.width, CAPTION), f"{title}  /  {note}", sizes=(12, 11), name="Caption")
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
        Box(left.left, left.top + CAPTION, left.width, left.height - CAPTION),
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
    right = Box(left.right + 0.25, BODY.top, BODY.right - left.right - 0.25, BODY.height)
    _table(page, right, head, rows, notes, widths=(1.72, 0.95, 1.2, 1.25, 0.78), sizes=(12, 11, 10, 9))
    return page


def cost_page(deck: Deck, card: Card) -> Page:
    """What every method takes as a table, and beside it the load relative to full fine-tuning."""
    language, notes = card["language"], Notes(card["language"])
    page = add_page(deck, eyebrow=say("page.cost", language), title=_cost_title(card))
    axes = cost_axes(card)
    compared = bool(axes) and len(card["methods"]) > 1
    table = Box(BODY.left, BODY.top, 8.25 if compared else BODY.width, BODY.height)
    head = [say("column.measure", language), *(name_of("short", one["name"], language) for one in card["methods"])]
    note = say("slide.cost_note" if compared else "slide.cost_note_alone", language)
    widths = (2.35, *[1.5] * len(card["methods"]))
    _table(page, table, head, cost_table(card, notes), notes, widths=widths, sizes=(13, 12, 11, 10, 9), caption=note)
    if compared:
        right = Box(table.right + 0.3, BODY.top, BODY.right - table.right - 0.3, BODY.height)
        title = say("chart.cost", language)
        caption = f"{title}  /  {say('chart.cost_note', language)}"
        write(page, Box(right.left, right.top, right.width, 2 * CAPTION), caption, sizes=(12, 11, 10), name="Caption")
        shares = {axis: {row["name"]: row["share"] for row in cost_rows(card, axis, 0)} for axis in axes}
        first = subject(card)
        names = [
            name_of("short", one["name"], language) for one in sorted(card["methods"], key=lambda one: one is not first)
        ]
        bars_chart(
            page,
            Box(right.left, right.top + 2 * CAPTION, right.width, right.height - 2 * CAPTION),
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
    chart = Box(BODY.left, BODY.top, 7.7, BODY.height)
    side = Box(chart.right + 0.35, BODY.top, BODY.right - chart.right - 0.35, BODY.height)
    if curve is None:
        block(page, Box(chart.left, chart.top, 0.08, 2.2), fill=FAINT, name="Bar")
        text = Box(chart.left + 0.3, chart.top, chart.width - 0.3, 2.2)
        write(page, text, "\n".join(curve_sentences(card)), sizes=(22, 20, 18, 16), name="Finding", anchor="middle")
        _data_table(page, side, card)
        return page
    metric = name_of("metric", card["task"]["metric"], language)
    method = name_of("method", card["learning_curve"]["method"], language)
    title = say("chart.curve", language, metric=metric, method=method)
    write(page, Box(chart.left, chart.top, chart.width, CAPTION), title, sizes=(12, 11), name="Caption")
    success, confidence = criteria(card).get("success"), confidence_of(card)
    names = CurveNames(
        measured=say("slide.measured", language, confidence=confidence),
        fitted=say("slide.fitted", language),
        band=say("slide.band", language),
        criterion=say("chart.success", language, value=success),
        least=say("chart.least_data", language, n=curve.least[0] if curve.least else None),
        x_axis=say("chart.curve_x", language),
    )
    spoken = "".join(say("chart.curve_row", language, n=n, value=value) for n, value, *_ in curve.measured)
    curve_chart(
        page,
        Box(chart.left, chart.top + CAPTION, chart.width, chart.height - CAPTION),
        curve,
        names=names,
        criterion=success,
        name=title,
        spoken=say("chart.curve_alt", language, metric=metric, rows=spoken),
    )
    upper = Box(side.left, side.top, side.width, 1.9)
    more = lambda count: say("slide.more", language, count=count)  # noqa: E731
    write_list(page, upper, curve_sentences(card), sizes=(16, 15, 14, 13, 12), name="Findings", more=more)
    _data_table(page, Box(side.left, side.top + 2.05, side.width, side.height - 2.05), card)
    return page


def _table(
    page: Page,
    box: Box,
    head: Sequence[str],
    rows: Sequence[Row],
    notes: Notes,
    *,
    widths: Sequence[float],
    sizes: Sequence[float],
    caption: str = "",
) -> None:
    """A table of the page as a native one, with its footnotes at the foot of the box."""
    footnotes = [f"{number}  {text}" for number, text in enumerate(notes.texts, start=1)]
    if caption:
        footnotes.insert(0, caption)
    room = FOOTNOTES if footnotes else 0.0
    emphasis = next((place for place, row in enumerate(rows) if row.emphasis), None)
    end = write_table(
        page,
        Box(box.left, box.top, box.width, box.height - room),
        head,
        [_cells(row) for row in rows],
        widths=widths,
        sizes=sizes,
        name=head[0],
        described=_spoken(head, rows),
        emphasis=emphasis,
    )
    if footnotes:
        below = Box(box.left, end + 0.08, box.width, box.bottom - end - 0.08)
        write(page, below, "\n".join(footnotes), sizes=(11, 10, 9), colour=QUIET, name="Footnotes")


def _cells(row: Row) -> list[TableCell]:
    colour = SUBJECT if row.emphasis else QUIET if row.reference else INK
    name = TableCell(row.name, bold=row.emphasis, colour=colour)
    return [name, *(_cell(cell, QUIET if row.reference else INK, bold=row.emphasis) for cell in row.cells)]


def _cell(cell: Cell, colour: str, *, bold: bool) -> TableCell:
    return TableCell(cell.text, cell.detail, cell.note, bold, colour)


def _spoken(head: Sequence[str], rows: Sequence[Row]) -> str:
    """What the table is about; its cells are read out as cells."""
    return f"{', '.join(head)}: {', '.join(row.name for row in rows)}"


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
    points = sorted(curve.get("points", ()), key=lambda point: point["n"])
    measured = [
        (point["n"], *(point["quality"][end] for end in ("estimate", "low", "high")))
        for point in points
        if all(point["quality"][end] is not None for end in ("estimate", "low", "high"))
    ]
    if not measured:
        return None
    least = curve["least_data"]
    drawn = least and all(least[end] is not None for end in ("n", "low", "high"))
    return Curve(
        measured,
        list((curve["fit"] or {}).get("points", ())),
        (least["n"], least["low"], least["high"]) if drawn else None,
    )


def _data_table(page: Page, box: Box, card: Card) -> None:
    """How many rows there were, what they were used for, and how many it would take."""
    language, data, task = card["language"], card["data"], card["task"]
    rows = [
        ("in_file", data["rows"]),
        ("excluded", len(data["excluded"])),
        ("used", data["used"]),
        *((part, task[part]) for part in ("train", "dev", "test")),
    ]
    cells = [
        [TableCell(say(f"slide.{key}", language)), TableCell(shown(count, "count", language))] for key, count in rows
    ]
    needed, least = card["verdict"]["needed_examples"], (card["learning_curve"] or {}).get("least_data")
    if needed is not None:
        label = TableCell(say("slide.to_decide", language), bold=True)
        cells.append([label, TableCell(shown(needed, "count", language), bold=True)])
    if least and least["n"] is not None:
        value = say("slide.to_succeed_value", language, **{end: least[end] for end in ("n", "low", "high")})
        cells.append([TableCell(say("slide.to_succeed", language), bold=True), TableCell(value, bold=True)])
    head = [say("slide.data_count", language), say("slide.rows_count", language)]
    write_table(
        page,
        box,
        head,
        cells,
        widths=(2.5, 1.5),
        sizes=(13, 12, 11, 10, 9),
        name=head[0],
        described=", ".join(f"{label.text} {value.text}" for label, value in cells),
    )

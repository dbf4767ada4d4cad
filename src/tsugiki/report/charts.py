"""The charts of the scorecard as inline SVG: quality per method, learning curve, load relative to full fine-tuning.

Called by `html`. Sizes, paddings and domains are fixed here and no layout depends on measured text, so that the same
card gives the same bytes on every machine; text stays text and is drawn with the reader's fonts. One dark colour
marks the method the verdict is about, everything else is grey: it prints, and no one has to tell hues apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import altair as alt
import vl_convert

from tsugiki.report.figures import Language, interval, shown
from tsugiki.report.scorecard import Card, criteria, method_named, subject
from tsugiki.report.words import name_of, say

FONTS = (
    "'Noto Sans CJK JP', 'Noto Sans JP', 'Hiragino Sans', 'Hiragino Kaku Gothic ProN', 'Yu Gothic', Meiryo, sans-serif"
)
INK, SUBJECT, OTHER, FAINT, HAIR = "#1d252c", "#0b4f8a", "#6b7780", "#9aa5ad", "#dde2e6"
COST_AXES = ("peak_memory_bytes", "train_seconds", "adapter_bytes")
CURVE_WIDTH = 640
_ROW = 18
_PANEL = 0.56  # share of a panel's width that the longest bar takes; the rest is for its label


@dataclass(frozen=True)
class Chart:
    """A drawing without its heading: the page sets title and note in its own type."""

    title: str
    note: str
    svg: str


def quality_chart(card: Card) -> Chart:
    """Each method's quality with its interval; each reference below, with a line up through the methods."""
    language, rows = card["language"], list(quality_rows(card))
    names = [row["name"] for row in rows]
    measured = [row for row in rows if row["value"] is not None]
    y = alt.Y("name:N", sort=names, title=None, scale=alt.Scale(domain=names, padding=0.5), axis=_name_axis(84))
    x = alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=_percent_axis("bottom"))
    colour = alt.Color("colour:N", scale=None)
    base = _chart(measured)
    references = [row | {"top": names[0]} for row in measured if row["reference"]]
    layers = [
        _chart(references).mark_rule(strokeDash=[1, 3], color=FAINT).encode(x=x, y=y, y2="top:N"),
        *_criterion(card, "x"),
        base.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour),
        base.mark_point(filled=True, opacity=1).encode(
            y=y, x=x, color=colour, shape=alt.Shape("shape:N", scale=None), size=alt.Size("size:Q", scale=None)
        ),
        _chart(rows)
        .mark_text(align="right", fontSize=11, fontWeight="bold")
        .encode(y=y, x=alt.value(256), text="label:N", color=colour),
    ]
    metric = name_of("metric", card["task"]["metric"], language)
    return drawn(
        alt.layer(*layers).properties(width=212, height=_ROW * len(rows)),
        title=say("chart.quality", language, metric=metric),
        note=say("chart.interval", language, confidence=confidence_of(card)),
        spoken=quality_spoken(card),
        padding={"left": 88, "right": 48, "top": 18, "bottom": 24},
        key="quality",
    )


def curve_chart(card: Card) -> Chart | None:
    """Quality against training rows with intervals, the fitted curve, and the data it takes; None when not measured."""
    curve, language = card["learning_curve"], card["language"]
    measured = [
        {"n": point["n"], **_ends(point["quality"])}
        for point in sorted((curve or {}).get("points", ()), key=lambda point: point["n"])
        if point["quality"]["estimate"] is not None
    ]
    if not measured:
        return None
    metric = name_of("metric", card["task"]["metric"], language)
    fitted = list((curve["fit"] or {}).get("points", ()))
    ahead = [{"n": row["n"], **_ends(row["quality"])} for row in curve.get("forecast") or ()]
    largest = measured[-1]["n"]
    ticks = [row["n"] for row in (*measured, *ahead)]
    sizes = [*ticks, *(row["n"] for row in fitted)]
    domain = [min(sizes) * 0.85, max(sizes) * 1.18]
    x = alt.X("n:Q", title=None, scale=alt.Scale(type="log", domain=domain, nice=False), axis=_count_axis(ticks))
    y = alt.Y("estimate:Q", title=None, scale=alt.Scale(domain=[0, 1], clamp=True), axis=_percent_axis("left"))
    dots = _chart([row | _curve_label(row, card) for row in measured])
    layers = [
        *_least_data(curve, x, domain, language),
        *_fitted_line(fitted, largest, x, y),
        *_criterion(card, "y", at_end=abs(measured[0]["estimate"] - criteria(card).get("success", 0)) < 0.15),
        dots.mark_rule(color=SUBJECT, strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        dots.mark_point(filled=True, opacity=1, size=70, color=SUBJECT).encode(x=x, y=y),
        dots.mark_text(fontWeight="bold", color=SUBJECT).encode(x=x, y=alt.Y("label_at:Q"), text="label:N"),
        *_forecast_points(ahead, card, x, y),
    ]
    spoken = "".join(say("chart.curve_row", language, n=row["n"], value=row["estimate"]) for row in measured)
    spoken += "".join(say("chart.curve_forecast_row", language, n=row["n"], value=row["estimate"]) for row in ahead)
    legend = "curve_legend_forecast" if ahead else "curve_legend" if fitted else "curve_legend_bare"
    return drawn(
        alt.layer(*layers).properties(width=CURVE_WIDTH, height=190),
        title=say("chart.curve", language, metric=metric, method=name_of("method", curve["method"], language)),
        note=f"{say(f'chart.{legend}', language, confidence=confidence_of(card))} / {say('chart.curve_x', language)}",
        spoken=say("chart.curve_alt", language, metric=metric, rows=spoken),
        padding={"left": 44, "right": 16, "top": 18, "bottom": 24},
        key="curve",
    )


def cost_chart(card: Card) -> Chart | None:
    """Memory, time and size of each method as a share of full fine-tuning's; None without numbers of full."""
    language, full = card["language"], method_named(card, "full")
    axes = cost_axes(card)
    bars = [row for index, axis in enumerate(axes) for row in cost_rows(card, axis, index)]
    if full is None or len(card["methods"]) < 2 or not bars:
        return None
    names = [name_of("short", method["name"], language) for method in card["methods"]]
    heads = [{"left": index, "text": say(f"chart.{axis}", language)} for index, axis in enumerate(axes)]
    y = alt.Y("name:N", sort=names, title=None, scale=alt.Scale(domain=names, padding=0.35), axis=_name_axis(70))
    scale = alt.Scale(domain=[0, len(COST_AXES)])
    x = alt.X("left:Q", title=None, scale=scale, axis=None)
    chart = _chart(bars)
    layers = [
        chart.mark_bar().encode(y=y, x=x, x2="right:Q", color=alt.Color("colour:N", scale=None)),
        chart.mark_text(align="left", dx=4).encode(
            y=y, x=alt.X("right:Q", scale=scale, axis=None), text="label:N", color=alt.Color("colour:N", scale=None)
        ),
        _chart(heads).mark_text(align="left", color=INK, fontWeight="bold").encode(x=x, y=alt.value(-8), text="text:N"),
    ]
    return drawn(
        alt.layer(*layers).properties(width=272, height=_ROW * 1.6 * len(names)),
        title=say("chart.cost", language),
        note=say("chart.cost_note", language),
        spoken=cost_spoken(card),
        padding={"left": 74, "right": 4, "top": 24, "bottom": 4},
        key="cost",
    )


def confidence_of(card: Card) -> float:
    return criteria(card).get("confidence", 0.95)


def quality_spoken(card: Card) -> str:
    """The chart of qualities for who cannot see it."""
    language, metric = card["language"], name_of("metric", card["task"]["metric"], card["language"])
    rows = "".join(
        say("chart.quality_row", language, name=row["name"], value=row["value"], interval=row["interval"])
        for row in quality_rows(card)
    )
    return say("chart.quality_alt", language, metric=metric, rows=rows)


def cost_spoken(card: Card) -> str:
    language = card["language"]
    rows = "".join(
        say("chart.cost_row", language, name=row["name"], axis=row["axis"], value=row["share"])
        for index, axis in enumerate(cost_axes(card))
        for row in cost_rows(card, axis, index)
    )
    return say("chart.cost_alt", language, rows=rows)


def cost_axes(card: Card) -> list[str]:
    """What can be set against full fine-tuning: that of which it has a number."""
    full = method_named(card, "full")
    return [axis for axis in COST_AXES if full and full[axis]]


def quality_rows(card: Card) -> Iterator[dict[str, Any]]:
    main = subject(card)["name"]
    for entry in (*card["methods"], *card["reference"]):
        quality, reference = entry["quality"], "plan" not in entry
        yield {
            "name": name_of("short", entry["name"], card["language"]),
            "reference": reference,
            "value": quality["estimate"],
            "low": quality["low"],
            "high": quality["high"],
            "label": shown(quality["estimate"], "percent", card["language"]),
            "interval": interval(quality["low"], quality["high"], "percent", card["language"]),
            "colour": SUBJECT if entry["name"] == main and not reference else OTHER,
            "shape": "diamond" if reference else "circle",
            "size": 34 if reference else 74,
        }


def cost_rows(card: Card, axis: str, index: int) -> Iterator[dict[str, Any]]:
    full = method_named(card, "full")
    shares = [(method["name"], method[axis] / full[axis]) for method in card["methods"] if full and method[axis]]
    longest = max(share for _, share in shares)
    for name, share in shares:
        yield {
            "name": name_of("short", name, card["language"]),
            "axis": say(f"chart.{axis}", card["language"]),
            "share": share,
            "left": index,
            "right": index + max(share / longest, 0.01) * _PANEL,
            "label": shown(share, "share", card["language"]),
            "colour": SUBJECT if name == subject(card)["name"] else OTHER,
        }


def _criterion(card: Card, across: Literal["x", "y"], *, at_end: bool = False) -> list[alt.Chart]:
    """The success criterion as a dashed line across the chart, named where it begins, or `at_end` where it ends."""
    success = criteria(card).get("success")
    if success is None:
        return []
    language: Language = card["language"]
    values = [{"at": success, "text": say("chart.success", language, value=success)}]
    line = _chart(values).mark_rule(strokeDash=[5, 3], color=INK, strokeWidth=1)
    scale = alt.Scale(domain=[0, 1])
    if across == "x":
        x = alt.X("at:Q", scale=scale)
        name = _chart(values).mark_text(dy=-8, color=INK, fontSize=10)
        return [line.encode(x=x), name.encode(x=x, y=alt.value(0), text="text:N")]
    y = alt.Y("at:Q", scale=scale)
    name = _chart(values).mark_text(align="right" if at_end else "left", dy=-7, color=INK, fontSize=10)
    return [line.encode(y=y), name.encode(x=alt.value(CURVE_WIDTH - 4 if at_end else 4), y=y, text="text:N")]


def _curve_label(row: Mapping[str, Any], card: Card) -> dict[str, Any]:
    """Below the interval, unless the line of the success criterion runs there or the chart ends."""
    success, below = criteria(card).get("success"), row["low"] - 0.06
    crossed = success is not None and abs(below - success) < 0.06
    at = row["high"] + 0.06 if crossed or below < 0.03 else below
    return {"label": shown(row["estimate"], "percent", card["language"]), "label_at": at}


def _fitted_line(fitted: list[dict[str, Any]], last: int, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The fit with its band: drawn through as far as it was measured, dashed beyond."""
    if not fitted:
        return []
    within = [row for row in fitted if row["n"] <= last]
    return [
        _chart(fitted).mark_area(color=SUBJECT, opacity=0.1).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        _chart(within).mark_line(color=SUBJECT, strokeWidth=1.5).encode(x=x, y=y),
        _chart(fitted[max(len(within) - 1, 0) :])
        .mark_line(color=SUBJECT, strokeWidth=1.5, strokeDash=[4, 4])
        .encode(x=x, y=y),
    ]


def _forecast_points(ahead: list[dict[str, Any]], card: Card, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Open points with thin bars: nothing was measured there."""
    if not ahead:
        return []
    dots = _chart([row | _curve_label(row, card) for row in ahead])
    return [
        dots.mark_rule(color=SUBJECT, strokeWidth=1, strokeDash=[2, 2]).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        dots.mark_point(filled=True, opacity=1, size=60, color="#ffffff", stroke=SUBJECT).encode(x=x, y=y),
        dots.mark_text(color=SUBJECT).encode(x=x, y=alt.Y("label_at:Q"), text="label:N"),
    ]


def _ends(quality: Mapping[str, Any]) -> dict[str, Any]:
    return {end: quality[end] for end in ("estimate", "low", "high")}


def _least_data(curve: Mapping[str, Any], x: alt.X, domain: list[float], language: Language) -> list[alt.Chart]:
    """The estimated need of data as a grey band, as far as it lies on the chart."""
    least = curve["least_data"]
    if not least or least["n"] is None or least["low"] is None or least["high"] is None:
        return []
    low, high = max(least["low"], domain[0]), min(least["high"], domain[1])
    if low >= high:
        return []
    text = say("chart.least_data", language, n=least["n"])
    late = low * high > domain[0] * domain[1]  # in the right half, where the label runs to the left
    chart = _chart([{"n": low, "to": high, "label_at": high if late else low, "text": text}])
    place = alt.X("label_at:Q", scale=alt.Scale(type="log", domain=domain, nice=False))
    name = chart.mark_text(align="right" if late else "left", color=INK, fontSize=10)
    return [
        chart.mark_rect(color=FAINT, opacity=0.2).encode(x=x, x2="to:Q", y=alt.value(0), y2=alt.value(190)),
        name.encode(x=place, y=alt.value(-8), text="text:N"),
    ]


def _name_axis(width: int) -> alt.Axis:
    return alt.Axis(
        domain=False, ticks=False, labelPadding=8, labelLimit=0, labelOverlap=False, minExtent=width, maxExtent=width
    )


def _percent_axis(side: str) -> alt.Axis:
    return alt.Axis(
        values=[0, 0.25, 0.5, 0.75, 1],
        labelExpr="round(datum.value * 100) + '%'",
        orient="bottom" if side == "bottom" else "left",
        grid=True,
        domain=False,
        ticks=False,
        labelOverlap=False,
        labelFlush=False,
        minExtent=20,
        maxExtent=20,
    )


def _count_axis(ticks: list[int]) -> alt.Axis:
    return alt.Axis(
        values=ticks,
        format=",d",
        grid=False,
        ticks=True,
        labelOverlap=False,
        labelFlush=False,
        minExtent=20,
        maxExtent=20,
    )


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def drawn(
    chart: alt.LayerChart | alt.FacetChart, *, title: str, note: str, spoken: str, padding: Mapping[str, int], key: str
) -> Chart:
    """Draw without any measured layout, then make it fit for a page: no outside names, a spoken description."""
    spec = (
        chart.properties(padding=dict(padding), autosize=alt.AutoSizeParams(type="none"), background="#00000000")
        .configure(font=FONTS, aria=False)
        .configure_view(stroke=None)
        .configure_axis(labelColor=INK, labelFontSize=11, gridColor=HAIR, domainColor=FAINT, tickColor=FAINT)
        .configure_text(fontSize=11)
    )
    drawn = vl_convert.vegalite_to_svg(spec.to_dict())
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn)
    drawn = re.sub(r'\b(id="|url\(#)', rf"\g<1>{key}-", drawn)
    head = f'<svg role="img" aria-label="{escape(spoken.strip())}"'
    return Chart(title, note, drawn.replace("<svg", head, 1))

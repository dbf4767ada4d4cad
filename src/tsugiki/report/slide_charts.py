"""Native charts, editable in any office program, that show intervals: quality, learning curve, load, money.

Called by `slide_numbers` and `slide_money` with plain rows. Each chart carries a workbook with its numbers, the ends of
the intervals among them, to which its error bars are linked: whoever edits the data moves dots and bars. A missing
number is a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE, XL_LABEL_POSITION, XL_MARKER_STYLE, XL_TICK_LABEL_POSITION
from pptx.enum.dml import MSO_LINE

from tsugiki.report.slide_chart_parts import (
    add_error_bars,
    added,
    axis_of_counts,
    axis_of_names,
    axis_of_shares,
    draw_line,
    hide_labels,
    label_point,
    label_values,
    paint,
    reaches,
    set_legend,
    set_workbook,
)
from tsugiki.report.slide_shapes import FAINT, INK, OTHER, SUBJECT, Box, Page
from tsugiki.report.slide_text import POINTS, ems

PERCENT = "0.0%"
SHARE = "[<0.095]0.0%;0%"  # two digits, small shares too
LIGHT = "B9D0E4"  # of a forecast
_SHADES = (SUBJECT, "8A959D", "B3BCC2", "3F4A53")  # bars: the subject first, greys that differ in print


@dataclass(frozen=True)
class Dot:
    """A measured value with its interval; all three are shares, or None."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    strong: bool = False
    diamond: bool = False


@dataclass(frozen=True)
class Curve:
    """Points (n, value, low, high) measured and forecast, the fit with its band, and the data it takes."""

    measured: Sequence[tuple[int, float, float, float]]
    fitted: Sequence[Mapping[str, float]] = ()  # n, estimate, low, high
    forecast: Sequence[tuple[int, float, float, float]] = ()
    least: tuple[float, float, float] | None = None  # n, low, high


@dataclass(frozen=True)
class CurveNames:
    """What the legend and the axis say, in the reader's language."""

    measured: str
    fitted: str
    forecast: str
    band: str
    criterion: str
    least: str
    x_axis: str


def dots_chart(
    page: Page,
    box: Box,
    dots: Sequence[Dot],
    *,
    metric: str,
    criterion: tuple[float, str] | None,
    name: str,
    spoken: str,
) -> None:
    """One dot with its interval per method and reference, and the criterion as a dashed line."""
    data = CategoryChartData()
    data.categories = [dot.name for dot in dots]
    if criterion:  # first, so that the dots lie on its line
        data.add_series(criterion[1], [criterion[0]] * len(dots))
    data.add_series(metric, [dot.value for dot in dots])
    chart = added(page, box, XL_CHART_TYPE.LINE_MARKERS, data, name, spoken)
    axis_of_shares(
        chart.value_axis, [dot.high for dot in dots] + [dot.value for dot in dots] + [criterion and criterion[0]]
    )
    room = (box.width - 0.6) / len(dots) * POINTS * 0.95
    widest = max(ems(dot.name, japanese=page.language == "ja") for dot in dots)
    axis_of_names(chart.category_axis, next((size for size in (11, 10) if widest * size <= room), 9))
    values = chart.plots[0].series[-1]
    values.format.line.fill.background()
    values.smooth = False
    for point, dot in enumerate(dots):
        marker = values.points[point].marker
        marker.style = XL_MARKER_STYLE.DIAMOND if dot.diamond else XL_MARKER_STYLE.CIRCLE
        marker.size = 8 if dot.diamond else 11
        paint(marker.format, SUBJECT if dot.strong else OTHER)
    label_values(values, PERCENT, backed=True)
    hide_labels(values, [place for place, dot in enumerate(dots) if dot.diamond])  # they stand close to the axis
    ends = [reaches(dot.value, dot.low, dot.high) for dot in dots]
    columns = ("E", "F") if criterion else ("D", "E")
    add_error_bars(values, "y", ends, [f"Sheet1!${column}$2:${column}${len(dots) + 1}" for column in columns], OTHER)
    if criterion:
        line = chart.plots[0].series[0]
        draw_line(line, INK, 1.25, MSO_LINE.DASH)
        line.smooth = False
        label_point(line.points[len(dots) - 1], criterion[1], page, XL_LABEL_POSITION.ABOVE)
    rows: list[list[Any]] = [["", *([criterion[1]] if criterion else []), metric, "", "−", "+"]]
    rows += [
        [dot.name, *([criterion[0]] if criterion else []), dot.value, None, *pair]
        for dot, pair in zip(dots, ends, strict=True)
    ]
    set_workbook(chart, rows)


def curve_chart(
    page: Page, box: Box, curve: Curve, *, names: CurveNames, criterion: float | None, name: str, spoken: str
) -> None:
    """Measured qualities with intervals over a logarithmic axis of training rows, the fit, and the least data."""
    lines = _curve_lines(curve, names, criterion)
    data = XyChartData()
    for line in lines:
        series = data.add_series(line.name)
        for x, y in line.points:
            series.add_data_point(x, y)
    chart = added(page, box, XL_CHART_TYPE.XY_SCATTER_LINES_NO_MARKERS, data, name, spoken)
    tops = [high for *_, high in (*curve.measured, *curve.forecast)]
    tops += [*([] if criterion is None else [criterion]), *(row["high"] for row in curve.fitted)]
    axis_of_shares(chart.value_axis, tops)
    axis_of_counts(chart.category_axis, [x for line in lines for x, _ in line.points], names.x_axis)
    rows: list[list[Any]] = []
    for series, line in zip(chart.plots[0].series, lines, strict=True):
        first = len(rows) + 2
        rows.append([None, line.name, "−", "+"] if line.ends else [None, line.name])
        ends: Sequence[tuple[Any, ...]] = line.ends or [()] * len(line.points)
        rows += [[*point, *pair] for point, pair in zip(line.points, ends, strict=True)]
        rows.append([])
        _style_curve(series, line, first)
    set_legend(chart, hidden=[index for index, line in enumerate(lines) if not line.in_legend])
    set_workbook(chart, rows)


def bars_chart(
    page: Page, box: Box, groups: Sequence[str], bars: Mapping[str, Sequence[float | None]], *, name: str, spoken: str
) -> None:
    """Horizontal bars in groups, a bar for each name of `bars` (the subject first), with their shares beside them."""
    data = CategoryChartData()
    data.categories = list(groups)
    for series_name, values in bars.items():
        data.add_series(series_name, list(values))
    chart = added(page, box, XL_CHART_TYPE.BAR_CLUSTERED, data, name, spoken)
    plot = chart.plots[0]
    plot.gap_width, plot.overlap = 45, 0
    for series, shade in zip(plot.series, _SHADES, strict=False):
        paint(series.format, shade)
        series.format.line.fill.background()
        label_values(series, SHARE, XL_LABEL_POSITION.OUTSIDE_END)
    chart.category_axis.reverse_order = True
    axis_of_names(chart.category_axis)
    longest = max((value for values in bars.values() for value in values if value is not None), default=1.0)
    axis = chart.value_axis
    axis.minimum_scale, axis.maximum_scale, axis.visible = 0, longest * 1.2, False  # room for the labels
    axis.has_major_gridlines = False
    set_legend(chart)
    rows: list[list[Any]] = [
        ["", *bars],
        *[[group, *values] for group, *values in zip(groups, *bars.values(), strict=True)],
    ]
    set_workbook(chart, rows)


def spread_chart(
    page: Page,
    box: Box,
    rows: Sequence[tuple[str, float, float]],
    *,
    ends: tuple[str, str],
    number_format: str,
    name: str,
    spoken: str,
) -> None:
    """For each row two bars from the middle: what changes when it goes to its lower and to its upper end."""
    data = CategoryChartData()
    data.categories = [row[0] for row in rows]
    for side, end in enumerate(ends, start=1):
        data.add_series(end, [row[side] for row in rows])
    chart = added(page, box, XL_CHART_TYPE.BAR_CLUSTERED, data, name, spoken)
    plot = chart.plots[0]
    plot.gap_width, plot.overlap = 60, 100
    for side, (series, shade) in enumerate(zip(plot.series, (_SHADES[1], SUBJECT), strict=True), start=1):
        paint(series.format, shade)
        series.format.line.fill.background()
        series.invert_if_negative = False
        label_values(series, number_format, XL_LABEL_POSITION.OUTSIDE_END, size=9)
        # Both ends on one side of the middle: only the outer bar is labelled.
        inner = [
            place
            for place, (_, *both) in enumerate(rows)
            if both[0] * both[1] > 0 and abs(both[side - 1]) < abs(both[2 - side])
        ]
        hide_labels(series, inner)
    chart.category_axis.reverse_order = True
    axis_of_names(chart.category_axis, size=9)
    chart.category_axis.tick_label_position = XL_TICK_LABEL_POSITION.LOW
    reach = max((abs(end) for row in rows for end in row[1:]), default=1.0) or 1.0
    axis = chart.value_axis
    axis.minimum_scale, axis.maximum_scale, axis.visible = -1.6 * reach, 1.6 * reach, False  # room for the labels
    axis.has_major_gridlines = False
    set_legend(chart)
    set_workbook(chart, [["", *ends], *rows])


@dataclass(frozen=True)
class _Line:
    name: str
    points: Sequence[tuple[float, float]]
    colour: str = SUBJECT
    width: float = 1.5  # points; 0 for dots without a line
    dashed: bool = False
    marker: Any = None
    light: bool = False
    in_legend: bool = True
    values: bool = False  # label every point with its own value
    ends: Sequence[tuple[float | None, float | None]] = ()
    across: str = "y"  # direction of the error bars


def _curve_lines(curve: Curve, names: CurveNames, criterion: float | None) -> list[_Line]:
    last = curve.measured[-1][0]
    fitted = [(row["n"], row["estimate"]) for row in curve.fitted]
    within = [point for point in fitted if point[0] <= last]
    beyond = fitted[max(len(within) - 1, 0) :]
    lines = [
        _Line(
            names.measured, [(n, value) for n, value, *_ in curve.measured], width=0, marker=XL_MARKER_STYLE.CIRCLE,
            values=True, ends=[reaches(*point[1:]) for point in curve.measured],
        )
    ]  # fmt: skip
    if fitted:
        lines += [_Line(names.fitted, within), _Line(names.fitted, beyond, dashed=True, in_legend=False)]
        band = [[(row["n"], row[end]) for row in curve.fitted] for end in ("low", "high")]
        lines += [_Line(names.band, edge, FAINT, 1.0, in_legend=edge is band[0]) for edge in band]
    if curve.forecast:
        lines.append(
            _Line(
                names.forecast, [(n, value) for n, value, *_ in curve.forecast], width=0, marker=XL_MARKER_STYLE.CIRCLE,
                light=True, values=True, ends=[reaches(*point[1:]) for point in curve.forecast],
            )
        )  # fmt: skip
    if criterion is not None:
        reach = [x for line in lines for x, _ in line.points]
        ends_of_line = [(min(reach), criterion), (max(reach), criterion)]
        lines.append(_Line(names.criterion, ends_of_line, INK, 1.25, dashed=True))
    if curve.least and criterion is not None:
        n, low, high = curve.least
        lines.append(
            _Line(
                names.least, [(n, criterion)], INK, 0.0, marker=XL_MARKER_STYLE.DIAMOND, ends=[(n - low, high - n)],
                across="x",
            )
        )  # fmt: skip
    # LibreOffice loses a series that is followed by a longer one.
    return sorted((line for line in lines if line.points), key=lambda line: -len(line.points))


def _style_curve(series: Any, line: _Line, first: int) -> None:
    """`first` is the row of the workbook where the line's numbers begin."""
    series.smooth = False
    if line.width:
        draw_line(series, line.colour, line.width, MSO_LINE.DASH if line.dashed else MSO_LINE.SOLID)
    else:
        series.format.line.fill.background()
    series.marker.style = line.marker or XL_MARKER_STYLE.NONE
    if line.marker:
        series.marker.size = 9
        paint(series.marker.format, line.colour, LIGHT if line.light else line.colour)
    if line.values:
        label_values(series, PERCENT, backed=True)
    if line.ends:
        last = first + len(line.points) - 1
        add_error_bars(series, line.across, line.ends, [f"Sheet1!${c}${first}:${c}${last}" for c in "CD"], line.colour)

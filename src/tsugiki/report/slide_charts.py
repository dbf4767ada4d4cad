"""Native charts, editable in any office program, that show intervals: quality, learning curve, load, money.

Called by `slide_numbers` and `slide_money` with plain rows. What python-pptx has no words for (error bars, a
logarithmic axis) is put into its XML here. Each chart carries a workbook with its numbers, the ends of the intervals
among them, to which its error bars are linked: whoever edits the data moves dots and bars. A missing number is a gap,
never a zero.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pptx.chart.data import CategoryChartData, XyChartData
from pptx.chart.datalabel import DataLabels
from pptx.dml.color import RGBColor
from pptx.enum.chart import (
    XL_CHART_TYPE,
    XL_LABEL_POSITION,
    XL_LEGEND_POSITION,
    XL_MARKER_STYLE,
    XL_TICK_LABEL_POSITION,
    XL_TICK_MARK,
)
from pptx.enum.dml import MSO_LINE
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Inches, Pt
from xlsxwriter import Workbook

from tsugiki.report.slide_shapes import FAINT, HAIR, INK, OTHER, PAPER, SUBJECT, Box, Page, describe, set_typefaces
from tsugiki.report.slide_text import POINTS, ems

PERCENT, COUNT = "0.0%", "#,##0"
SHARE = "[<0.095]0.0%;0%"  # two digits, small shares too
_TOPS = (0.25, 0.5, 1.0)  # where an axis of shares may end
_MADE = datetime(2000, 1, 1)  # of the workbooks inside, which have no time of their own
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
    chart = _added(page, box, XL_CHART_TYPE.LINE_MARKERS, data, name, spoken)
    _axis_of_shares(
        chart.value_axis, [dot.high for dot in dots] + [dot.value for dot in dots] + [criterion and criterion[0]]
    )
    room = (box.width - 0.6) / len(dots) * POINTS * 0.95
    widest = max(ems(dot.name, japanese=page.language == "ja") for dot in dots)
    _axis_of_names(chart.category_axis, next((size for size in (11, 10) if widest * size <= room), 9))
    values = chart.plots[0].series[-1]
    values.format.line.fill.background()
    values.smooth = False
    for point, dot in enumerate(dots):
        marker = values.points[point].marker
        marker.style = XL_MARKER_STYLE.DIAMOND if dot.diamond else XL_MARKER_STYLE.CIRCLE
        marker.size = 8 if dot.diamond else 11
        _paint(marker.format, SUBJECT if dot.strong else OTHER)
    _label_values(values, PERCENT, backed=True)
    _hide_labels(values, [place for place, dot in enumerate(dots) if dot.diamond])  # they stand close to the axis
    ends = [_ends(dot.value, dot.low, dot.high) for dot in dots]
    columns = ("E", "F") if criterion else ("D", "E")
    _add_error_bars(values, "y", ends, [f"Sheet1!${column}$2:${column}${len(dots) + 1}" for column in columns], OTHER)
    if criterion:
        line = chart.plots[0].series[0]
        _draw_line(line, INK, 1.25, MSO_LINE.DASH)
        line.smooth = False
        _label_point(line.points[len(dots) - 1], criterion[1], page, XL_LABEL_POSITION.ABOVE)
    rows: list[list[Any]] = [["", *([criterion[1]] if criterion else []), metric, "", "−", "+"]]
    rows += [
        [dot.name, *([criterion[0]] if criterion else []), dot.value, None, *pair]
        for dot, pair in zip(dots, ends, strict=True)
    ]
    _set_workbook(chart, rows)


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
    chart = _added(page, box, XL_CHART_TYPE.XY_SCATTER_LINES_NO_MARKERS, data, name, spoken)
    tops = [high for *_, high in (*curve.measured, *curve.forecast)]
    tops += [*([] if criterion is None else [criterion]), *(row["high"] for row in curve.fitted)]
    _axis_of_shares(chart.value_axis, tops)
    _axis_of_counts(chart.category_axis, [x for line in lines for x, _ in line.points], names.x_axis)
    rows: list[list[Any]] = []
    for series, line in zip(chart.plots[0].series, lines, strict=True):
        first = len(rows) + 2
        rows.append([None, line.name, "−", "+"] if line.ends else [None, line.name])
        ends: Sequence[tuple[Any, ...]] = line.ends or [()] * len(line.points)
        rows += [[*point, *pair] for point, pair in zip(line.points, ends, strict=True)]
        rows.append([])
        _style_curve(series, line, first)
    _set_legend(chart, hidden=[index for index, line in enumerate(lines) if not line.in_legend])
    _set_workbook(chart, rows)


def bars_chart(
    page: Page, box: Box, groups: Sequence[str], bars: Mapping[str, Sequence[float | None]], *, name: str, spoken: str
) -> None:
    """Horizontal bars in groups, a bar for each name of `bars` (the subject first), with their shares beside them."""
    data = CategoryChartData()
    data.categories = list(groups)
    for series_name, values in bars.items():
        data.add_series(series_name, list(values))
    chart = _added(page, box, XL_CHART_TYPE.BAR_CLUSTERED, data, name, spoken)
    plot = chart.plots[0]
    plot.gap_width, plot.overlap = 45, 0
    for series, shade in zip(plot.series, _SHADES, strict=False):
        _paint(series.format, shade)
        series.format.line.fill.background()
        _label_values(series, SHARE, XL_LABEL_POSITION.OUTSIDE_END)
    chart.category_axis.reverse_order = True
    _axis_of_names(chart.category_axis)
    longest = max((value for values in bars.values() for value in values if value is not None), default=1.0)
    axis = chart.value_axis
    axis.minimum_scale, axis.maximum_scale, axis.visible = 0, longest * 1.2, False  # room for the labels
    axis.has_major_gridlines = False
    _set_legend(chart)
    rows: list[list[Any]] = [
        ["", *bars],
        *[[group, *values] for group, *values in zip(groups, *bars.values(), strict=True)],
    ]
    _set_workbook(chart, rows)


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
    chart = _added(page, box, XL_CHART_TYPE.BAR_CLUSTERED, data, name, spoken)
    plot = chart.plots[0]
    plot.gap_width, plot.overlap = 60, 100
    for side, (series, shade) in enumerate(zip(plot.series, (_SHADES[1], SUBJECT), strict=True), start=1):
        _paint(series.format, shade)
        series.format.line.fill.background()
        series.invert_if_negative = False
        _label_values(series, number_format, XL_LABEL_POSITION.OUTSIDE_END, size=9)
        # Both ends on one side of the middle: only the outer bar is labelled.
        inner = [
            place
            for place, (_, *both) in enumerate(rows)
            if both[0] * both[1] > 0 and abs(both[side - 1]) < abs(both[2 - side])
        ]
        _hide_labels(series, inner)
    chart.category_axis.reverse_order = True
    _axis_of_names(chart.category_axis, size=9)
    chart.category_axis.tick_label_position = XL_TICK_LABEL_POSITION.LOW
    reach = max((abs(end) for row in rows for end in row[1:]), default=1.0) or 1.0
    axis = chart.value_axis
    axis.minimum_scale, axis.maximum_scale, axis.visible = -1.6 * reach, 1.6 * reach, False  # room for the labels
    axis.has_major_gridlines = False
    _set_legend(chart)
    _set_workbook(chart, [["", *ends], *rows])


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
            values=True, ends=[_ends(*point[1:]) for point in curve.measured],
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
                light=True, values=True, ends=[_ends(*point[1:]) for point in curve.forecast],
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
        _draw_line(series, line.colour, line.width, MSO_LINE.DASH if line.dashed else MSO_LINE.SOLID)
    else:
        series.format.line.fill.background()
    series.marker.style = line.marker or XL_MARKER_STYLE.NONE
    if line.marker:
        series.marker.size = 9
        _paint(series.marker.format, line.colour, LIGHT if line.light else line.colour)
    if line.values:
        _label_values(series, PERCENT, backed=True)
    if line.ends:
        last = first + len(line.points) - 1
        _add_error_bars(series, line.across, line.ends, [f"Sheet1!${c}${first}:${c}${last}" for c in "CD"], line.colour)


def _added(page: Page, box: Box, kind: Any, data: Any, name: str, spoken: str) -> Any:
    frame = page.slide.shapes.add_chart(
        kind, Inches(box.left), Inches(box.top), Inches(box.width), Inches(box.height), data
    )
    describe(frame, name, spoken)
    chart = frame.chart
    chart.has_title = chart.has_legend = False
    chart.font.size = Pt(11)
    chart.font.color.rgb = RGBColor.from_string(INK)
    for properties in chart.element.iter(qn("a:defRPr")):
        set_typefaces(properties)
    return chart


def _axis_of_shares(axis: Any, shares: Sequence[float | None]) -> None:
    """From 0 % to the first of a few round ends that holds everything."""
    highest = max((share for share in shares if share is not None), default=1.0)
    top = next((end for end in _TOPS if highest * 1.04 <= end), 1.0)
    axis.minimum_scale, axis.maximum_scale, axis.major_unit = 0, top, top / 5
    axis.has_major_gridlines = True
    axis.major_gridlines.format.line.color.rgb = RGBColor.from_string(HAIR)
    axis.major_gridlines.format.line.width = Pt(0.75)
    axis.format.line.fill.background()
    axis.major_tick_mark = XL_TICK_MARK.NONE
    axis.tick_labels.number_format, axis.tick_labels.number_format_is_linked = "0%", False


def _axis_of_names(axis: Any, size: float = 11) -> None:
    axis.format.line.color.rgb = RGBColor.from_string(FAINT)
    axis.major_tick_mark = XL_TICK_MARK.NONE
    axis.has_major_gridlines = False
    axis.tick_labels.font.size = Pt(size)
    body = axis.tick_labels._element.find(f"{qn('c:txPr')}/{qn('a:bodyPr')}")
    body.set("rot", "0")  # level, on two lines if need be
    body.set("vert", "horz")
    for properties in axis.tick_labels._element.iter(qn("a:defRPr")):
        set_typefaces(properties)


def _axis_of_counts(axis: Any, counts: Sequence[float], title: str) -> None:
    """Logarithmic, doubling from a round number below the smallest count."""
    axis.minimum_scale, axis.maximum_scale = _round_below(min(counts)), max(counts) * 1.25
    scaling = axis._element.find(qn("c:scaling"))
    scaling.insert(0, parse_xml(f'<c:logBase {nsdecls("c")} val="2"/>'))
    axis.major_unit = 2
    axis.has_major_gridlines = False
    axis.format.line.color.rgb = RGBColor.from_string(FAINT)
    axis.major_tick_mark = XL_TICK_MARK.OUTSIDE
    axis.tick_labels.number_format, axis.tick_labels.number_format_is_linked = COUNT, False
    axis.has_title = True
    frame = axis.axis_title.text_frame
    frame.text = title
    font = frame.paragraphs[0].runs[0].font
    font.size, font.bold = Pt(11), False
    set_typefaces(frame.paragraphs[0].runs[0]._r.get_or_add_rPr())


def _round_below(count: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 ... that leaves a little room below the count."""
    power = 1.0
    while power * 10 <= count:
        power *= 10
    return next((power * step for step in (5, 2, 1) if power * step <= count * 0.92), power / 2)


def _set_legend(chart: Any, hidden: Sequence[int] = ()) -> None:
    """Below the chart, without the series that another one speaks for."""
    chart.has_legend = True
    chart.legend.position, chart.legend.include_in_layout = XL_LEGEND_POSITION.BOTTOM, False
    chart.legend.font.size = Pt(10)
    element = chart.legend._element
    for properties in element.iter(qn("a:defRPr")):
        set_typefaces(properties)
    for index in reversed(hidden):
        entry = f'<c:legendEntry {nsdecls("c")}><c:idx val="{index}"/><c:delete val="1"/></c:legendEntry>'
        element.find(qn("c:legendPos")).addnext(parse_xml(entry))


def _label_values(
    series: Any,
    number_format: str,
    place: Any = XL_LABEL_POSITION.RIGHT,
    *,
    size: float = 11,
    backed: bool = False,
) -> None:
    labels = DataLabels(series._element.get_or_add_dLbls())
    labels.show_value = True
    labels.number_format, labels.number_format_is_linked = number_format, False
    labels.position = place
    labels.font.size = Pt(size)
    if backed:  # a line may pass behind
        field = f"<a:solidFill><a:srgbClr val='{PAPER}'/></a:solidFill>"
        labels._element.find(qn("c:txPr")).addprevious(parse_xml(f"<c:spPr {nsdecls('c', 'a')}>{field}</c:spPr>"))
    for properties in labels._element.iter(qn("a:defRPr")):
        set_typefaces(properties)


def _hide_labels(series: Any, points: Sequence[int]) -> None:
    labels = series._element.get_or_add_dLbls()
    for index in reversed(points):
        hidden = f'<c:dLbl {nsdecls("c")}><c:idx val="{index}"/><c:delete val="1"/></c:dLbl>'
        labels.insert(0, parse_xml(hidden))


def _label_point(point: Any, text: str, page: Page, place: Any) -> None:
    label = point.data_label
    label.text_frame.text = text
    run = label.text_frame.paragraphs[0].runs[0]
    run.font.size = Pt(11)
    run.font.color.rgb = RGBColor.from_string(INK)
    run._r.get_or_add_rPr().set("lang", "ja-JP" if page.language == "ja" else "en-US")
    set_typefaces(run._r.get_or_add_rPr())
    label.position = place


def _ends(value: float | None, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """How far the interval reaches below and above the value."""
    if value is None or low is None or high is None:
        return None, None
    return max(0.0, value - low), max(0.0, high - value)


def _add_error_bars(
    series: Any, direction: str, ends: Sequence[tuple[float | None, float | None]], cells: Sequence[str], colour: str
) -> None:
    """`cells`: where the workbook holds the lengths below and above."""
    below, above = ([pair[side] for pair in ends] for side in (0, 1))
    bars = parse_xml(
        f'<c:errBars {nsdecls("c", "a")}><c:errDir val="{direction}"/><c:errBarType val="both"/>'
        f'<c:errValType val="cust"/><c:noEndCap val="0"/>'
        f"<c:plus>{_lengths(above, cells[1])}</c:plus><c:minus>{_lengths(below, cells[0])}</c:minus>"
        f'<c:spPr><a:ln w="19050"><a:solidFill><a:srgbClr val="{colour}"/></a:solidFill></a:ln></c:spPr></c:errBars>'
    )
    element = series._element
    following = next(child for child in element if child.tag in (qn("c:cat"), qn("c:xVal")))
    following.addprevious(bars)


def _lengths(values: Sequence[float | None], cells: str) -> str:
    points = "".join(
        f'<c:pt idx="{index}"><c:v>{value!r}</c:v></c:pt>' for index, value in enumerate(values) if value is not None
    )
    cache = f'<c:formatCode>General</c:formatCode><c:ptCount val="{len(values)}"/>{points}'
    return f"<c:numRef><c:f>{cells}</c:f><c:numCache>{cache}</c:numCache></c:numRef>"


def _draw_line(series: Any, colour: str, points: float, dash: Any) -> None:
    line = series.format.line
    line.color.rgb = RGBColor.from_string(colour)
    line.width, line.dash_style = Pt(points), dash
    series.marker.style = XL_MARKER_STYLE.NONE


def _paint(target: Any, edge: str, fill: str = "") -> None:
    target.fill.solid()
    target.fill.fore_color.rgb = RGBColor.from_string(fill or edge)
    target.line.color.rgb = RGBColor.from_string(edge)


def _set_workbook(chart: Any, rows: Sequence[Sequence[Any]]) -> None:
    """The chart's numbers where python-pptx refers to them, and the lengths of the error bars beside them."""
    made = io.BytesIO()
    workbook = Workbook(made, {"in_memory": True})
    workbook.set_properties({"created": _MADE})
    sheet = workbook.add_worksheet("Sheet1")
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, value)  # a name that looks like a formula stays a name
            elif value is not None:
                sheet.write_number(number, column, value)
    sheet.set_column(0, 0, 24)
    workbook.close()
    chart.part.chart_workbook.update_from_xlsx_blob(made.getvalue())

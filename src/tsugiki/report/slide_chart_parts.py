"""What charts on slides are made of: placing, axes, labels, error bars, colours, and the workbook inside.

Called by `slide_charts`. What python-pptx has no words for (error bars, a logarithmic axis) is put into its XML here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pptx.chart.datalabel import DataLabels
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_LABEL_POSITION, XL_LEGEND_POSITION, XL_MARKER_STYLE, XL_TICK_MARK
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Inches, Pt
from xlsxwriter import Workbook

from tsugiki.report.slide_shapes import FAINT, HAIR, INK, PAPER, Box, Page, describe, set_typefaces

COUNT = "#,##0"
_TOPS = (0.25, 0.5, 1.0)  # where an axis of shares may end
_MADE = datetime(2000, 1, 1)  # of the workbooks inside, which have no time of their own


def added(page: Page, box: Box, kind: Any, data: Any, name: str, spoken: str) -> Any:
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


def axis_of_shares(axis: Any, shares: Sequence[float | None]) -> None:
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


def axis_of_names(axis: Any, size: float = 11) -> None:
    axis.format.line.color.rgb = RGBColor.from_string(FAINT)
    axis.major_tick_mark = XL_TICK_MARK.NONE
    axis.has_major_gridlines = False
    axis.tick_labels.font.size = Pt(size)
    body = axis.tick_labels._element.find(f"{qn('c:txPr')}/{qn('a:bodyPr')}")
    body.set("rot", "0")  # level, on two lines if need be
    body.set("vert", "horz")
    for properties in axis.tick_labels._element.iter(qn("a:defRPr")):
        set_typefaces(properties)


def axis_of_counts(axis: Any, counts: Sequence[float], title: str) -> None:
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


def set_legend(chart: Any, hidden: Sequence[int] = ()) -> None:
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


def label_values(
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


def hide_labels(series: Any, points: Sequence[int]) -> None:
    labels = series._element.get_or_add_dLbls()
    for index in reversed(points):
        hidden = f'<c:dLbl {nsdecls("c")}><c:idx val="{index}"/><c:delete val="1"/></c:dLbl>'
        labels.insert(0, parse_xml(hidden))


def label_point(point: Any, text: str, page: Page, place: Any) -> None:
    label = point.data_label
    label.text_frame.text = text
    run = label.text_frame.paragraphs[0].runs[0]
    run.font.size = Pt(11)
    run.font.color.rgb = RGBColor.from_string(INK)
    run._r.get_or_add_rPr().set("lang", "ja-JP" if page.language == "ja" else "en-US")
    set_typefaces(run._r.get_or_add_rPr())
    label.position = place


def reaches(value: float | None, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """How far the interval reaches below and above the value."""
    if value is None or low is None or high is None:
        return None, None
    return max(0.0, value - low), max(0.0, high - value)


def add_error_bars(
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


def draw_line(series: Any, colour: str, points: float, dash: Any) -> None:
    line = series.format.line
    line.color.rgb = RGBColor.from_string(colour)
    line.width, line.dash_style = Pt(points), dash
    series.marker.style = XL_MARKER_STYLE.NONE


def paint(target: Any, edge: str, fill: str = "") -> None:
    target.fill.solid()
    target.fill.fore_color.rgb = RGBColor.from_string(fill or edge)
    target.line.color.rgb = RGBColor.from_string(edge)


def set_workbook(chart: Any, rows: Sequence[Sequence[Any]]) -> None:
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

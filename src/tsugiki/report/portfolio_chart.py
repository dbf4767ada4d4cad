"""The chart of a portfolio as inline SVG: what each study achieved against what one training of it takes.

Called by report/portfolio.py. Drawn by hand rather than by the renderer of charts.py, because marks and their numbers
are placed by what is already there. Upwards stands the standing of the quality (work/portfolio.py) between the lines of
the criteria, to the right the training time on a logarithmic scale. The three recommendations differ in shape first:
the page prints, and no one has to tell hues apart. Equal portfolios give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from tsugiki.report.charts import FAINT, FONTS, HAIR, INK, OTHER, SUBJECT, Chart
from tsugiki.report.figures import Language, shown
from tsugiki.report.words import say

WIDTH, HEIGHT = 720, 330
LEFT, RIGHT, TOP, BOTTOM = 104, 16, 34, 288
LINES = {
    1: "portfolio.line_perfect",
    0: "portfolio.line_success",
    -1: "portfolio.line_withdraw",
    -2: "portfolio.line_nothing",
}
CRITERIA = (0, -1)
_SIXTIES = (1, 2, 5, 10, 20, 30)
TICKS = (  # seconds
    *_SIXTIES,
    *(60 * minutes for minutes in _SIXTIES),
    *(3600 * hours for hours in (1, 2, 5, 10, 24, 48, 120, 240, 720)),
)
TICK_DISTANCE = 70
MOST_NUMBERED = 60  # studies whose marks carry their rank; more would be a cloud of digits
MARK = 5.5
COLOURS = {"expand": SUBJECT, "hold": OTHER, "stop": INK}

Entry = Mapping[str, Any]
Box = tuple[float, float, float, float]


def value_chart(portfolio: Mapping[str, Any], language: Language) -> Chart | None:
    """None where no study has both a standing and a training time."""
    drawn = [entry for entry in portfolio["studies"] if entry["standing"] and entry["cost"]["train_seconds"]]
    if not drawn:
        return None
    times = [entry["cost"]["train_seconds"] for entry in drawn]
    ends = (min(times) / 1.6, max(times) * 1.6)
    marks = [(_x(entry["cost"]["train_seconds"], ends), entry) for entry in drawn]
    parts = [
        *_grid(ends, language),
        *(_interval(x, entry) for x, entry in marks),
        *(_mark(x, _y(entry["standing"]["estimate"]), entry["recommendation"]) for x, entry in marks),
        *_numbers(marks),
        *_legend(language),
    ]
    spoken = "".join(
        say(
            "portfolio.chart_row",
            language,
            rank=entry["rank"],
            recommendation=say(f"recommend.{entry['recommendation']}", language),
            seconds=entry["cost"]["train_seconds"],
            standing=entry["standing"]["estimate"],
        )
        for entry in drawn[:MOST_NUMBERED]
    )
    alt = escape(say("portfolio.chart_alt", language, rows=spoken).strip())
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg role="img" aria-label="{alt}" {size} font-family="{escape(FONTS)}" font-size="11">'
    left_out = len(portfolio["studies"]) - len(drawn)
    note = say("portfolio.chart_note", language)
    if left_out:
        note += say("portfolio.chart_left_out", language, count=left_out)
    return Chart(say("portfolio.chart", language), note, head + "".join(parts) + "</svg>")


def _x(seconds: float, ends: tuple[float, float]) -> float:
    share = math.log(seconds / ends[0]) / math.log(ends[1] / ends[0])
    return LEFT + share * (WIDTH - RIGHT - LEFT)


def _y(standing: float) -> float:
    return TOP + (1 - standing) / 3 * (BOTTOM - TOP)


def _grid(ends: tuple[float, float], language: Language) -> Iterator[str]:
    yield (
        f'<rect x="{LEFT}" y="{_y(1):.1f}" width="{WIDTH - RIGHT - LEFT}" height="{_y(0) - _y(1):.1f}" '
        f'fill="{SUBJECT}" fill-opacity="0.06"/>'
    )
    for at, key in LINES.items():
        look = f'stroke="{INK}" stroke-dasharray="5 3"' if at in CRITERIA else f'stroke="{HAIR}"'
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(at):.1f}" y2="{_y(at):.1f}" {look}/>'
        yield _words(LEFT - 8, _y(at) + 4, say(key, language), anchor="end")
    last = -math.inf
    for tick in TICKS:
        if ends[0] <= tick <= ends[1] and (x := _x(tick, ends)) - last >= TICK_DISTANCE:
            last = x
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}" stroke="{FAINT}"/>'
            yield _words(x, BOTTOM + 17, shown(tick, "duration", language), anchor="middle")
    yield _words((LEFT + WIDTH - RIGHT) / 2, BOTTOM + 36, say("portfolio.axis_time", language), anchor="middle")


def _interval(x: float, entry: Entry) -> str:
    low, high = _y(entry["standing"]["low"]), _y(entry["standing"]["high"])
    colour = COLOURS[entry["recommendation"]]
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{low:.1f}" stroke="{colour}" stroke-width="1.6"/>'


def _mark(x: float, y: float, recommendation: str) -> str:
    """A filled disc, an open diamond, a cross."""
    colour, r = COLOURS[recommendation], MARK
    if recommendation == "expand":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'
    if recommendation == "hold":
        points = f"{x:.1f},{y - r - 1:.1f} {x + r + 1:.1f},{y:.1f} {x:.1f},{y + r + 1:.1f} {x - r - 1:.1f},{y:.1f}"
        return f'<polygon points="{points}" fill="#fff" stroke="{colour}" stroke-width="1.8"/>'
    arm = r - 1
    left, right, top, bottom = f"{x - arm:.1f}", f"{x + arm:.1f}", f"{y - arm:.1f}", f"{y + arm:.1f}"
    path = f"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}"
    return f'<path d="{path}" stroke="{colour}" stroke-width="2.2" fill="none"/>'


def _numbers(marks: Sequence[tuple[float, Entry]]) -> Iterator[str]:
    """The rank beside each mark, on the first side where nothing stands yet; better ranks choose first."""
    taken: list[Box] = [_around(x, _y(entry["standing"]["estimate"]), MARK, MARK) for x, entry in marks]
    for x, entry in marks[:MOST_NUMBERED]:
        y, text = _y(entry["standing"]["estimate"]), str(entry["rank"])
        half = 3.4 * len(text)
        for dx, dy in (
            (11 + half, 0),
            (-11 - half, 0),
            (9 + half, -10),
            (9 + half, 10),
            (-9 - half, -10),
            (-9 - half, 10),
        ):
            box = _around(x + dx, y + dy, half, 5)
            if box[0] > LEFT and box[2] < WIDTH and not any(_touch(box, other) for other in taken):
                taken.append(box)
                yield _words(x + dx, y + dy + 4, text, anchor="middle", bold=True)
                break


def _around(x: float, y: float, half_width: float, half_height: float) -> Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _touch(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _legend(language: Language) -> Iterator[str]:
    for place, recommendation in enumerate(COLOURS):
        x = LEFT + 8 + place * 100
        yield _mark(x, 13, recommendation)
        yield _words(x + 12, 17, say(f"recommend.{recommendation}", language))


def _words(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>{escape(text)}</text>'

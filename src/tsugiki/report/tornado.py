"""The tornado chart: what the net value comes to when one input at a time goes to the ends of its range.

Called by `html`. The longest bars come first; grey is the lower end of an input, dark the upper one. Drawn as the
other charts are (see `charts`): fixed sizes, equal bytes for equal cards, text as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt

from tsugiki.report.charts import HAIR, INK, OTHER, SUBJECT, Chart, drawn
from tsugiki.report.figures import Language, shown
from tsugiki.report.inputs import input_name, input_value
from tsugiki.report.scorecard import Card
from tsugiki.report.words import say

MOST_BARS = 8
_LEFT, _PLOT, _RIGHT = 172, 336, 192  # pixels for the names, the bars with their amounts, and the ranges
_ROW = 24
_MARGIN = 0.3  # of the span, on both sides, for the amounts at the ends of the bars


def tornado_chart(card: Card) -> Chart | None:
    """The inputs that matter most; None where there is no net value to move."""
    money, language = card.get("money"), card["language"]
    if not money or not money["tornado"]:
        return None
    base = money["horizon"]["net"]["estimate"]
    rows = tornado_rows(card)
    ends = [base, *(row[end] for row in rows for end in ("least", "most"))]
    span = (max(ends) - min(ends)) or 1.0
    domain = [min(ends) - _MARGIN * span, max(ends) + _MARGIN * span]
    label = _base_label(card)
    values = {name: money[name] for name in ("date", "source")} | {"months": money["horizon"]["months"]}
    return drawn(
        alt.layer(*_layers(rows, base, label, domain)).properties(width=_PLOT, height=_ROW * len(rows)),
        title=say("chart.tornado", language, months=values["months"]),
        note=say("chart.tornado_note", language, **values),
        spoken=tornado_spoken(card),
        padding={"left": _LEFT, "right": _RIGHT, "top": 20, "bottom": 16},
        key="tornado",
    )


def tornado_rows(card: Card) -> list[dict[str, Any]]:
    """The inputs that matter most, longest bar first: name, range, and the net value at both ends."""
    money = card["money"]
    base, currency = money["horizon"]["net"]["estimate"], money["currency"]
    return [_row(bar, base, currency, card["language"]) for bar in money["tornado"][:MOST_BARS]]


def tornado_spoken(card: Card) -> str:
    """The chart for who cannot see it."""
    language = card["language"]
    rows = "".join(say("chart.tornado_row", language, **row["spoken"]) for row in tornado_rows(card))
    return say("chart.tornado_alt", language, base=_base_label(card), rows=rows)


def _base_label(card: Card) -> str:
    money = card["money"]
    value = {"amount": money["horizon"]["net"]["estimate"], "currency": money["currency"]}
    return say("chart.tornado_base", card["language"], value=value)


def _layers(rows: list[dict[str, Any]], base: float, label: str, domain: list[float]) -> Iterator[alt.Chart]:
    names = [row["name"] for row in rows]
    axis = alt.Axis(
        domain=False,
        ticks=False,
        labelPadding=10,
        labelLimit=0,
        labelOverlap=False,
        minExtent=_LEFT - 10,
        maxExtent=_LEFT - 10,
    )
    y = alt.Y("name:N", sort=names, title=None, scale=alt.Scale(domain=names, padding=0.35), axis=axis)
    scale = alt.Scale(domain=domain, nice=False)
    at = {name: alt.X(f"{name}:Q", title=None, scale=scale, axis=None) for name in ("least", "most", "from", "base")}
    colour = alt.Color("colour:N", scale=None)
    bars, plain = [bar for row in rows for bar in row["bars"]], [_plain(row) for row in rows]
    if domain[0] < 0 < domain[1]:
        zero = _chart([{"base": 0, "text": "0"}])
        yield zero.mark_rule(color=HAIR).encode(x=at["base"])
        yield zero.mark_text(color=OTHER, fontSize=10).encode(
            x=at["base"], y=alt.value(_ROW * len(rows) + 8), text="text:N"
        )
    yield _chart(_placed(bars, base)).mark_bar().encode(y=y, x=at["from"], x2="to:Q", color=colour)
    yield _chart(plain).mark_text(align="right", dx=-4, color=INK).encode(y=y, x=at["least"], text="least_text:N")
    yield _chart(plain).mark_text(align="left", dx=4, color=INK).encode(y=y, x=at["most"], text="most_text:N")
    yield _chart(plain).mark_text(align="left", color=OTHER).encode(y=y, x=alt.value(_PLOT + 8), text="range:N")
    middle = _chart([{"base": base, "text": label}])
    yield middle.mark_rule(color=INK, strokeWidth=1).encode(x=at["base"])
    yield middle.mark_text(color=INK, fontSize=10, fontWeight="bold").encode(
        x=at["base"], y=alt.value(-10), text="text:N"
    )


def _row(bar: Mapping[str, Any], base: float, currency: str, language: Language) -> dict[str, Any]:
    def money(amount: float) -> str:
        return shown({"amount": amount, "currency": currency}, "short_money", language)

    name = input_name(bar["input"], language)
    name = name[:1].upper() + name[1:]
    low, high = (input_value(bar["input"], bar[end], currency, language) for end in ("low", "high"))
    least, most = sorted((bar["net_low"], bar["net_high"]))
    ends = {"low": low, "high": high}
    return {
        "name": name,
        "least": least,
        "most": most,
        "least_text": money(least) if least <= base else "",  # both ends on one side: the outer one is named
        "most_text": money(most) if most >= base else "",
        "range": say(f"chart.range_{bar['range']}", language, **ends),
        "spoken": {
            "name": name,
            **ends,
            "net_low": {"amount": bar["net_low"], "currency": currency},
            "net_high": {"amount": bar["net_high"], "currency": currency},
        },
        "bars": [
            {"name": name, "to": bar["net_low"], "colour": OTHER},
            {"name": name, "to": bar["net_high"], "colour": SUBJECT},
        ],
    }


def _placed(bars: list[dict[str, Any]], base: float) -> list[dict[str, Any]]:
    return [{**bar, "from": base} for bar in bars]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("bars", "spoken")}


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))

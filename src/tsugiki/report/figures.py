"""Numbers as a reader wants to see them, per language: percent, points, times, sizes, money.

Called by `words` (a sentence names the format of each number it holds) and by the pages. A missing number is a dash;
why it is missing is said by the caller. Never rounds what is stored, only what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

Language = Literal["ja", "en"]
MISSING = "–"
MINUS = "−"
SPACE = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line
_SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_DAYS_PER_MONTH = 365.25 / 12
_LARGE: Mapping[Language, tuple[tuple[str, float], ...]] = {
    "ja": (("億", 1e8), ("万", 1e4)),
    "en": (("B", 1e9), ("M", 1e6)),
}
_CURRENCIES = {"JPY": ("¥", 0), "USD": ("$", 2), "EUR": ("€", 2)}


def shown(value: Any, form: str, language: Language) -> str:
    """`value` in one of the named forms below; a dash when there is none."""
    return MISSING if value is None else FORMS[form](value, language)


def interval(low: float | None, high: float | None, form: Literal["percent", "points"], language: Language) -> str:
    """Both ends without their unit, joined as the language joins ranges."""
    if low is None or high is None:
        return MISSING
    joint = "〜" if language == "ja" else " to "
    return joint.join(shown(end, f"bare_{form}", language) for end in (low, high))


def _signed(value: float, digits: int) -> str:
    rounded = round(value, digits)
    if rounded == 0:
        return f"±{0:.{digits}f}"
    return f"{'+' if rounded > 0 else MINUS}{abs(rounded):,.{digits}f}"


def _percent(value: float, _: Language) -> str:
    return f"{value * 100:.1f}%"


def _whole_percent(value: float, _: Language) -> str:
    return f"{value * 100:.0f}%"


def _chance(value: float, language: Language) -> str:
    """A probability that was estimated is never none and never certain."""
    if 0.01 <= value <= 0.99:
        return _whole_percent(value, language)
    if language == "ja":
        return "99%超" if value > 0.5 else "1%未満"
    return f"{'over' if value > 0.5 else 'under'}{SPACE}{99 if value > 0.5 else 1}%"


def _points(value: float, language: Language) -> str:
    return f"{_signed(value * 100, 1)}{'ポイント' if language == 'ja' else SPACE + 'points'}"


def _bare_points(value: float, _: Language) -> str:
    return _signed(value * 100, 1)


def _bare_percent(value: float, _: Language) -> str:
    return f"{value * 100:.1f}"


def _gap(value: float, _: Language) -> str:
    """A margin: points without sign, as the user set it."""
    return f"{round(value * 100, 2):g}"


def _gap_width(value: float, _: Language) -> str:
    """Width of an interval: points without sign, one digit."""
    return f"{value * 100:.1f}"


def _standing(value: float, _: Language) -> str:
    """A place on the scale of a study's own criteria."""
    return _signed(value, 2)


def _p(value: float, _: Language) -> str:
    return f"p{SPACE}<{SPACE}0.001" if value < 0.001 else f"p{SPACE}={SPACE}{value:.3f}"


def _signed_percent(value: float, _: Language) -> str:
    return f"{_signed(value * 100, 0)}%"


def _share(value: float, _: Language) -> str:
    """Two significant digits, so that 0.04 % does not become 0.0 %."""
    percent = value * 100
    if percent >= 10:
        return f"{percent:.0f}%"
    return f"{percent:.1f}%" if percent >= 1 else f"{percent:.2g}%"


def _bytes(value: float, _: Language) -> str:
    for unit, size in _SIZES:
        if value >= size:
            amount = value / size
            return f"{amount:,.1f}{SPACE}{unit}" if amount < 100 else f"{amount:,.0f}{SPACE}{unit}"
    return f"{value:,.0f}{SPACE}B"


def _duration(value: float, language: Language) -> str:
    hour, minute, second = ("時間", "分", "秒") if language == "ja" else (f"{SPACE}h", f"{SPACE}min", f"{SPACE}s")
    joint = "" if language == "ja" else " "
    if value < 10:
        return f"{value:.1f}{second}"
    whole = round(value)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        rest = f"{joint}{whole % 60}{second}" if whole % 60 else ""
        return f"{whole // 60}{minute}{rest}"
    minutes = round(value / 60)
    rest = f"{joint}{minutes % 60}{minute}" if minutes % 60 else ""
    return f"{minutes // 60:,}{hour}{rest}"


def _minutes(value: float, language: Language) -> str:
    return _duration(value * 60, language)


def _milliseconds(value: float, language: Language) -> str:
    unit = "ミリ秒" if language == "ja" else f"{SPACE}ms"
    if value < 10:
        return f"{value:.1f}{unit}"
    return f"{value:,.0f}{unit}" if value < 10_000 else _duration(value / 1000, language)


def _count(value: float, _: Language) -> str:
    return f"{value:,.0f}"


def _loss(value: float, _: Language) -> str:
    return f"{value:.3f}"


def _signed_loss(value: float, _: Language) -> str:
    return _signed(value, 3)


def _ratio(value: float, language: Language) -> str:
    amount = f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"
    return f"{amount}{'倍' if language == 'ja' else '×'}"


def _plain(value: float, _: Language) -> str:
    return f"{value:g}"


def _money(value: Mapping[str, Any], _: Language) -> str:
    """`value`: {amount, currency}. A currency we have no sign for is written after the amount."""
    amount, currency = abs(value["amount"]), str(value["currency"])
    sign, digits = _CURRENCIES.get(currency, ("", 2))
    text = f"{amount:,.{digits}f}"
    if float(text.replace(",", "")) == 0 and amount > 0:
        text = f"{amount:.2g}"
    less = MINUS if value["amount"] < 0 else ""
    return f"{less}{sign}{text}" if sign else f"{less}{text}{SPACE}{currency}"


def whole_days(months: float) -> int:
    return round(months * _DAYS_PER_MONTH)


def _months(value: float, language: Language) -> str:
    """Days within the first month."""
    days = whole_days(value)
    if value >= 1:
        return f"{value:,.1f}{'か月' if language == 'ja' else SPACE + 'months'}"
    if days < 1:
        return "1日未満" if language == "ja" else f"less than a{SPACE}day"
    return f"{days}日" if language == "ja" else f"{days}{SPACE}day{'' if days == 1 else 's'}"


def _short_money(value: Mapping[str, Any], language: Language) -> str:
    """For a chart: from a million on, three digits and a unit."""
    amount, currency = abs(value["amount"]), str(value["currency"])
    unit, size = next(((unit, size) for unit, size in _LARGE[language] if amount >= max(size, 1e6)), ("", 1.0))
    if not unit:
        return _money(value, language)
    scaled = amount / size
    text = f"{scaled:,.0f}" if scaled >= 99.95 else f"{scaled:.1f}" if scaled >= 9.995 else f"{scaled:.2f}"
    less, (sign, _) = MINUS if value["amount"] < 0 else "", _CURRENCIES.get(currency, ("", 0))
    return f"{less}{sign}{text}{unit}" if sign else f"{less}{text}{unit}{SPACE}{currency}"


def _text(value: Any, _: Language) -> str:
    return str(value)


FORMS: Mapping[str, Callable[[Any, Language], str]] = {
    "percent": _percent,
    "whole_percent": _whole_percent,
    "chance": _chance,
    "signed_percent": _signed_percent,
    "points": _points,
    "bare_points": _bare_points,
    "bare_percent": _bare_percent,
    "gap": _gap,
    "gap_width": _gap_width,
    "standing": _standing,
    "p": _p,
    "share": _share,
    "bytes": _bytes,
    "duration": _duration,
    "minutes": _minutes,
    "months": _months,
    "ms": _milliseconds,
    "count": _count,
    "loss": _loss,
    "signed_loss": _signed_loss,
    "ratio": _ratio,
    "plain": _plain,
    "money": _money,
    "short_money": _short_money,
    "text": _text,
}

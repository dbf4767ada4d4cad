"""The inputs of a business case as a reader sees them: their names and their values with units.

Called by `money` and `tornado`, and by work/ when it says which input is missing. An input goes by its dotted key in
the price table, or by the name of what the study measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from tsugiki.report.figures import Language, shown
from tsugiki.report.words import name_of

# Keys that mean the same for both machines, or that need their section to be understood.
_NAMES = {"cpu_hour": "machine_hour", "gpu_hour": "machine_hour", "month": "reserved_month", "hours": "reserved_hours"}
# Name -> form of figures.FORMS, and how many of the form's units one unit of the input is.
_FORMS: Mapping[str, tuple[str, float]] = {
    "cases_per_month": ("count", 1),
    "minutes_saved": ("minutes", 1),
    "minutes_to_check": ("minutes", 1),
    "minutes_per_wrong": ("minutes", 1),
    "changes_per_year": ("plain", 1),
    "hours_per_change": ("duration", 3600),
    "setup_hours": ("duration", 3600),
    "reserved_hours": ("duration", 3600),
    "years": ("plain", 1),
    "power_kw": ("plain", 1),
    "utilisation": ("share", 1),
    "share_right": ("percent", 1),
    "seconds_per_case": ("ms", 1000),
    "training_seconds": ("duration", 1),
}  # every other input is an amount of money


def input_name(path: str, language: Language) -> str:
    """The display name of an input; its key where none is known."""
    return name_of("input", _key(path), language)


def input_value(path: str, value: float, currency: str, language: Language) -> str:
    form, units = _FORMS.get(_key(path), ("money", 1))
    amount = {"amount": value, "currency": currency} if form == "money" else value * units
    return shown(amount, form, language)


def _key(path: str) -> str:
    last = path.rpartition(".")[2]
    return _NAMES.get(last, last)

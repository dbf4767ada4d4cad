"""The parts of the test set as tables of the page: quality by slice, and quality on shifted rows beside test rows.

Called by `html`. A slice that is too small is called so and shows no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tsugiki.report.figures import Language, interval, shown
from tsugiki.report.scorecard import Card, criteria
from tsugiki.report.slices import dimension_name, slice_name, weakest, weakest_misses_success
from tsugiki.report.tables import Cell, Notes, Row, quality_cell
from tsugiki.report.words import name_of, say

SHIFT_COLUMNS = ("test", "shifted", "change", "against_full", "against_base")


@dataclass(frozen=True)
class Group:
    """The slices of one dimension, and a line about the values that are not listed."""

    name: str
    rows: list[Row]
    more: str


def slices_view(card: Card) -> dict[str, Any] | None:
    """Sentences, table and note; None where no slice was measured."""
    found, language = card.get("slices"), card["language"]
    if not found or not found["dimensions"]:
        return None
    ours, whole = found["method"], found["whole"]
    others = [name for name in whole if name != ours]
    names = [name_of("short", name, language) for name in others]
    method, difference = name_of("method", ours, language), say("slice.difference", language)
    everything = [_quality(whole[ours], language), Cell(""), *(_quality(whole[name], language) for name in others)]
    rows = Cell(shown(whole[ours]["n"], "count", language))
    return {
        "texts": list(_sentences(card, found)),
        "heads": [say("slice.rows", language), method, difference, *names],
        "whole": Row(say("slice.all", language), (rows, *everything)),
        "groups": [_group(dimension, found, others, language) for dimension in found["dimensions"]],
        "note": _note(card, found),
    }


def shift_view(card: Card) -> dict[str, Any] | None:
    """None for a study without shifted rows."""
    found, language = card.get("shift"), card["language"]
    if not found:
        return None
    notes, subject = Notes(language), card["verdict"].get("method")
    return {
        "about": say("shift.about", language, rows=found["rows"]),
        "heads": [say(f"shift.{key}", language) for key in SHIFT_COLUMNS],
        "rows": [
            Row(name_of("short", entry["name"], language), tuple(_shift_cells(entry, notes)), entry["name"] == subject)
            for entry in (*found["methods"], *found["reference"])
        ],
        "note": say("shift.note", language),
        "footnotes": notes.texts,
    }


def _sentences(card: Card, found: Mapping[str, Any]) -> Iterator[str]:
    language = card["language"]
    if values := weakest(card):
        yield say("slice.worst", language, **values)
        if weakest_misses_success(card):
            yield say("slice.below_success", language, success=criteria(card)["success"])
    elif found["looked_at"]:
        yield say("slice.none", language, count=found["looked_at"])
    else:
        yield say("slice.nothing", language, fewest=found["fewest"])


def _note(card: Card, found: Mapping[str, Any]) -> str:
    language, metric = card["language"], card["task"]["metric"]
    values = {"count": found["looked_at"], "confidence": found["confidence"], "fewest": found["fewest"]}
    note = say("slice.note", language, **values)
    if found["metric"] == metric:
        return note
    return f"{note}{'' if language == 'ja' else ' '}{say('slice.exact', language)}"


def _group(dimension: Mapping[str, Any], found: Mapping[str, Any], others: list[str], language: Language) -> Group:
    about = {"by": dimension["by"], "name": dimension["name"]}
    rows = [
        Row(
            slice_name(dimension["by"], one, language),
            tuple(_slice_cells(one, found["method"], others, language)),
            emphasis={**about, **one} == found["worst"],
        )
        for one in dimension["slices"]
    ]
    left_out = dimension["left_out"]
    more = say("slice.left_out", language, count=left_out) if left_out else ""
    return Group(dimension_name(dimension, language), rows, more)


def _slice_cells(one: Mapping[str, Any], method: str, others: list[str], language: Language) -> Iterator[Cell]:
    yield Cell(shown(one["n"], "count", language))
    if one["too_small"]:
        yield Cell(say("slice.too_small", language))
        yield from [Cell("")] * (1 + len(others))
        return
    yield _quality(one["quality"][method], language)
    yield _interval(one["difference"], "points", language)
    yield from (_quality(one["quality"][name], language) for name in others)


def _shift_cells(entry: Mapping[str, Any], notes: Notes) -> Iterator[Cell]:
    yield quality_cell(entry["test"], notes)
    yield quality_cell(entry["shifted"], notes)
    for key in SHIFT_COLUMNS[2:]:
        value = entry.get(key)
        missing = value is not None and value["estimate"] is None
        yield (
            Cell("")
            if value is None
            else (quality_cell(value, notes) if missing else _interval(value, "points", notes.language))
        )


def _quality(value: Mapping[str, Any], language: Language) -> Cell:
    return _interval(value, "percent", language)


def _interval(value: Mapping[str, Any], form: Literal["percent", "points"], language: Language) -> Cell:
    """Points without their unit, which is in the heading; where there is no number the reason stands in its place."""
    if value["estimate"] is None:
        return Cell(value["reason"])
    text = shown(value["estimate"], "percent" if form == "percent" else "bare_points", language)
    return Cell(text, f"({interval(value['low'], value['high'], form, language)})")

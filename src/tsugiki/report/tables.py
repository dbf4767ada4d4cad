"""The tables of the scorecard as text cells: methods side by side, and every measurement for the appendix.

Called by `html`. A number that is missing becomes a dash with the number of a footnote that says why; two numbers that
are missing for one reason share a footnote. Never shows a zero for something that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tsugiki.report.figures import MISSING, Language, interval, shown
from tsugiki.report.findings import latency_of
from tsugiki.report.scorecard import Card, subject
from tsugiki.report.words import name_of, say, translated

Method = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    text: str
    detail: str = ""  # second, smaller line: an interval, a remark
    note: int | None = None  # number of the footnote


@dataclass(frozen=True)
class Row:
    name: str
    cells: tuple[Cell, ...]
    emphasis: bool = False
    reference: bool = False


@dataclass
class Notes:
    """Footnotes of one table, numbered in the order in which they are first needed."""

    language: Language
    texts: list[str] = field(default_factory=list)

    def number(self, reason: str | None) -> int:
        text = reason or say("missing.no_reason", self.language)
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


MAIN_COLUMNS = ("trainable_share", "adapter_bytes", "peak_memory_bytes", "train_seconds")
_FORMS = {
    "trainable_share": "share",
    "adapter_bytes": "bytes",
    "peak_memory_bytes": "bytes",
    "train_seconds": "duration",
    "tokens_per_second": "count",
}


def methods_table(card: Card, notes: Notes) -> list[Row]:
    """Page one: a row per method on the main axes, then the references, which have a quality and nothing else."""
    main, rows = subject(card), []
    for method in card["methods"]:
        cells = [*_quality_cells(method["quality"], notes), *_against_full(method, notes)]
        cells += [_plain(method, column, notes) for column in MAIN_COLUMNS]
        cells.append(_fastest_token(method, notes))
        rows.append(Row(name_of("method", method["name"], notes.language), tuple(cells), method is main))
    for entry in card["reference"]:
        name = name_of("reference", entry["name"], notes.language)
        rows.append(Row(name, (*_quality_cells(entry["quality"], notes), *[Cell("")] * 7), reference=True))
    return rows


def all_measurements(card: Card, notes: Notes) -> list[Row]:
    """The appendix: a row per measurement, a column per method."""
    methods, language = card["methods"], notes.language
    metric = name_of("metric", card["task"]["metric"], language)

    def row(key: str, cell: Callable[[Method], Cell], **values: Any) -> Row:
        return Row(say(f"measure.{key}", language, **values), tuple(cell(method) for method in methods))

    always = [
        row("plan", lambda method: Cell(str(method["plan"])) if method["plan"] else _missing(method, "plan", notes)),
        row("quality", lambda method: quality_cell(method["quality"], notes), metric=metric),
        row("items", lambda method: Cell(shown(method["quality"]["n"], "count", language))),
        row("interval_method", lambda method: Cell(translated("interval", method["quality"]["method"], language))),
        row("against_full", lambda method: _difference(method, notes)),
        row("non_inferior", lambda method: _non_inferior(method, notes)),
        *[row(key, partial(_plain, key=key, notes=notes)) for key in _FORMS],
        *_latency_rows(methods, notes),
        *[
            row(key, partial(_nested, key="change", inner=key, form="ms", notes=notes))
            for key in ("load_ms", "swap_ms", "rollback_ms")
        ],
        row("retention", lambda method: _retention(method, notes)),
        row("cost_train", lambda method: _money(method, "train", notes)),
        row("cost_answers", lambda method: _money(method, "per_1000_answers", notes)),
        row("price_source", lambda method: _price_source(method, notes)),
        row("seeds", lambda method: Cell(", ".join(str(seed) for seed in method["seeds"]))),
    ]
    extensions: list[tuple[str, str, Callable[[Method], Cell]]] = [
        ("memory", "inference_memory", lambda method: _nested(method, "memory", "inference_bytes", "bytes", notes)),
        ("dev_loss", "dev_loss", lambda method: _nested(method, "dev_loss", None, "loss", notes)),
        ("facts", "facts_numbers", lambda method: _facts(method, "numbers_wrong", notes)),
        ("facts", "facts_units", lambda method: _facts(method, "units_wrong", notes)),
        ("facts", "facts_negation", lambda method: _facts(method, "negation_wrong", notes)),
        ("recipe", "learning_rate", lambda method: _learning_rate(method, notes)),
    ]
    held = {key for method in methods for key, value in method.items() if value is not None}
    return [*always, *(row(key, cell) for extension, key, cell in extensions if extension in held)]


def quality_table(card: Card, notes: Notes) -> list[Row]:
    """A slide's rows: quality, its interval, and the difference from full with its interval and a word about it."""
    main, rows = subject(card), []
    for method in card["methods"]:
        word = _against_full(method, notes)[1]
        cells = (*_quality_cells(method["quality"], notes), _difference(method, notes), word)
        rows.append(Row(name_of("method", method["name"], notes.language), cells, method is main))
    for entry in card["reference"]:
        name = name_of("reference", entry["name"], notes.language)
        rows.append(Row(name, (*_quality_cells(entry["quality"], notes), Cell(""), Cell("")), reference=True))
    return rows


def cost_table(card: Card, notes: Notes) -> list[Row]:
    """A slide's rows: what training, storing, answering and changing versions take; a column per method."""
    methods, language = card["methods"], notes.language
    full = next((method for method in methods if method["name"] == "full"), None)

    def row(key: str, cell: Callable[[Method], Cell]) -> Row:
        return Row(say(f"measure.{key}", language), tuple(cell(method) for method in methods))

    def compared(method: Method, key: str) -> Cell:
        """With its share of what full fine-tuning takes."""
        cell = _plain(method, key, notes)
        if full is None or method is full or not full[key] or method[key] is None:
            return cell
        return Cell(cell.text, f"({shown(method[key] / full[key], 'share', language)})")

    def first_token(method: Method) -> Cell:
        found = latency_of(method, "merged") or latency_of(method, "unmerged")
        if not found or found["first_token_ms"] is None:
            return _missing(method, "latency", notes, found)
        return Cell(shown(found["first_token_ms"], "ms", language), say(f"measure.{found['weights']}", language))

    rows = [row(key, partial(compared, key=key)) for key in ("peak_memory_bytes", "train_seconds", "adapter_bytes")]
    rows.append(row("trainable_share", lambda method: _plain(method, "trainable_share", notes)))
    if any((method.get("memory") or {}).get("inference_bytes") for method in methods):
        rows.append(
            row("inference_memory", lambda method: _nested(method, "memory", "inference_bytes", "bytes", notes))
        )
    rows += [
        Row(say("slide.first_token", language), tuple(first_token(method) for method in methods)),
        Row(say("slide.per_token", language), tuple(_fastest_token(method, notes) for method in methods)),
    ]
    rows += [
        row(key, partial(_nested, key="change", inner=key, form="ms", notes=notes))
        for key in ("swap_ms", "rollback_ms")
    ]
    return [*rows, row("cost_train", lambda method: _money(method, "train", notes))]


def by_seed_table(card: Card, notes: Notes) -> tuple[list[str], list[Row]]:
    """A row per seed, a column per method; empty when the study kept no quality per seed."""
    found = {
        method["name"]: {one["seed"]: one["quality"] for one in method.get("by_seed", ())} for method in card["methods"]
    }
    seeds = sorted({seed for qualities in found.values() for seed in qualities})
    heads = [name_of("method", name, notes.language) for name, qualities in found.items() if qualities]
    columns = [qualities for qualities in found.values() if qualities]
    blank = Cell(MISSING)
    return heads, [
        Row(str(seed), tuple(quality_cell(one[seed], notes) if seed in one else blank for one in columns))
        for seed in seeds
    ]


def quality_cell(quality: Mapping[str, Any], notes: Notes) -> Cell:
    if quality["estimate"] is None:
        return Cell(MISSING, note=notes.number(quality.get("reason")))
    ends = interval(quality["low"], quality["high"], "percent", notes.language)
    return Cell(shown(quality["estimate"], "percent", notes.language), f"({ends})")


def _missing(method: Method, key: str, notes: Notes, inner: Mapping[str, Any] | None = None) -> Cell:
    """A dash with the reason beside the null; a method without a quality misses everything else for the same reason."""
    reasons = ((inner or {}).get("reason"), method.get("reasons", {}).get(key), method["quality"].get("reason"))
    return Cell(MISSING, note=notes.number(next((reason for reason in reasons if reason), None)))


def _plain(method: Method, key: str, notes: Notes) -> Cell:
    if method[key] is None:
        return _missing(method, key, notes)
    return Cell(shown(method[key], _FORMS[key], notes.language))


def _nested(method: Method, key: str, inner: str | None, form: str, notes: Notes) -> Cell:
    holder = method.get(key)
    value = holder.get(inner) if inner and holder else holder
    return _missing(method, key, notes) if value is None else Cell(shown(value, form, notes.language))


def _quality_cells(quality: Mapping[str, Any], notes: Notes) -> tuple[Cell, Cell]:
    """The number and its interval in columns of their own, so that both align down the table."""
    if quality["estimate"] is None:
        return quality_cell(quality, notes), Cell("")
    ends = interval(quality["low"], quality["high"], "percent", notes.language)
    return Cell(shown(quality["estimate"], "percent", notes.language)), Cell(ends)


def _against_full(method: Method, notes: Notes) -> tuple[Cell, Cell]:
    """The difference, and in a word whether it is within the margin."""
    if method["name"] == "full":
        return Cell(say("measure.itself", notes.language)), Cell("")
    difference = (method["against_full"] or {}).get("difference")
    if not difference or difference["estimate"] is None:
        return _missing(method, "against_full", notes, difference), Cell("")
    word = {True: "within", False: "outside", None: "unknown"}[method["against_full"]["non_inferior"]]
    shown_difference = shown(difference["estimate"], "points", notes.language)
    return Cell(shown_difference), Cell(say(f"column.{word}", notes.language))


def _difference(method: Method, notes: Notes) -> Cell:
    if method["name"] == "full":
        return Cell(say("measure.itself", notes.language))
    difference = (method["against_full"] or {}).get("difference")
    if not difference or difference["estimate"] is None:
        return _missing(method, "against_full", notes, difference)
    ends = interval(difference["low"], difference["high"], "points", notes.language)
    return Cell(shown(difference["estimate"], "points", notes.language), f"({ends})")


def _non_inferior(method: Method, notes: Notes) -> Cell:
    if method["name"] == "full":
        return Cell(say("measure.itself", notes.language))
    if method["against_full"] is None:
        return _missing(method, "against_full", notes)
    word = {True: "yes", False: "no", None: "open"}[method["against_full"]["non_inferior"]]
    return Cell(say(f"measure.{word}", notes.language))


def _fastest_token(method: Method, notes: Notes) -> Cell:
    """Per token at batch 1, merged where the method can be."""
    for weights in ("merged", "unmerged"):
        found = latency_of(method, weights)
        if found and found["per_token_ms"] is not None:
            return Cell(shown(found["per_token_ms"], "ms", notes.language), say(f"measure.{weights}", notes.language))
    return _missing(method, "latency", notes)


def _latency_rows(methods: Sequence[Method], notes: Notes) -> list[Row]:
    """One row for each way of measuring that any method has; a way that a method cannot take is a dash with reason."""
    ways = sorted({(row["batch"], row["weights"]) for method in methods for row in method["latency"] or ()})
    rows = []
    for batch, weights in ways:
        for key in ("first_token", "per_token"):
            cells = tuple(_latency(method, batch, weights, f"{key}_ms", notes) for method in methods)
            word = say(f"measure.{weights}", notes.language)
            rows.append(Row(say(f"measure.{key}", notes.language, batch=batch, weights=word), cells))
    return rows


def _latency(method: Method, batch: int, weights: str, key: str, notes: Notes) -> Cell:
    found = latency_of(method, weights, batch=batch)
    if found is None and method["latency"]:
        key = "missing.cannot_merge" if weights == "merged" else "missing.only_merged"
        return Cell(MISSING, note=notes.number(say(key, notes.language)))
    if found is None or found[key] is None:
        return _missing(method, "latency", notes, found)
    return Cell(shown(found[key], "ms", notes.language))


def _retention(method: Method, notes: Notes) -> Cell:
    kept = method["retention"]
    if not kept or kept["loss_before"] is None or kept["loss_after"] is None:
        return _missing(method, "retention", notes, kept)
    before, after = (shown(kept[key], "loss", notes.language) for key in ("loss_before", "loss_after"))
    return Cell(
        f"{before} → {after}", f"({shown(kept['loss_after'] - kept['loss_before'], 'signed_loss', notes.language)})"
    )


def _facts(method: Method, key: str, notes: Notes) -> Cell:
    facts = method.get("facts")
    if not facts or facts[key] is None:
        return _missing(method, "facts", notes)
    return Cell(say("measure.of", notes.language, count=facts[key], n=facts["n"]))


def _money(method: Method, key: str, notes: Notes) -> Cell:
    cost = method["cost"]
    if not cost or cost.get(key) is None:
        return _missing(method, "cost", notes, cost)
    return Cell(shown({"amount": cost[key], "currency": cost["currency"]}, "money", notes.language))


def _price_source(method: Method, notes: Notes) -> Cell:
    cost = method["cost"]
    return Cell(cost["date"], cost["source"]) if cost else _missing(method, "cost", notes)


def _learning_rate(method: Method, notes: Notes) -> Cell:
    recipe = method.get("recipe")
    if not recipe or recipe.get("learning_rate") is None:
        return _missing(method, "recipe", notes)
    return Cell(say("measure.tries", notes.language, rate=recipe["learning_rate"], tries=recipe.get("tries")))

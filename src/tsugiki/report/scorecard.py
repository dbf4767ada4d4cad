"""The shape of a study's scorecard.json: what it must hold, and its one byte string.

Called by the study before it writes the file, by whoever rebuilds it, and by `html` before it draws the page.
`scorecard.schema.json` beside this file is the contract with other programs. A scorecard holds more than that; the
extensions, all optional to a reader, are:

    verdict.method   the method the verdict is about                verdict.codes   [{code, values}] behind the reasons
    against_full     margin, as a share: what the non-inferiority was tested with
    study            purpose, owner, reviewer, criteria, created, base {name, digest, parameters, precision},
                     design {methods, seeds, sizes, tries, cut [{what, before, after, minutes, names}],
                             lessons [{folder, distance, weight}], rank {used, enough, largest, losses} or null},
                     budget {minutes, used_minutes}
    methods[]        reasons {field: sentence} for every null, recipe {learning_rate, tries, ...},
                     by_seed [{seed, quality}], facts {n, numbers_wrong, units_wrong, negation_wrong}, dev_loss,
                     memory {train_bytes, inference_bytes}
    cost             of a method: {currency, train, per_1000_answers}, amounts or null
    learning_curve   target, reason (a code) where least_data is null;
                     fit {shares {family: weight}, floor, scale, exponent, formula, points [{n, estimate, low, high}]};
                     forecast [{n, factor, quality, reaches}] of the true quality and of the chance to reach the target,
                     or null with forecast_reason; advice {code, chances [{n, factor, reaches}], sentence};
                     backtest {n, quality, measured, holds}: the largest size as the smaller ones would have forecast it
    slices           null, or method, metric, looked_at, corrected_confidence, whole {<method>, full, base: quality},
                     dimensions [{by, name, left_out, slices [{value | from, to, n, groups, too_small, quality
                     {<method>, full, base}, difference, surely_worse}]}], worst (a slice with its by and name) or null
    shift            null, or rows, groups, methods [{name, test, shifted, change, against_full, against_base}],
                     reference [{name, test, shifted, change}]
    examples         [{row, prompt, reference, answers {base, <method>}, scores {base, <method>}}]
    data_check       what data/check.py found, as its Findings.as_json() says it
    money            null without a price table, else as work/money.py says it: currency, date, source of the prices,
                     method, table, case, rates, share_right, seconds_per_case, training, serving, change; month,
                     once, break_even, horizon: {estimate, low, high} where the quality matters; tornado,
                     alternatives, notes, reasons {dotted name: sentence} for every null
    failures [{trial, reason}]   warnings [sentence]   provenance {group: [trial id]}   versions {package: version}

Never computes a number and never fills one in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

Card = Mapping[str, Any]
Holder = Mapping[str, Any] | Sequence[Any]

# Fields of a method whose null wants a sentence in its `reasons`; against full fine-tuning, full has nothing to say.
_REASONED = (
    "against_full",
    "trainable_share",
    "adapter_bytes",
    "peak_memory_bytes",
    "train_seconds",
    "tokens_per_second",
    "latency",
    "change",
    "retention",
    "cost",
)
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "object": (dict, Mapping),  # dict first: what JSON gives is then known at once
    "array": (list, tuple),
    "string": str,
    "number": (int, float),
    "integer": int,
}
_LEAVES = (str, int, float, type(None))


def check_scorecard(card: Any) -> list[str]:
    """What is wrong with this scorecard, one sentence each with the place; empty when it keeps the contract."""
    problems = [f"{place or 'scorecard'} {fault}" for place, fault in _against(card, contract(), "")]
    if problems:
        return problems
    faults = [fault for place, holder in _holders(card, "") for fault in _unfit(place, holder)]
    return [*faults, *_unexplained(card), *_miscounted(card), *_unexplained_money(card.get("money"))]


def check_extensions(card: Any) -> list[str]:
    """What is wrong with the optional parts of a scorecard that was read from elsewhere, one sentence each."""
    faults = [f"{place or 'scorecard'} {fault}" for place, fault in _against(card, extensions(), "")]
    return faults or [*_untellable_money(card.get("money") or {}), *_untellable_slices(card.get("slices") or {})]


def scorecard_bytes(card: Card) -> bytes:
    """Equal scorecards give equal bytes: sorted keys, two spaces, UTF-8, NaN refused, one newline at the end."""
    text = json.dumps(card, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return (text + "\n").encode("utf-8")


@cache
def contract() -> Mapping[str, Any]:
    text = resources.files("tsugiki.report").joinpath("scorecard.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


@cache
def extensions() -> Mapping[str, Any]:
    text = resources.files("tsugiki.report").joinpath("extensions.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


def subject(card: Card) -> Mapping[str, Any]:
    """The method the verdict is about: the one it names, else LoRA, else the first."""
    methods: Sequence[Mapping[str, Any]] = card["methods"]
    wanted = card["verdict"].get("method") or "lora"
    return next((method for method in methods if method["name"] == wanted), methods[0])


def margin_points(card: Card, method: Mapping[str, Any]) -> float:
    """The margin against full fine-tuning, in points: the one that was tested with, else the one set beforehand."""
    tested = (method["against_full"] or {}).get("margin")
    return round(tested * 100, 2) if tested is not None else criteria(card).get("margin_points", 2.0)


def criteria(card: Card) -> Mapping[str, Any]:
    return card.get("study", {}).get("criteria", {})


def method_named(card: Card, name: str) -> Mapping[str, Any] | None:
    return next((method for method in card["methods"] if method["name"] == name), None)


def _against(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """The part of JSON Schema that the contract uses; jsonschema is the oracle in the tests."""
    if "$ref" in schema:
        schema = contract()["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield place, f"must be {kinds if isinstance(kinds, str) else ' or '.join(kinds)}, got {value!r:.60}"
        return
    if "const" in schema and value != schema["const"]:
        yield place, f"must be {schema['const']}, got {value!r:.60}"
    if "enum" in schema and not any(value is choice or value == choice for choice in schema["enum"]):
        yield place, f"must be one of {schema['enum']}, got {value!r:.60}"
    yield from _against_limits(value, schema, place)
    if isinstance(value, _LEAVES):
        return
    if isinstance(value, dict | Mapping):
        yield from _against_members(value, schema, place)
    elif isinstance(value, list | tuple) and "items" in schema:
        for index, item in enumerate(value):
            yield from _against(item, schema["items"], f"{place}[{index}]")


def _against_members(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    known: Mapping[str, Any] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield place, f"lacks {name}"
    for name, inner in known.items():
        if name in value:
            yield from _against(value[name], inner, f"{place}.{name}".lstrip("."))
    for name in sorted(value.keys() - known.keys()) if "additionalProperties" in schema else ():
        yield from _against(value[name], schema["additionalProperties"], f"{place}.{name}".lstrip("."))


def _against_limits(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    if _is(value, "number"):
        if "minimum" in schema and not value >= schema["minimum"]:
            yield place, f"must be at least {schema['minimum']}, got {value}"
        if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
            yield place, f"must be above {schema['exclusiveMinimum']}, got {value}"
        if "maximum" in schema and not value <= schema["maximum"]:
            yield place, f"must be at most {schema['maximum']}, got {value}"
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield place, "must not be empty"
    if isinstance(value, list | tuple) and len(value) < schema.get("minItems", 0):
        yield place, f"must hold at least {schema['minItems']} items, got {len(value)}"


def _is(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    return isinstance(value, _KINDS[kind]) and not isinstance(value, bool)


def _unfit(place: str, holder: Holder) -> Iterator[str]:
    """NaN and infinity have no place in JSON and none on a page; an interval has two ends in order."""
    for step, value in _items(holder):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{_at(place, step)} must be a finite number or null, got {value}"
    if isinstance(holder, Mapping) and "estimate" in holder and "low" in holder and "high" in holder:
        low, high = holder["low"], holder["high"]
        if holder["estimate"] is None and "metric" in holder and not holder.get("reason"):
            yield f"{place}.estimate is null without a reason"
        if _is(low, "number") and _is(high, "number") and low > high:
            yield f"{place} must have low <= high, got {low} and {high}"


def _unexplained(card: Card) -> Iterator[str]:
    for method in card["methods"]:
        reasons = method.get("reasons", {})
        if not isinstance(reasons, Mapping):
            yield f"methods.{method['name']}.reasons must be object, got {reasons!r:.60}"
            continue
        for field in _REASONED:
            if method[field] is None and not reasons.get(field) and (method["name"], field) != ("full", "against_full"):
                yield f"methods.{method['name']}.{field} is null without a sentence in reasons"


def _unexplained_money(money: Any) -> Iterator[str]:
    """A sentence under the name of a whole group explains all that is null in it."""
    if money is None:
        return
    alternatives = money.get("alternatives", ()) if isinstance(money, Mapping) else ()
    entries = [money, *(alternatives if isinstance(alternatives, list | tuple) else [alternatives])]
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("reasons"), Mapping):
            yield f"money must be object with reasons, got {entry!r:.60}"
            continue
        known = {name: value for name, value in entry.items() if name not in ("share_right", "alternatives", "reasons")}
        for holder_place, holder in _holders(known, ""):
            for place in (_at(holder_place, step) for step, value in _items(holder) if value is None):
                parents = (".".join(place.split(".")[:depth]) for depth in range(1, place.count(".") + 2))
                if not any(entry["reasons"].get(parent) for parent in parents):
                    yield f"money.{place} is null without a sentence in reasons"


def _untellable_money(money: Mapping[str, Any]) -> Iterator[str]:
    """What the account of a page or a slide needs of every line: a reason, or an interval."""
    for group in ("month", "once", "change", "break_even", "horizon"):
        for name, found in money.get(group, {}).items():
            ends = found if isinstance(found, Mapping) else {"estimate": found, "low": found, "high": found}
            if ends["estimate"] is None and f"{group}.{name}" not in money["reasons"]:
                yield f"money.{group}.{name} is null without a sentence in reasons"
            elif ends["estimate"] is not None and (ends["low"] is None or (ends["high"] is None and name != "months")):
                yield f"money.{group}.{name} has no interval"


def _untellable_slices(slices: Mapping[str, Any]) -> Iterator[str]:
    if slices and slices["worst"] and slices["method"] not in slices["worst"]["quality"]:
        yield f"slices.worst.quality lacks {slices['method']}"


def _miscounted(card: Card) -> Iterator[str]:
    data = card["data"]
    if not _is(data["used"], "integer") or not _is(data["rows"], "integer"):
        yield f"data: rows and used must be integer, got {data['rows']!r:.60} and {data['used']!r:.60}"
    elif data["used"] + len(data["excluded"]) != data["rows"]:
        yield f"data: {data['used']} used and {len(data['excluded'])} excluded rows are not {data['rows']} rows"


def _holders(value: Holder, place: str) -> Iterator[tuple[str, Holder]]:
    """Every object and array inside, itself first, each with its place. A walk without recursion: cards come from
    anywhere, nested as deep as somebody liked, and five hundred at a time.
    """
    waiting = [(place, value)]
    while waiting:
        place, holder = waiting.pop()
        yield place, holder
        inner = [(_at(place, step), one) for step, one in _items(holder) if not isinstance(one, _LEAVES)]
        waiting += reversed(inner)


def _items(holder: Holder) -> Iterable[tuple[str | int, Any]]:
    return holder.items() if isinstance(holder, dict | Mapping) else enumerate(holder)


def _at(place: str, step: str | int) -> str:
    return f"{place}[{step}]" if isinstance(step, int) else f"{place}.{step}" if place else step

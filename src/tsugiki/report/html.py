"""The scorecard as one self-contained HTML file: page one is the decision, the rest is what it stands on.

Called by the study and the command line. The page loads nothing and runs nothing; it prints on A4. Everything that
came from a person, a data file or a model passes through the template's escaping; only the charts, which escape for
themselves, are marked as safe. Never computes a result: what is not in the card is not on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tsugiki.report.appendix import concerns, cuts, data_pairs, machine, settings
from tsugiki.report.charts import Chart, confidence_of, cost_chart, curve_chart, quality_chart
from tsugiki.report.curve_words import curve_sentences
from tsugiki.report.figures import Language, interval, shown
from tsugiki.report.findings import latency_of, next_steps, risks
from tsugiki.report.money import (
    alternative_heads,
    alternatives,
    money_groups,
    money_interval,
    money_lead,
    money_notes,
    price_line,
)
from tsugiki.report.parts import shift_view, slices_view
from tsugiki.report.scorecard import Card, margin_points, method_named, subject
from tsugiki.report.tables import Notes, all_measurements, by_seed_table, methods_table
from tsugiki.report.tornado import tornado_chart
from tsugiki.report.words import name_of, say, translated

Pairs = list[tuple[str, str]]
_DECIDED_BY = {True: "within", False: "outside", None: "unknown"}


def render_html(card: Card) -> str:
    """The whole page in the card's language. Equal cards give equal pages."""
    language: Language = card["language"]
    template = environment().get_template("scorecard.html.j2")
    return template.render(
        card=card,
        css=Markup(stylesheet()),  # noqa: S704 - our own file
        language=language,
        say=partial(_say, language),
        name=partial(_name, language),
        confidence=confidence_of(card),
        **_first_page(card),
        **_following_pages(card),
    )


def headline(card: Card) -> str:
    """The verdict in one sentence, with the number of examples that would decide where the card holds one."""
    language, verdict = card["language"], card["verdict"]
    method = name_of("method", subject(card)["name"], language)
    first = say(f"headline.{verdict['value']}", language, method=method)
    if verdict["needed_examples"] is None:
        return first
    joint = "" if language == "ja" else " "
    return (
        first + joint + say("headline.needed", language, needed=verdict["needed_examples"], used=card["data"]["used"])
    )


def _first_page(card: Card) -> dict[str, Any]:
    notes = Notes(card["language"])
    return {
        "title": _study(card).get("purpose") or say("page.untitled", card["language"]),
        "headline": headline(card),
        "about": about(card),
        "tiles": list(tiles(card)),
        "methods": methods_table(card, notes),
        "method_notes": notes.texts,
        "quality_chart": _safe(quality_chart(card)),
        "cost_chart": _safe(cost_chart(card)),
        "costs": list(_costs(card)),
        "next_steps": next_steps(card),
    }


def _following_pages(card: Card) -> dict[str, Any]:
    language: Language = card["language"]
    notes = Notes(language)
    heads, seeds = by_seed_table(card, notes)
    return {
        "money": _money(card),
        "curve_chart": _safe(curve_chart(card)),
        "curve_text": curve_sentences(card),
        "slices": slices_view(card),
        "shift": shift_view(card),
        "risks": risks(card),
        "answers": [_example(card, example) for example in card.get("examples", ())],
        "measurements": all_measurements(card, notes),
        "seed_heads": heads,
        "seeds": seeds,
        "appendix_notes": notes.texts,
        "data_pairs": list(data_pairs(card)),
        "concerns": concerns(card),
        "excluded": [
            (item["row"], translated("exclusion", item["reason"], language)) for item in card["data"]["excluded"]
        ],
        "settings": list(settings(card)),
        "cuts": cuts(card),
        "machine": list(machine(card)),
    }


def _money(card: Card) -> dict[str, Any] | None:
    """The money section; None where the card was made without one or the study had no prices."""
    if not card.get("money"):
        return None
    notes = Notes(card["language"])
    return {
        "lead": money_lead(card),
        "groups": money_groups(card, notes),
        "heads": alternative_heads(card),
        "alternatives": alternatives(card, notes),
        "footnotes": notes.texts,
        "notes": money_notes(card),
        "prices": price_line(card),
        "chart": _safe(tornado_chart(card)),
    }


def about(card: Card) -> Pairs:
    """Who, when, on what: the line under the title."""
    language, study, task = card["language"], _study(card), card["task"]
    counts = {part: task[part] for part in ("train", "dev", "test")}
    rows = say("page.rows_value", language, **counts)
    if shifted := task.get("shift"):
        rows += say("page.rows_shifted", language, shift=shifted)
    found = {
        "base": study.get("base", {}).get("name"),
        "rows": rows,
        "owner": study.get("owner"),
        "reviewer": study.get("reviewer"),
        "date": (study.get("created") or "")[:10],
    }
    return [(say(f"page.{key}", language), value) for key, value in found.items() if value]


def tiles(card: Card) -> Iterator[tuple[str, str, str]]:
    """Four numbers to remember: label, number, what to compare it with."""
    language, method, full = card["language"], subject(card), method_named(card, "full")
    quality = method["quality"]
    metric = name_of("metric", quality["metric"], language)
    base = next((one["quality"]["estimate"] for one in card["reference"] if one["name"] == "base"), None)
    ends = interval(quality["low"], quality["high"], "percent", language)
    compared = say("tile.quality_sub", language, interval=ends, base=base)
    yield metric, shown(quality["estimate"], "percent", language), compared
    if method["against_full"]:
        difference, found = method["against_full"]["difference"], _DECIDED_BY[method["against_full"]["non_inferior"]]
        ends = interval(difference["low"], difference["high"], "points", language)
        compared = say(f"tile.gap_{found}", language, interval=ends, margin=margin_points(card, method))
        yield say("tile.gap", language), shown(difference["estimate"], "points", language), compared
    time, memory = method["train_seconds"], method["peak_memory_bytes"]
    compared = ""
    if full and full is not method and all((time, memory, full["train_seconds"], full["peak_memory_bytes"])):
        shares = {"time": time / full["train_seconds"], "memory": memory / full["peak_memory_bytes"]}
        compared = say("tile.train_sub", language, **shares)
    spent = f"{shown(time, 'duration', language)} · {shown(memory, 'bytes', language)}"
    yield say("tile.train", language), spent, compared
    share = say("tile.size_sub", language, share=method["trainable_share"])
    yield say("tile.size", language), shown(method["adapter_bytes"], "bytes", language), share


def _costs(card: Card) -> Iterator[tuple[str, str]]:
    """What the method the verdict is about costs; a line for each thing that was measured."""
    language, method = card["language"], subject(card)

    def line(key: str, **values: Any) -> tuple[str, str]:
        return say(f"cost.{key}", language), say(f"cost.{key}_value", language, **values)

    if method["train_seconds"] is not None:
        yield line("training", seconds=method["train_seconds"], memory=method["peak_memory_bytes"])
    cost = method["cost"]
    if cost and cost.get("currency"):
        amounts = {key: cost.get(key) for key in ("train", "per_1000_answers")}
        money = {
            key: {"amount": amount, "currency": cost["currency"]}
            for key, amount in amounts.items()
            if amount is not None
        }
        about = {name: cost[name] for name in ("date", "source")}
        yield line("money", train=money.get("train"), answers=money.get("per_1000_answers"), **about)
    if (found := card.get("money")) and (net := found["month"]["net"])["estimate"] is not None:
        about = {name: found[name] for name in ("currency", "date", "source")}
        value = {"amount": net["estimate"], "currency": found["currency"]}
        ends = money_interval(found, net, language)
        yield line("net", net=value, interval=ends, months=found["break_even"]["months"]["estimate"], **about)
    if (memory := (method.get("memory") or {}).get("inference_bytes")) is not None:
        yield say("cost.inference", language), shown(memory, "bytes", language)
    if found := latency_of(method, "merged") or latency_of(method, "unmerged"):
        weights = say(f"measure.{found['weights']}", language)
        yield line("answer", first=found["first_token_ms"], per=found["per_token_ms"], weights=weights)
    if change := method["change"]:
        yield line("change", swap=change["swap_ms"], rollback=change["rollback_ms"], size=method["adapter_bytes"])
    if (budget := _study(card).get("budget")) and budget.get("used_minutes") is not None:
        yield line("study", used=budget["used_minutes"], minutes=budget["minutes"])


def _example(card: Card, example: Mapping[str, Any]) -> dict[str, Any]:
    language, scores = card["language"], example.get("scores", {})
    answers = []
    for name, answer in example["answers"].items():
        kind = "reference" if name == "base" else "method"
        answers.append(
            {"name": name_of(kind, name, language), "text": answer, "mark": _mark(scores.get(name), language)}
        )
    return {
        "row": example.get("row"),
        "prompt": example["prompt"],
        "reference": example["reference"],
        "answers": answers,
    }


def _mark(score: float | None, language: Language) -> tuple[str, str] | None:
    """A class for the sign beside an answer, and the word that a screen reader says."""
    if score is None:
        return None
    if score in (0, 1):
        word = "right" if score else "wrong"
        return word, say(f"page.{word}", language)
    return "partial", say("page.partial", language, score=score)


def _study(card: Card) -> Mapping[str, Any]:
    return card.get("study", {})


def _safe(chart: Chart | None) -> dict[str, Any] | None:
    """The drawing comes from our own renderer, which escapes its texts; title and note stay ordinary text."""
    if chart is None:
        return None
    return {"title": chart.title, "note": chart.note, "svg": Markup(chart.svg)}  # noqa: S704


def _say(language: Language, key: str, **values: Any) -> str:
    return say(key, language, **values)


def _name(language: Language, kind: str, name: str) -> str:
    return name_of(kind, name, language)


@cache
def environment() -> Environment:
    return Environment(
        loader=PackageLoader("tsugiki.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def stylesheet() -> str:
    return resources.files("tsugiki.report").joinpath("templates/scorecard.css").read_text(encoding="utf-8")

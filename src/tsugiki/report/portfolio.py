"""A portfolio as one self-contained page and as a few lines for a terminal.

Called by `tsugiki portfolio` with the plain value that work/portfolio.py makes. The page loads nothing and runs
nothing; whatever came out of a scorecard or a file name passes through the template's escaping. Never computes a
result, never ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import resources
from typing import Any

from markupsafe import Markup

from tsugiki.report.figures import MISSING, Language, interval, shown
from tsugiki.report.html import environment, stylesheet
from tsugiki.report.portfolio_chart import value_chart
from tsugiki.report.words import name_of, say
from tsugiki.width import columns

Portfolio = Mapping[str, Any]
Entry = Mapping[str, Any]
# The rules in the order of the table in work/allocation.py, as the page lists them.
RULES = (
    "copies_disagree",
    "verdict_stop",
    "worse_than_reference",
    "loses_money",
    "undecidable",
    "evidence_lacking",
    "gain_unsure",
    "money_open",
    "conditions_open",
    "all_shown",
)

LISTED = 30  # studies on a terminal; the page and --json have all
NAMED_RANKS = 12
RANKED_BY = {
    "standing": "portfolio.ranked_by_standing",
    "money_and_standing": "portfolio.ranked_by_money_and_standing",
}


def render_portfolio(portfolio: Portfolio) -> str:
    """The whole page in the portfolio's language. Equal portfolios give equal pages."""
    language: Language = portfolio["language"]
    chart = value_chart(portfolio, language)
    return (
        environment()
        .get_template("portfolio.html.j2")
        .render(
            portfolio=portfolio,
            language=language,
            say=partial(_say, language),
            css=Markup(stylesheet() + _own_stylesheet()),  # noqa: S704 - our own files
            headline=headline(portfolio),
            studies=[_row(entry, language) for entry in portfolio["studies"]],
            chart=chart and {"title": chart.title, "note": chart.note, "svg": Markup(chart.svg)},  # noqa: S704
            rules=[say(f"allocation.{rule}", language) for rule in RULES],
            notes=list(notes(portfolio)),
            unusable=[(one["path"], unusable_reason(one, language)) for one in portfolio["unusable"]],
        )
    )


def render_portfolio_text(portfolio: Portfolio) -> str:
    """Plain lines, the best LISTED studies first; ends with a newline."""
    language: Language = portfolio["language"]
    lines = [headline(portfolio), ""]
    for entry in portfolio["studies"][:LISTED]:
        row = _row(entry, language)
        lines.append(f"{entry['rank']}. {row['recommendation']}: {row['title']}")
        pairs = [
            (say("portfolio.why", language), row["rule"]),
            (
                say("portfolio.value", language),
                "  ".join(filter(None, (row["gain"], row["gain_detail"], row["quality"]))),
            ),
            (say("portfolio.cost", language), "  ".join(filter(None, (row["time"], row["memory"], row["money"])))),
            (say("portfolio.certainty", language), "  ".join((row["verdict"], *row["certainty"]))),
            (say("portfolio.place", language), row["path"]),
        ]
        width = max(columns(label) for label, _ in pairs)
        lines += [f"   {label}{' ' * (width - columns(label))}  {value}" for label, value in pairs]
    left = len(portfolio["studies"]) - LISTED
    lines += ["", say("portfolio.more", language, count=left)] if left > 0 else []
    lines += ["", *(f"- {note}" for note in notes(portfolio))]
    lines += [f"- {one['path']}: {unusable_reason(one, language)}" for one in portfolio["unusable"]]
    return "\n".join(lines) + "\n"


def headline(portfolio: Portfolio) -> str:
    return say("portfolio.headline", portfolio["language"], studies=len(portfolio["studies"]), **portfolio["totals"])


def notes(portfolio: Portfolio) -> Iterator[str]:
    """How the ranking was made, and what should not be read into the table."""
    language: Language = portfolio["language"]
    yield say(RANKED_BY[portfolio["ranked_by"]], language)
    if len(portfolio["metrics"]) > 1:
        named = _joined([name_of("metric", metric, language) for metric in portfolio["metrics"]], language)
        yield say("portfolio.several_metrics", language, metrics=named)
    for letter, ranks in portfolio["comparable"].items():
        yield say("portfolio.comparable", language, letter=letter, ranks=_joined(_named(ranks), language))
    if portfolio["machines"] > 1:
        yield say("portfolio.several_machines", language, count=portfolio["machines"])
    if len(portfolio["currencies"]) > 1:
        yield say("portfolio.several_currencies", language, currencies=_joined(portfolio["currencies"], language))
    if any(entry["gain"] and entry["gain"]["method"] == "unpaired" for entry in portfolio["studies"]):
        yield say("portfolio.unpaired", language)
    copies = sum(len(entry["also"]) for entry in portfolio["studies"])
    if copies:
        yield say("portfolio.copies", language, count=copies)


def unusable_reason(one: Entry, language: Language) -> str:
    return say(f"unusable.{one['code']}", language, **one["values"])


def _row(entry: Entry, language: Language) -> dict[str, Any]:
    """A study as texts: the main number of every column, and what stands small below it."""
    told = partial(_say, language)
    quality, gain, cost, certainty = entry["quality"], entry["gain"], entry["cost"], entry["certainty"]
    metric = name_of("metric", entry["task"]["metric"], language)
    ends = interval(quality["low"], quality["high"], "percent", language)
    value = shown(quality["estimate"], "percent", language)
    return {
        "rank": entry["rank"],
        "title": entry["title"] or told("page.untitled"),
        "path": entry["path"],
        "also": entry["also"],
        "about": list(_about(entry, language)),
        "comparable": entry["comparable"],
        "value": entry["recommendation"],
        "recommendation": told(f"recommend.{entry['recommendation']}"),
        "rule": _rule(entry, language),
        "verdict": told(f"verdict.{entry['verdict']['value']}"),
        "gain": MISSING if gain is None else shown(gain["estimate"], "points", language),
        "gain_detail": "" if gain is None else _gain_detail(gain, language),
        "quality": MISSING if quality["estimate"] is None else f"{metric} {value} ({ends})",
        "time": shown(cost["train_seconds"], "duration", language),
        "memory": shown(cost["peak_memory_bytes"], "bytes", language),
        "train": shown(cost["train"], "money", language) if cost["train"] else "",
        "money": "" if entry["money"] is None else _net(entry["money"], language),
        "certainty": list(_certainty(certainty, entry, told)),
    }


def _about(entry: Entry, language: Language) -> Iterator[str]:
    base, created = entry["base"], (entry["created"] or "")[:10]
    yield name_of("method", entry["method"], language)
    yield from (one for one in (base, entry["owner"], created) if one)


def _rule(entry: Entry, language: Language) -> str:
    sentence = say(f"allocation.{entry['rule']}", language)
    if entry["rule"] not in ("evidence_lacking", "copies_disagree"):
        return sentence
    missing = _joined([say(f"lacks.{one}", language) for one in entry["lacks"] if one != "copies"], language)
    return f"{sentence}{say('portfolio.lacking', language, missing=missing)}" if missing else sentence


def _gain_detail(gain: Entry, language: Language) -> str:
    ends = interval(gain["low"], gain["high"], "points", language)
    reference = name_of("reference", gain["reference"], language)
    return say("portfolio.gain_over", language, interval=ends, reference=reference)


def _net(money: Entry, language: Language) -> str:
    amounts = {
        end: shown({"amount": money[end], "currency": money["currency"]}, "money", language)
        for end in ("estimate", "low", "high")
    }
    return say("portfolio.net", language, **amounts)


def _certainty(certainty: Entry, entry: Entry, told: Callable[..., str]) -> Iterator[str]:
    if certainty["width"] is not None:
        yield told("portfolio.width", width=certainty["width"])
    yield told("portfolio.seeds", seeds=certainty["seeds"], test=certainty["test"])
    if certainty["needed_examples"] is not None:
        yield told("portfolio.needed", needed=certainty["needed_examples"], used=certainty["used_examples"])
    elif entry["verdict"]["value"] == "undecidable":
        yield told("portfolio.no_number")


def _named(ranks: list[int]) -> list[str]:
    """All of a few, the first and the last of many."""
    names = list(map(str, ranks))
    return names if len(names) <= NAMED_RANKS else [*names[: NAMED_RANKS - 2], "…", names[-1]]


def _joined(parts: list[str], language: Language) -> str:
    return ("、" if language == "ja" else ", ").join(parts)


def _say(language: Language, key: str, **values: Any) -> str:
    return say(key, language, **values)


def _own_stylesheet() -> str:
    return resources.files("tsugiki.report").joinpath("templates/portfolio.css").read_text(encoding="utf-8")

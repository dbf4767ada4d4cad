"""The lists of the appendix: what was found in the data, how the study was set up, where it ran.

Called by `html`. Label and value, both as text; a fact that the card does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tsugiki.report.figures import Language, shown
from tsugiki.report.scorecard import Card, criteria
from tsugiki.report.words import has, name_of, say

MOST_ROWS_NAMED = 12


def data_pairs(card: Card) -> Iterator[tuple[str, str]]:
    language, data = card["language"], card["data"]
    counts = {"rows": data["rows"], "used": data["used"], "excluded": len(data["excluded"])}
    yield say("setting.rows", language), say("setting.rows_value", language, **counts)
    check = card.get("data_check", {})
    for key in ("prompt_characters", "completion_characters", "tokens"):
        if found := check.get(key):
            spread = {name: found[name] for name in ("median", "p95", "maximum")}
            yield say(f"check.{key}", language), say("check.spread", language, **spread)
    if languages := check.get("languages"):
        yield say("check.languages", language), say("check.languages_value", language, **languages)
    if labels := check.get("labels"):
        values = {"count": len(labels["counts"]), "majority": labels["majority_share"], "rare": len(labels["rare"])}
        yield say("check.labels", language), say("check.labels_value", language, **values)
    if groups := check.get("groups"):
        values = {"count": len(groups), "rows": sum(map(len, groups))}
        yield say("check.groups", language), say("check.groups_value", language, **values)
    if split := check.get("split"):
        values = {key: split.get(key) or "" for key in ("column", "dev_from", "test_from")}
        yield say("check.split", language), say(f"check.split_{split['by']}", language, **values)
    yield say("setting.data_digest", language), data["digest"]


def concerns(card: Card) -> list[str]:
    """What the owner of the data should look at, with the first rows it is about."""
    language, check = card["language"], card.get("data_check", {})
    found = []
    for concern in check.get("concerns", ()):
        key = f"concern.{concern['kind']}"
        text = say(key, language, count=len(concern["rows"])) if has(key) else concern["message"]
        found.append(text + _rows_named(concern["rows"], language))
    kinds: dict[str, list[int]] = {}
    for one in check.get("sensitive", ()):
        kinds.setdefault(one["kind"], []).append(one["row"])
    for kind, rows in kinds.items():
        unique = sorted(set(rows))
        text = say("concern.sensitive", language, kind=name_of("sensitive", kind, language), count=len(unique))
        found.append(text + _rows_named(unique, language))
    return found


def settings(card: Card) -> Iterator[tuple[str, str]]:
    language, study = card["language"], card.get("study", {})
    for key in ("purpose", "owner", "reviewer"):
        if study.get(key):
            yield say(f"page.{key}", language), study[key]
    if set_before := criteria(card):
        yield say("setting.metric", language), name_of("metric", set_before["metric"], language)
        for key, form in (("success", "percent"), ("withdraw", "percent")):
            yield say(f"setting.{key}", language), shown(set_before[key], form, language)
        margin = {"points": set_before["margin_points"], "share": set_before["margin_gain_share"]}
        yield say("setting.margin", language), say("setting.margin_value", language, **margin)
        yield say("setting.retention", language), shown(set_before["retention_loss"], "loss", language)
        yield say("setting.confidence", language), shown(set_before["confidence"], "whole_percent", language)
    if base := study.get("base"):
        yield say("setting.base", language), base["name"]
        yield say("setting.parameters", language), shown(base["parameters"], "count", language)
        few = base.get("quantize", "none")
        said = say("setting.quantized", language, precision=base["precision"], bits=few)
        yield say("setting.precision", language), base["precision"] if few == "none" else said
        yield say("setting.base_digest", language), base["digest"]
    if design := study.get("design"):
        yield (
            say("setting.methods", language),
            _joint(language).join(name_of("method", one, language) for one in design["methods"]),
        )
        for key in ("sizes", "seeds"):
            yield say(f"setting.{key}", language), ", ".join(shown(one, "count", language) for one in design[key])
        yield say("setting.tries", language), shown(design.get("tries"), "count", language)
        if rank := design.get("rank"):
            yield say("setting.rank", language), say("setting.rank_value", language, **rank)
        if lessons := design.get("lessons"):
            yield say("setting.lessons", language), _joint(language).join(one["folder"] for one in lessons)


def cuts(card: Card) -> list[str]:
    """What the time budget did not allow, one sentence each."""
    return [_cut(card["language"], cut) for cut in card.get("study", {}).get("design", {}).get("cut", ())]


def machine(card: Card) -> Iterator[tuple[str, str]]:
    language, machine = card["language"], card["machine"]
    yield say("setting.cpu", language), machine["cpu"]
    yield say("setting.cores", language), shown(machine["cores"], "count", language)
    yield say("setting.memory", language), shown(machine["memory_bytes"], "bytes", language)
    yield say("setting.accelerator", language), machine["accelerator"] or say("setting.no_accelerator", language)
    if machine.get("system"):
        yield say("setting.system", language), machine["system"]
    versions = {"python": machine.get("python"), **card.get("versions", {})}
    if installed := [f"{name} {version}" for name, version in versions.items() if version]:
        yield say("setting.versions", language), ", ".join(installed)
    yield say("setting.fingerprint", language), machine["fingerprint"]


def _cut(language: Language, cut: Mapping[str, Any]) -> str:
    names = _joint(language).join(name_of("method", name, language) for name in cut["names"])
    return say(f"cut.{cut['what']}", language, **{**cut, "names": names})


def _rows_named(rows: Sequence[int], language: Language) -> str:
    if not rows:
        return ""
    named, more = ", ".join(str(row) for row in rows[:MOST_ROWS_NAMED]), len(rows) - MOST_ROWS_NAMED
    key = "check.rows_more" if more > 0 else "check.rows_named"
    return say(key, language, rows=named, **({"more": more} if more > 0 else {}))


def _joint(language: Language) -> str:
    return "、" if language == "ja" else ", "

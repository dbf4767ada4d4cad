"""A model card as Markdown, in Japanese or English: what the adapter is, on what it stands, how good it was measured.

Called by `tsugiki export --to card`. Every sentence comes from words.toml, every value from the card; what the card
does not hold is said to be unknown. Text from people and files is made safe for Markdown and never interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tsugiki.report.figures import Language, interval, shown
from tsugiki.report.words import name_of, say

Card = Mapping[str, Any]
HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def render_card(card: Card, language: Language) -> str:
    """The whole card. Equal cards give equal text."""
    parts = [
        _front_matter(card),
        f"# {safe(card['name'])}",
        say("card.lead", language, base=_base_name(card, language), method=_method(card, language)),
        *_section("use", _use(card, language), language),
        *_section("base", _base(card, language), language),
        *_section("data", _data(card, language), language),
        *_section("method", _method_table(card, language), language),
        *_section("results", _results(card, language), language),
        *_section("limits", _limits(card, language), language),
        *_section("how", _how(card, language), language),
        *_section("licence", _licence(card, language), language),
        *_section("files", _files(card, language), language),
    ]
    return "\n\n".join(parts) + "\n"


def safe(text: Any) -> str:
    """One line in which nothing is markup."""
    return MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def _section(key: str, body: str, language: Language) -> tuple[str, str]:
    return f"## {say(f'card.{key}', language)}", body


def _front_matter(card: Card) -> str:
    """What model hubs read; only what is known and safe as a plain scalar."""
    lines = ["---"]
    if card["peft"]:
        lines.append("library_name: peft")
    base = card["base"]["name"]
    if base and HUB_ID.fullmatch(base):  # anything else means nothing to a hub
        lines.append(f"base_model: {base}")
    return "\n".join([*lines, "pipeline_tag: text-generation", "tags:", "- tsugiki", "---"])


def _use(card: Card, language: Language) -> str:
    rows = {
        "purpose": card["purpose"],
        "owner": card["owner"],
        "version": card["version"],
        "parent": card["parent"],
        "created": card["created_at"],
        "verdict": card["verdict"] and name_of("verdict", card["verdict"]["value"], language),
    }
    return _pairs(rows, language)


def _base(card: Card, language: Language) -> str:
    base = card["base"]
    rows = {
        "base_name": base["name"],
        "architecture": base["architecture"],
        "weights": base["weights"],
        "tokenizer": base["tokenizer"],
        "template": say("card.no_template", language) if base["template"] == "none" else base["template"],
        "held": say("card.unquantised", language) if base["quantization"] == "none" else base["quantization"],
    }
    return _pairs(rows, language)


def _data(card: Card, language: Language) -> str:
    if not card["data"]:
        return say("card.unknown_data", language)
    tables = [
        _pairs(
            {
                "digest": one["digest"],
                "rows": shown(one["rows"], "count", language) if one["rows"] is not None else None,
                "data_purpose": one["purpose"],
                "data_licence": one["licence"],
            },
            language,
        )
        for one in card["data"]
    ]
    return "\n\n".join(tables)


def _method_table(card: Card, language: Language) -> str:
    recipe = {f"recipe_{key}": value for key, value in card["recipe"].items()}
    parts = {
        "kind": _method(card, language),
        "layers": card["layers"] or None,
        "rank": card["rank"],
        "full_weights": card["full"] or None,
        "bottlenecks": card["bottlenecks"] or None,
        "features": ", ".join(card["features"]) or None,
        "shown_as": card["template"],
    }
    return _pairs({key: value for key, value in parts.items() if value is not None} | recipe, language)


def _results(card: Card, language: Language) -> str:
    measured = card["measured"]
    if not measured:
        return say("card.unknown_results", language)
    heads = [say(f"card.{key}", language) for key in ("whose", "metric", "estimate", "interval", "n")]
    rows = [
        [
            _whose(one["of"], language),
            name_of("metric", one["metric"], language),
            shown(one["estimate"], "percent", language) if one["estimate"] is not None else _why(one, language),
            _interval(one, language),
            shown(one["n"], "count", language),
        ]
        for one in measured
    ]
    return _table(heads, rows)


def _interval(one: Mapping[str, Any], language: Language) -> str:
    if one["low"] is None or one["high"] is None:
        return say("card.unknown", language)
    return f"{interval(one['low'], one['high'], 'percent', language)}%"


def _why(one: Mapping[str, Any], language: Language) -> str:
    return str(one["reason"] or say("card.unknown", language))


def _limits(card: Card, language: Language) -> str:
    return "\n".join(
        "- " + say(f"card.limit_{one['code']}", language, **{k: v for k, v in one.items() if k != "code"})
        for one in card["limits"]
    )


def _how(card: Card, language: Language) -> str:
    base = card["base"]["name"] if HUB_ID.fullmatch(card["base"]["name"] or "") else "BASE"
    if card["peft"]:
        code = (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"base = AutoModelForCausalLM.from_pretrained({base!r})\n"
            "model = PeftModel.from_pretrained(base, 'ADAPTER')\n"
            f"tokenizer = AutoTokenizer.from_pretrained({base!r})"
        )
        return f"{say('card.how_peft', language)}\n\n```python\n{code}\n```"
    return f"{say('card.how_own', language)}\n\n```\ntsugiki evaluate ADAPTER DATA\n```"


def _licence(card: Card, language: Language) -> str:
    known = {"base_licence": card["base"]["licence"], "data_licences": _licences(card)}
    return f"{_pairs(known, language)}\n\n{say('card.licence_note', language)}"


def _licences(card: Card) -> str | None:
    found = [one["licence"] for one in card["data"]]
    return ", ".join(found) if found and None not in found else None


def _files(card: Card, language: Language) -> str:
    heads = [say(f"card.{key}", language) for key in ("file", "bytes", "digest")]
    rows = [[name, f"{held['bytes']:,}", held["digest"]] for name, held in card["files"].items()]
    return _table(heads, rows)


def _base_name(card: Card, language: Language) -> str:
    return safe(card["base"]["name"] or say("card.unknown_base", language))


def _method(card: Card, language: Language) -> str:
    return name_of("method", card["method"], language) if card["method"] else say("card.unknown", language)


def _whose(of: str, language: Language) -> str:
    if of == "adapter":
        return say("card.this_adapter", language)
    return name_of("method", of, language) if of in ("lora", "hybrid", "full") else name_of("reference", of, language)


def _pairs(rows: Mapping[str, Any], language: Language) -> str:
    heads = [say("card.what", language), say("card.value", language)]
    unknown = say("card.unknown", language)
    return _table(heads, [[say(f"card.{key}", language), unknown if v is None else v] for key, v in rows.items()])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([safe(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""Every sentence and label of the reports, in Japanese and English, looked up by key in `words.toml`.

Called by everything that talks to a reader, and by the study when it turns the codes of a verdict into sentences.
A sentence names the format of each number it holds (`{quality:percent}`, see `figures.FORMS`), so that the same
values read naturally in both languages. Never decides anything; never falls back to another language.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any

from tsugiki.report.figures import FORMS, Language, shown

LANGUAGES: tuple[Language, ...] = ("ja", "en")


def say(key: str, language: Language, /, **values: Any) -> str:
    """The sentence `key` ("page.title") with its values filled in. A missing key or value is our own bug: KeyError."""
    return filled(table()[key][language], language, **values)


def filled(template: str, language: Language, /, **values: Any) -> str:
    """A sentence that stands elsewhere, filled in as those of the table are."""
    return _Filler(language).vformat(template, (), values)


def reason_sentence(code: str, values: Mapping[str, Any], language: Language) -> str:
    """One reason of a verdict: its code and the numbers it stands on, as a sentence."""
    return say(f"reason.{code}", language, **_with_display_names(values, language))


def rule_sentence(rule: str, criteria: Mapping[str, Any], language: Language) -> str:
    """The rule that decided, with the criteria that were set beforehand (those of `config.Criteria`, by name)."""
    return say(f"rule.{rule}", language, **criteria)


def missing_sentence(code: str, language: Language, **values: Any) -> str:
    """Why a number is not there; goes beside the null in the scorecard."""
    return say(f"missing.{code}", language, **values)


def name_of(kind: str, name: str, language: Language) -> str:
    """The display name of a method, reference, metric or task; the name itself where none is known."""
    entry = table().get(f"{kind}.{name}")
    return entry[language] if entry else name


def has(key: str) -> bool:
    return key in table()


def translated(section: str, text: str, language: Language) -> str:
    """A text that a lower floor wrote in English, in the reader's language; the text itself where it is not known."""
    if language == "en":
        return text
    for key, entry in table().items():
        if key.startswith(f"{section}.") and (found := _pattern(entry["en"]).fullmatch(text)):
            return say(key, language, **found.groupdict())
    return text


@cache
def table() -> Mapping[str, Mapping[str, str]]:
    """All entries by dotted key, each with one text per language."""
    text = resources.files("tsugiki.report").joinpath("words.toml").read_text(encoding="utf-8")
    sections = tomllib.loads(text)
    return {f"{section}.{key}": entry for section, entries in sections.items() for key, entry in entries.items()}


def placeholders(template: str) -> dict[str, str]:
    """Name and format of each value a template wants; used by the tests that keep both languages alike."""
    return {name: spec or "text" for _, name, spec, _ in Formatter().parse(template) if name}


def _with_display_names(values: Mapping[str, Any], language: Language) -> dict[str, Any]:
    shown_values = dict(values)
    for key, kinds in (("method", ("method",)), ("reference", ("reference",)), ("name", ("method", "reference"))):
        kind = next((kind for kind in kinds if f"{kind}.{values.get(key)}" in table()), None)
        if kind is not None:
            shown_values[key] = name_of(kind, values[key], language)
    return shown_values


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """What `template` looks like once it is filled in, its values as named groups."""
    parts = Formatter().parse(template)
    return re.compile(
        "".join(re.escape(text) + (f"(?P<{name}>.+)" if name else "") for text, name, _, _ in parts), re.S
    )


class _Filler(Formatter):
    """`{name:form}`: the value in one of the named forms; a value without a form is text."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        form = format_spec or "text"
        if form not in FORMS:
            raise KeyError(f"no number format is called {form!r}")
        return shown(value, form, self._language)

"""The same scorecard told in the other language: its sentences are made again from their codes.

Called by work/slides.py for `--language`. What people wrote (purpose, names) and what holds values of its own in the
middle of a sentence (failures, warnings, remarks on money) stays as it is. Changes no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsugiki.errors import UsageError
from tsugiki.report.figures import Language
from tsugiki.report.scorecard import Card, criteria
from tsugiki.report.words import reason_sentence, rule_sentence, table


def retold(card: Card, language: Language) -> Card:
    """The card in `language`; UsageError where it does not hold the codes of its sentences."""
    if card["language"] == language:
        return card
    verdict = card["verdict"]
    try:
        rule = rule_sentence(verdict["code"], criteria(card), language)
        reasons = [reason_sentence(one["code"], one["values"], language) for one in verdict["codes"]]
    except (KeyError, TypeError, ValueError):  # written by hand, or by a version that knew other codes
        raise UsageError(
            f"The reasons of this scorecard can only be told in {card['language']}, the language it was written in.",
            fix="Leave --language out.",
        ) from None
    known = {entry[card["language"]]: entry[language] for key, entry in table().items() if key.startswith("missing.")}
    told = {name: _with_reasons(part, known) for name, part in card.items()}
    return {**told, "language": language, "verdict": {**verdict, "rule": rule, "reasons": reasons}}


def _with_reasons(part: Any, known: Mapping[str, str]) -> Any:
    """Why a number is missing is said in a few fixed sentences, wherever they stand."""
    if isinstance(part, Mapping):
        return {name: _with_reasons(inner, known) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_with_reasons(inner, known) for inner in part]
    return known.get(part, part) if isinstance(part, str) else part

"""A scorecard in the other language: the same numbers, other sentences; refused where the sentences cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.cards import full_card, small_card
from tsugiki.errors import UsageError
from tsugiki.report.retold import retold
from tsugiki.report.scorecard import check_scorecard
from tsugiki.report.words import missing_sentence, reason_sentence, rule_sentence


def coded_card(language: str) -> dict[str, Any]:
    card = full_card(language, "stop")
    values = {"method": "lora", "value": 0.325, "low": 0.264, "high": 0.393, "withdraw": 0.4}
    card["verdict"] |= {"code": "surely_below_withdrawal", "codes": [{"code": "below_withdrawal", "values": values}]}
    card["verdict"]["rule"] = rule_sentence("surely_below_withdrawal", card["study"]["criteria"], language)
    card["verdict"]["reasons"] = [reason_sentence("below_withdrawal", values, language)]
    for method in card["methods"]:
        method["reasons"] = {"cost": missing_sentence("no_price", language)}
    return card


@pytest.mark.parametrize(("here", "there"), [("ja", "en"), ("en", "ja")])
def test_the_sentences_are_those_of_the_other_language(here: Any, there: Any) -> None:
    card, other = coded_card(here), coded_card(there)
    told = retold(card, there)
    assert told["verdict"] == other["verdict"] and told["language"] == there
    assert told["methods"][0]["reasons"] == {"cost": missing_sentence("no_price", there)}
    assert told["study"]["purpose"] == card["study"]["purpose"]
    assert [one["quality"] for one in told["methods"]] == [one["quality"] for one in card["methods"]]
    assert not check_scorecard(told)
    assert card == coded_card(here)  # the one that was given is untouched


def test_the_same_language_is_the_same_card() -> None:
    card = small_card("ja")
    assert retold(card, "ja") is card


def test_a_card_without_codes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"can only be told in ja.*Leave --language out"):
        retold(small_card("ja"), "en")

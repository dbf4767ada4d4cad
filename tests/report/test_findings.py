"""Warnings and next steps follow from the numbers, and carry them."""

from __future__ import annotations

import pytest

from tests.report.cards import does_not_fit_card, every_card, full_card, small_card
from tsugiki.report.findings import next_steps, risks


def test_a_rise_of_the_general_loss_is_named_with_its_numbers() -> None:
    card = full_card("en")
    assert _texts(card)[0].startswith("Rows that look like they hold personal data or secrets: 1 (phone number).")
    assert "The loss on general text went from 3.214 to 3.255 (+0.041)." in "\n".join(_texts(card))
    card["methods"][0]["retention"]["loss_after"] = 3.5
    grave = [risk for risk in risks(card) if risk.level == "high"]
    assert any("3.500 (+0.286), above the limit of 0.100" in risk.text for risk in grave)
    card["methods"][0]["retention"]["loss_after"] = 3.1
    assert "general text" not in "\n".join(_texts(card))


def test_wrong_facts_are_counted() -> None:
    card = full_card("ja")
    assert any("数値の誤りが3件、単位の誤りが0件、否定の誤りが1件" in text for text in _texts(card))
    card["methods"][0]["facts"] |= {"numbers_wrong": 0, "negation_wrong": 0}
    assert not any("数値の誤り" in text for text in _texts(card))


def test_little_data_and_one_seed_are_said() -> None:
    texts = "\n".join(_texts(small_card("ja")))
    assert "評価データが21件と少なく、正答率の信頼区間が38ポイントの幅を持ちます" in texts
    assert "乱数は1通り" in texts
    assert "フルファインチューニングの結果がない" in texts


def test_a_reference_that_comes_close_is_grave_unless_it_was_surely_beaten() -> None:
    card = full_card("en")
    card["reference"][1]["quality"]["estimate"] = 0.73

    def said() -> bool:
        grave = [risk.text for risk in risks(card) if risk.level == "high"]
        return any("k-shot prompt without any training reaches 73.0%" in text for text in grave)

    card["verdict"]["codes"] = [{"code": "not_better_than_reference", "values": {}}]
    assert said()
    card["verdict"]["codes"] = [{"code": "beats_reference", "values": {}}]
    assert not said()


def test_rows_that_cross_the_users_own_split_are_grave() -> None:
    card = full_card("en")
    card["data_check"]["concerns"] = [{"kind": "crossing", "message": "x", "rows": [3, 9]}]
    assert any("2 of the 200 test rows are nearly equal" in risk.text for risk in risks(card) if risk.level == "high")


def test_an_undecided_study_is_told_what_would_decide_it() -> None:
    card = full_card("en", "undecidable")
    card["verdict"] |= {"needed_examples": None, "code": "nothing_to_judge"}
    assert next_steps(card)[0].startswith("Remove what kept the trials from finishing")
    card["verdict"] |= {"code": "no_sure_gain", "codes": [{"code": "no_number_decides", "values": {}}]}
    assert next_steps(card)[0].startswith("Measure what is missing")
    card["verdict"]["codes"] = [{"code": "too_close_to_decide", "values": {}}]
    assert next_steps(card)[0].startswith("Before collecting more data")
    assert not any("seeds" in step for step in next_steps(card))
    card["verdict"]["codes"] += [{"code": "few_seeds", "values": {}}]
    assert any("at least 3 seeds" in step for step in next_steps(card))


def test_the_margin_is_the_one_that_was_tested_with() -> None:
    card = full_card("en", "conditional")
    card["methods"][0]["against_full"]["margin"] = 0.031
    assert any("within 3.1 points of full" in text for text in _texts(card))


def test_an_adapter_that_cannot_be_merged_costs_latency() -> None:
    card = full_card("en")
    card["verdict"]["method"] = "adapter"
    texts = "\n".join(_texts(card)).replace("\N{NO-BREAK SPACE}", " ")
    assert "cannot be merged into the base: 25 ms per token, where a mergeable one takes 18 ms" in texts


def test_nothing_measured_claims_nothing() -> None:
    card = full_card("en")
    method = card["methods"][0]
    method |= {"retention": None, "latency": None, "facts": None}
    method["quality"] |= {"estimate": None, "low": None, "high": None, "reason": "none"}
    card |= {"data_check": {}, "learning_curve": None}
    assert _texts(card) == []


def test_failures_are_counted() -> None:
    assert any("1件の試行が完了しませんでした" in text for text in _texts(does_not_fit_card("ja")))


@pytest.mark.parametrize("name", every_card())
def test_every_verdict_has_two_to_seven_steps(name: str) -> None:
    assert 2 <= len(next_steps(every_card()[name])) <= 7


def test_steps_follow_the_verdict() -> None:
    assert any("1,240 examples (800 were used here)" in step for step in next_steps(full_card("en", "undecidable")))
    assert next_steps(full_card("en", "stop"))[0].startswith("Do not roll this version out")
    assert any("About 22 in 100 answers" in step or "About 21 in 100" in step for step in next_steps(full_card("en")))
    conditional = "\n".join(next_steps(full_card("en", "conditional")))
    assert "reach the criterion of 65.0%" in conditional and "at least 3 seeds" in conditional


def _texts(card: dict) -> list[str]:
    return [risk.text for risk in risks(card)]


def test_a_method_that_was_not_measured_says_nothing_about_full() -> None:
    card = full_card("en")
    card["methods"][0]["against_full"] = None
    assert any("no result for full fine-tuning" in risk.text for risk in risks(card))
    card["methods"][0]["quality"] |= {"estimate": None, "low": None, "high": None}
    assert not any("no result for full fine-tuning" in risk.text for risk in risks(card))

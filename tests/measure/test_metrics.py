"""Per-item scores, on the texts that people and models really write."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import sentence_chrf

from tsugiki.config import MetricName
from tsugiki.errors import DataError
from tsugiki.measure.metrics import comparable_scores, quality, score, scores_of


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("ＡＢＣ－１", "ABC-1", 1.0),
        (" Diode\n", "Diode", 1.0),
        ("two  words", "two words", 1.0),
        ("ﾃﾚﾌﾟﾘﾝﾀｰ", "テレプリンター", 1.0),
        ("diode", "Diode", 0.0),
        ("テレプリンタ", "テレプリンター", 0.0),
        ("102", "10²", 0.0),
        ("1", "①", 0.0),
        ("5 m3", "5 m³", 0.0),
        ("", "", 1.0),
    ],
)
def test_exact_match(prediction, reference, right):
    assert score("exact_match", prediction, reference) == right
    assert score("macro_f1", prediction, reference) == right  # the per-item twin


def test_chrf_is_sacrebleus_on_a_scale_to_one():
    hypothesis, reference = "ポンプを30分動かす。", "ポンプは30分間動かす。"
    assert score("chrf", hypothesis, reference) == pytest.approx(sentence_chrf(hypothesis, [reference]).score / 100)
    assert score("chrf", "", reference) == 0.0
    assert score("chrf", "same words", "same words") == 1.0


@pytest.mark.parametrize(
    ("prediction", "reference", "value"),
    [
        ("カンケン", "ガンケン", 0.75),
        ("", "ガン", 0.0),
        ("ガンガンガンガン", "ガン", 0.0),
        ("x", "", 0.0),
        ("", "", 1.0),
    ],
)
def test_character_accuracy(prediction, reference, value):
    assert score("character_accuracy", prediction, reference) == value


@pytest.mark.parametrize(
    ("prediction", "value"),
    [
        ('{"volt": 5, "case": {"name": "TO-220", "pins": [1, 2]}}', 1.0),
        ('{"case": {"pins": [1.0, 2], "name": "ＴＯ-220"}, "volt": 5.0}', 1.0),
        ('{"volt": 6, "case": {"name": "TO-220", "pins": [1, 2]}}', 0.75),
        ('{"volt": "5", "case": {"name": "TO-220", "pins": [1, 2]}}', 0.75),
        ('{"volt": true, "case": {"name": "TO-220", "pins": [1, 2]}}', 0.75),
        ('{"volt": 5, "case": {"name": "TO-220"}}', 0.5),
        ('{"volt": 5, "case": {"name": "TO-220", "pins": [1, 2]}, "extra": null}', 0.8),
        ("{}", 0.0),
        ("[]", 0.0),
        ('{"volt": 5', 0.0),
        ("volt is 5", 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_json_fields(prediction, value):
    reference = '{"volt": 5, "case": {"name": "TO-220", "pins": [1, 2]}}'
    assert score("json_fields", prediction, reference) == pytest.approx(value)


def test_json_fields_names_a_reference_that_is_not_json():
    with pytest.raises(DataError, match="Zener"):
        score("json_fields", "{}", "Zener")


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["exact_match", "chrf", "character_accuracy"]))
def test_scores_stay_between_zero_and_one_and_equal_texts_score_one(prediction, reference, metric):
    assert 0 <= score(metric, prediction, reference) <= 1
    assert score(metric, reference, reference) == pytest.approx(1.0)


def test_every_metric_of_the_config_gives_a_quality():
    answers = ['{"a": 1}'] * 6
    for metric in get_args(MetricName):
        found = quality(metric, [answers, answers], answers, confidence=0.95)
        assert found.value == pytest.approx(1.0)
        assert found.low < 1
        assert comparable_scores(metric, answers, answers) == pytest.approx([1.0] * 6)
        assert comparable_scores(metric, [], []) == []


@given(st.lists(st.tuples(st.sampled_from("abx"), st.sampled_from("ab")), min_size=5, max_size=40))
def test_what_is_compared_has_the_reported_number_as_its_mean(items):
    answers, references = [answer for answer, _ in items], [reference for _, reference in items]
    for metric in ("exact_match", "macro_f1", "chrf", "character_accuracy"):
        found = quality(metric, [answers], references, confidence=0.95)
        values = comparable_scores(metric, answers, references)
        assert sum(values) / len(values) == pytest.approx(found.value, abs=1e-12)


def test_macro_f1_is_reported_for_the_whole_set_and_the_rest_as_means():
    answers, references = ["a"] * 9 + ["b"], ["a"] * 8 + ["b", "b"]
    assert quality("exact_match", [answers], references, confidence=0.95).value == pytest.approx(0.9)
    assert quality("macro_f1", [answers], references, confidence=0.95).value == pytest.approx((16 / 17 + 2 / 3) / 2)
    assert scores_of("macro_f1", answers, references) == scores_of("exact_match", answers, references)

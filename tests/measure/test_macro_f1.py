"""Macro-F1 against scikit-learn, and its interval by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tsugiki.measure.macro_f1 import macro_f1, macro_f1_estimate

ITEM = st.tuples(st.sampled_from("abcx "), st.sampled_from("abc"))


@given(st.lists(ITEM, min_size=1, max_size=60))
def test_agrees_with_sklearn_over_the_references_classes(items):
    answers, references = [answer for answer, _ in items], [reference for _, reference in items]
    oracle = f1_score(references, answers, labels=sorted(set(references)), average="macro", zero_division=0)
    assert macro_f1(answers, references) == pytest.approx(oracle, abs=1e-12)


def draw(rng, n, right=0.7):
    references = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    return np.where(rng.random(n) < right, references, rng.choice(["a", "b", "c"], n)).tolist(), references.tolist()


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    truth = macro_f1(*draw(rng, 50_000))
    found = [
        macro_f1_estimate([answers], truths, confidence=0.95) for answers, truths in (draw(rng, 80) for _ in range(60))
    ]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.88  # 0.95 less 2.5 standard errors


def test_seeds_and_groups_widen_the_interval():
    rng = np.random.default_rng(1)
    answers, references = draw(rng, 60)
    alone = macro_f1_estimate([answers], references, confidence=0.95)
    good = references[:50] + answers[50:]
    seeds = macro_f1_estimate([answers, good, answers], references, confidence=0.95)
    grouped = macro_f1_estimate([answers], references, confidence=0.95, groups=[row // 6 for row in range(60)])
    assert seeds.high - seeds.low > alone.high - alone.low
    assert "3 seeds" in seeds.method
    assert "groups" in grouped.method


def test_all_right_leaves_something_open_and_too_few_say_nothing():
    found = macro_f1_estimate([["a", "b"] * 15], ["a", "b"] * 15, confidence=0.95)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.886, abs=0.001)
    assert macro_f1_estimate([["a"] * 4], ["a"] * 4, confidence=0.95) is None
    assert macro_f1_estimate([], ["a"] * 9, confidence=0.95) is None

"""Macro-F1 against scikit-learn, and its interval by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tsugiki.measure.macro_f1 import macro_f1_estimate, macro_f1_shares
from tsugiki.measure.stats import paired_difference, superiority

ITEM = st.tuples(st.sampled_from("abcx "), st.sampled_from("abc"))


@given(st.lists(ITEM, min_size=1, max_size=60))
def test_agrees_with_sklearn_over_the_references_classes(items):
    answers, references = [answer for answer, _ in items], [reference for _, reference in items]
    oracle = f1_score(references, answers, labels=sorted(set(references)), average="macro", zero_division=0)
    assert np.mean(macro_f1_shares(answers, references)) == pytest.approx(oracle, abs=1e-12)


def draw(rng, n, right=0.7):
    references = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    return np.where(rng.random(n) < right, references, rng.choice(["a", "b", "c"], n)).tolist(), references.tolist()


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    truth = np.mean(macro_f1_shares(*draw(rng, 20_000)))
    found = [
        macro_f1_estimate([answers], truths, confidence=0.95) for answers, truths in (draw(rng, 80) for _ in range(60))
    ]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.88  # 0.95 less 2.5 standard errors


def test_the_shares_spread_as_the_bootstrap_does():
    answers, references = draw(np.random.default_rng(5), 150)
    shares = macro_f1_shares(answers, references)
    found = macro_f1_estimate([answers], references, confidence=0.95)
    assert np.std(shares) / np.sqrt(150) == pytest.approx((found.high - found.low) / 3.92, rel=0.1)


def pair(rng, n):
    """The second side has learned the largest class alone; the first a little of all three."""
    references = rng.choice(["a", "b", "c"], n, p=[0.8, 0.1, 0.1])
    ours = np.where(rng.random(n) < 0.7, references, rng.choice(["a", "b", "c"], n))
    return ours.tolist(), ["a"] * n, references.tolist()


def test_two_methods_are_compared_by_macro_f1_and_not_by_right_answers():
    rng = np.random.default_rng(6)
    ours, theirs, references = pair(rng, 20_000)
    truth = np.mean(macro_f1_shares(ours, references)) - np.mean(macro_f1_shares(theirs, references))
    assert truth > 0.2 and np.mean(np.equal(ours, references)) < np.mean(np.equal(theirs, references)) + 0.05
    covered, better = [], []
    for _ in range(60):
        ours, theirs, references = pair(rng, 120)
        sides = [[macro_f1_shares(answers, references)] for answers in (ours, theirs)]
        found = paired_difference(*sides, confidence=0.95)
        covered.append(found.low <= truth <= found.high)
        better.append(superiority(*sides) <= 0.05)
    assert np.mean(covered) >= 0.88 and np.mean(better) >= 0.9


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

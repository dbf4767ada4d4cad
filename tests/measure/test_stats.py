"""Intervals and paired tests: against scipy and statsmodels, and by simulation where no library has the answer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests

from tsugiki.measure.intervals import tango
from tsugiki.measure.stats import (
    Estimate,
    holm,
    margin_for,
    mcnemar,
    mean_with_interval,
    needed_n,
    needed_n_alone,
    non_inferiority,
    paired_difference,
    superiority,
    unmeasured,
)

BITS = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=5, max_size=80)


def test_estimate_is_the_contracts_quality():
    assert Estimate(0.5, 0.4, 0.6, 10, "Wilson").as_json("chrf") == {
        "metric": "chrf", "estimate": 0.5, "low": 0.4, "high": 0.6, "n": 10, "method": "Wilson"}  # fmt: skip
    assert unmeasured("chrf", "no answers")["estimate"] is None
    assert unmeasured("chrf", "no answers")["reason"] == "no answers"


@given(st.integers(0, 60), st.integers(5, 60), st.sampled_from([0.8, 0.95, 0.99]))
def test_one_seed_of_right_and_wrong_is_wilson(right, n, confidence):
    right = min(right, n)
    found = mean_with_interval([[1.0] * right + [0.0] * (n - right)], confidence=confidence)
    oracle = scipy_stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)
    assert found.value == pytest.approx(right / n)
    assert found.method == "Wilson, over items"


@pytest.mark.parametrize("n", [8, 60])
def test_one_seed_of_graded_scores_is_scipys_bca_with_students_critical_value(n):
    scores = np.random.default_rng(3).beta(2, 1, n)
    found = mean_with_interval([scores.tolist()], confidence=0.95, seed=5)
    oracle = scipy_stats.bootstrap((scores,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    stretch = scipy_stats.t.isf(0.025, n - 1) / scipy_stats.norm.isf(0.025)
    expected = [scores.mean() + (end - scores.mean()) * stretch for end in (oracle.low, oracle.high)]
    assert found.method.startswith("BCa bootstrap")
    assert (found.low, found.high) == pytest.approx(expected, abs=0.3 / n)


def test_graded_scores_of_few_items_are_covered():
    rng = np.random.default_rng(11)
    covered = []
    for _ in range(150):
        scores = rng.beta(2, 1, 8)
        found = mean_with_interval([scores.tolist()], confidence=0.95)
        covered.append(found.low <= 2 / 3 <= found.high)
    assert np.mean(covered) >= 0.90  # plain BCa: 0.89


@pytest.mark.parametrize("scores", [[], [[]], [[1.0] * 4], [[0.5] * 8, [0.5] * 7], [[math.nan] + [1.0] * 9]])
def test_too_little_or_broken_data_gives_none(scores):
    assert mean_with_interval(scores, confidence=0.95) is None
    assert paired_difference(scores, scores, confidence=0.95) is None
    assert superiority(scores, scores) is None
    assert non_inferiority(scores, scores, 0.02, confidence=0.95) is None
    assert needed_n(scores, scores, confidence=0.95) is None


def test_our_own_mistakes_are_loud():
    with pytest.raises(ValueError, match="same items"):
        paired_difference([[1.0] * 9], [[1.0] * 8], confidence=0.95)
    with pytest.raises(ValueError, match="groups"):
        mean_with_interval([[1.0, 0.0] * 5], confidence=0.95, groups=["a"])


def test_ten_items_from_two_documents_are_two_draws_and_too_few():
    assert mean_with_interval([[1.0, 0.0] * 5], confidence=0.95, groups=["a", "b"] * 5) is None


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_scores_never_give_an_interval_without_width(value, seeds):
    found = mean_with_interval([[value] * 30] * seeds, confidence=0.95)
    assert found.high - found.low > 0.05
    difference = paired_difference([[value] * 30] * seeds, [[value] * 30], confidence=0.95)
    assert difference.low < -0.05 < 0.05 < difference.high


def test_thirty_of_thirty_right_still_leaves_about_a_tenth_open():
    assert mean_with_interval([[1.0] * 30], confidence=0.95).low == pytest.approx(0.886, abs=0.001)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.integers(0, 2, 20), 5).astype(float).tolist()
    groups = np.repeat(np.arange(20), 5).tolist()
    alone = mean_with_interval([scores], confidence=0.95)
    grouped = mean_with_interval([scores], confidence=0.95, groups=groups)
    assert (grouped.high - grouped.low) > 1.8 * (alone.high - alone.low)  # five copies of an item are one item
    assert "groups" in grouped.method


@given(BITS)
def test_mcnemar_agrees_with_statsmodels(pairs):
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found = mcnemar(ours, theirs)
    oracle = oracle_mcnemar([[0, found.wins], [found.losses, 0]], exact=True).pvalue
    assert found.exact == pytest.approx(oracle, abs=1e-9)
    assert found.mid_p <= found.exact
    assert superiority([ours], [theirs]) == pytest.approx(found.mid_p)


def test_mid_p_by_hand():
    found = mcnemar([1.0] * 7 + [0.0], [0.0] * 7 + [1.0])
    assert found.exact == pytest.approx(18 / 256)
    assert found.mid_p == pytest.approx(10 / 256)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(pvalues):
    assert holm(pvalues) == pytest.approx(list(multipletests(pvalues, method="holm")[1]), abs=1e-9)


@pytest.mark.parametrize(("wins", "losses", "n"), [(12, 5, 100), (0, 0, 50), (3, 0, 40), (30, 0, 30), (1, 9, 25)])
def test_tango_inverts_the_score_test(wins, losses, n):
    """Oracle: maximise the trinomial likelihood under the bound by brute force; the score there is critical."""
    low, high = tango(wins, losses, n, 1.959963984540054)
    for bound, sign in ((low, 1), (high, -1)):
        if abs(bound) > 1 - 1e-6:
            continue

        def negative(loss_rate, bound=bound):
            win_rate = loss_rate + bound
            rest = max(1e-300, 1 - win_rate - loss_rate)
            logs = [(wins, win_rate), (losses, loss_rate), (n - wins - losses, rest)]
            return -sum(count * math.log(max(rate, 1e-300)) for count, rate in logs if count)

        edges = (max(0.0, -bound), (1 - bound) / 2)
        best = optimize.minimize_scalar(negative, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
        score = (wins - losses - n * bound) / math.sqrt(n * (2 * best + bound * (1 - bound)))
        assert score == pytest.approx(sign * 1.95996, abs=2e-3)


def test_tango_at_a_critical_value_that_no_difference_reaches_is_everything():
    assert tango(0, 0.5, 24, 4e5) == (-1.0, 1.0)  # two seeds that differ in one item, at one in a million


def test_paired_difference_is_antisymmetric_and_contains_the_value():
    rng = np.random.default_rng(1)
    for ours, theirs in ((rng.integers(0, 2, (3, 40)), rng.integers(0, 2, (1, 40))), (rng.random((2, 40)),) * 2):
        there = paired_difference(ours.tolist(), theirs.tolist(), confidence=0.95)
        back = paired_difference(theirs.tolist(), ours.tolist(), confidence=0.95)
        assert there.value == pytest.approx(-back.value)
        assert there.low == pytest.approx(-back.high, abs=0.01)
        assert there.low <= there.value <= there.high


def crossed(rng, items, seeds, *, seed_spread, binary):
    """Scores with item difficulty, a shift per seed and noise; the truth is the mean over all seeds and items."""
    latent = 0.6 + rng.normal(0, 0.25, items)[None, :] + rng.normal(0, seed_spread, seeds)[:, None]
    latent = np.clip(latent, 0, 1)
    return rng.binomial(1, latent).astype(float) if binary else np.clip(latent + rng.normal(0, 0.1, latent.shape), 0, 1)


@pytest.mark.parametrize("seed_spread", [0.0, 0.1])
@pytest.mark.parametrize("binary", [True, False])
def test_intervals_with_seeds_cover_the_truth(seed_spread, binary):
    rng = np.random.default_rng(11)
    truth = np.mean([crossed(rng, 400, 40, seed_spread=seed_spread, binary=binary).mean() for _ in range(100)])
    inside = 0
    for run in range(300):
        table = crossed(rng, 50, 3, seed_spread=seed_spread, binary=binary)
        found = mean_with_interval(table.tolist(), confidence=0.95, seed=run)
        inside += found.low <= truth <= found.high
    assert 0.91 <= inside / 300 <= 1.0


@pytest.mark.parametrize(("rate", "n"), [(0.97, 30), (0.97, 100), (0.6, 30)])
def test_wilson_covers_near_the_edge(rate, n):
    rng = np.random.default_rng(2)
    draws = rng.binomial(1, rate, (600, n)).astype(float)
    found = [mean_with_interval([row.tolist()], confidence=0.95) for row in draws]
    assert np.mean([each.low <= rate <= each.high for each in found]) >= 0.92


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("binary", [True, False])
def test_paired_difference_covers_and_superiority_keeps_its_level(seeds, binary):
    rng = np.random.default_rng(5)
    inside = claimed = 0
    for run in range(300):
        difficulty = np.clip(0.6 + rng.normal(0, 0.25, 60), 0, 1)
        shifts = rng.normal(0, 0.04, (2, seeds, 1)) if seeds > 1 else np.zeros((2, 1, 1))
        latent = np.clip(difficulty + shifts, 0, 1)
        both = (
            rng.binomial(1, latent).astype(float)
            if binary
            else np.clip(latent + rng.normal(0, 0.1, latent.shape), 0, 1)
        )
        found = paired_difference(both[0].tolist(), both[1].tolist(), confidence=0.95, seed=run)
        inside += found.low <= 0 <= found.high
        claimed += superiority(both[0].tolist(), both[1].tolist(), seed=run) <= 0.05
    assert inside / 300 >= 0.92
    assert claimed / 300 <= 0.075  # 0.05 and two standard errors of the simulation


def test_superiority_sees_a_real_gain():
    rng = np.random.default_rng(6)
    base = rng.binomial(1, 0.4, 100).astype(float)
    ours = np.maximum(base, rng.binomial(1, 0.4, (3, 100)))
    assert superiority(ours.tolist(), [base.tolist()]) < 0.001


@pytest.mark.parametrize("graded", [False, True])
def test_non_inferiority_has_three_answers(graded):
    rng = np.random.default_rng(7)
    full = rng.binomial(1, 0.8, 300).astype(float)
    if graded:
        full = 0.3 + 0.6 * full
    equal, worse = full.copy(), full.copy()
    worse[:60] *= 0.1
    some = full.copy()
    some[:12], some[12:20] = 0.0, 1.0
    assert non_inferiority([equal.tolist()], [full.tolist()], 0.05, confidence=0.95).holds is True
    assert non_inferiority([worse.tolist()], [full.tolist()], 0.05, confidence=0.95).holds is False
    assert non_inferiority([some.tolist()], [full.tolist()], 0.03, confidence=0.95).holds is None


def test_non_inferiority_rests_on_the_one_sided_bound():
    rng = np.random.default_rng(8)
    ours, full = rng.binomial(1, 0.8, (3, 120)).astype(float), rng.binomial(1, 0.8, (3, 120)).astype(float)
    one_sided = paired_difference(ours.tolist(), full.tolist(), confidence=0.90).low
    for margin, holds in ((-one_sided + 1e-4, True), (-one_sided - 1e-4, None)):
        found = non_inferiority(ours.tolist(), full.tolist(), margin, confidence=0.95)
        assert found.holds is holds
        assert found.p == pytest.approx(0.05, abs=0.001)


def test_non_inferiority_is_claimed_wrongly_in_at_most_five_percent():
    rng = np.random.default_rng(9)
    claimed = 0
    for run in range(300):
        full = rng.binomial(1, 0.8, 150).astype(float)
        ours = np.where(rng.random(150) < 0.05, 1 - full, full)  # exactly 0.05 * 0.6 = 3 points worse on average
        claimed += non_inferiority([ours.tolist()], [full.tolist()], 0.03, confidence=0.95, seed=run).holds is True
    assert claimed / 300 <= 0.075


def test_margin_is_the_larger_of_points_and_share():
    assert margin_for(0.9, 0.1, points=2.0, gain_share=0.02) == pytest.approx(0.02)
    assert margin_for(0.9, 0.1, points=1.0, gain_share=0.05) == pytest.approx(0.04)
    assert margin_for(0.1, 0.9, points=2.0, gain_share=0.5) == pytest.approx(0.02)


def test_needed_n_gives_the_power_it_promises():
    rng = np.random.default_rng(10)

    def study(n):
        base = rng.binomial(1, 0.5, n).astype(float)
        gain = rng.random(n) < 0.15
        loss = rng.random(n) < 0.05
        ours = np.where(loss, 0.0, np.where(gain, 1.0, base))
        return ours.tolist(), base.tolist()

    ours, base = study(20_000)
    n = needed_n([ours], [base], confidence=0.95)
    decided = [superiority([a], [b]) <= 0.05 for a, b in (study(n) for _ in range(300))]
    assert 0.75 <= np.mean(decided) <= 0.9


def test_needed_n_is_none_when_no_number_would_do():
    even = [1.0, 0.0] * 20
    assert needed_n([even], [even], confidence=0.95) is None
    seeds = [[1.0] * 40, [0.0] * 36 + [1.0] * 4, [1.0] * 20 + [0.0] * 20]
    assert needed_n(seeds, [even], confidence=0.95) is None  # seeds alone blur more than the difference


def test_needed_n_for_a_margin_counts_a_lead_as_a_tie():
    ours, theirs = [1.0] * 50 + [0.0] * 10, [1.0] * 40 + [0.0] * 20
    lead = needed_n([ours], [theirs], threshold=-0.02, sides=1, confidence=0.95)
    assert lead > needed_n([ours], [theirs], confidence=0.95)


def test_needed_n_at_a_criterion():
    right = [1.0] * 150 + [0.0] * 50
    n = needed_n_alone([right], 0.65, confidence=0.95)
    assert 140 <= n <= 190  # 0.75 * 0.25 * (2.80 / 0.10)^2 = 147, raised for the unsure variance
    assert needed_n_alone([right], 0.75, confidence=0.95) is None
    grouped = needed_n_alone([right], 0.65, confidence=0.95, groups=[row // 4 for row in range(200)])
    assert grouped > 2 * n  # four copies of one item are one


def test_no_number_of_items_makes_the_seeds_agree():
    seeds = [[1.0] * (count) + [0.0] * (100 - count) for count in (45, 65, 55)]
    assert needed_n_alone(seeds, 0.60, confidence=0.95) is None


@pytest.mark.parametrize("groups", [None, [row // 2 for row in range(24)]])
def test_all_items_right_in_every_seed_against_none(groups):
    ours, theirs = [[1.0] * 24] * 3, [[0.0] * 24]
    assert superiority(ours, theirs, groups=groups) < 0.01
    assert non_inferiority(ours, theirs, 0.02, confidence=0.95, groups=groups).holds is True
    assert needed_n(ours, theirs, confidence=0.95, groups=groups) is not None
    uneven = [[1.0] * 24, [0.0] * 24, [1.0] * 24]
    assert superiority(uneven, theirs, groups=groups) > 0.05  # one seed in three learned nothing


def test_the_bound_of_non_inferiority_is_the_one_that_decides():
    rng = np.random.default_rng(4)
    ours = rng.binomial(1, 0.8, 300).astype(float)
    theirs = np.where(rng.random(300) < 0.03, 1 - ours, ours)
    found = non_inferiority([ours.tolist()], [theirs.tolist()], 0.02, confidence=0.95)
    assert found.difference.low < found.bound < found.difference.value
    assert (found.bound > -0.02) == (found.holds is True)


def test_an_overwhelming_gain_shows_in_spite_of_uneven_seeds():
    rng = np.random.default_rng(0)
    ours = [rng.binomial(1, rate, 200).astype(float).tolist() for rate in (0.93, 0.80, 0.89)]
    assert superiority(ours, [rng.binomial(1, 0.1, 200).astype(float).tolist()]) < 0.01


@pytest.mark.parametrize("wins", [13, 20, 60])
def test_beyond_what_signs_drawn_at_random_can_show_the_tail_is_on_the_careful_side(wins):
    scores = np.linspace(0.9, 1.0, wins)
    found = superiority([scores.tolist()], [[0.0] * wins])
    assert 2 * 0.5**wins <= found <= 4 / 5000  # all signs alike, and no better than what is seen once at most

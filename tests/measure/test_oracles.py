"""Where scipy or statsmodels compute the same thing, they agree to 1e-9 (docs/statistics.md lists what)."""

import math
import warnings

import numpy as np
import pandas
import pytest
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.formula.api import ols
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from tsugiki.measure.intervals import RESAMPLES, _tango_statistic, level_at, seed_parts, spread, tango
from tsugiki.measure.macro_f1 import macro_f1_shares
from tsugiki.measure.stats import mcnemar, mean_with_interval, needed_n, non_inferiority, superiority

EXACT = {"rel": 0, "abs": 1e-9}


@pytest.mark.parametrize(("right", "n"), [(0, 12), (7, 30), (97, 100), (150, 200), (50, 50)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_that_of_both(right, n, confidence):
    found = mean_with_interval([[1.0] * right + [0.0] * (n - right)], confidence=confidence)
    for low, high in (
        stats.binomtest(right, n).proportion_ci(confidence, method="wilson"),
        proportion_confint(right, n, 1 - confidence, method="wilson"),
    ):
        assert (found.low, found.high) == pytest.approx((low, high), **EXACT)


@pytest.mark.parametrize(("wins", "losses"), [(9, 3), (0, 4), (25, 30), (60, 20)])
def test_mcnemar_is_that_of_both_and_tangos_score_at_zero_is_it_too(wins, losses):
    n = 120
    ours = [1.0] * wins + [0.0] * losses + [1.0] * (n - wins - losses)
    theirs = [0.0] * wins + [1.0] * losses + [1.0] * (n - wins - losses)
    found = mcnemar(ours, theirs)
    table = [[0, wins], [losses, 0]]
    assert found.exact == pytest.approx(oracle_mcnemar(table, exact=True).pvalue, **EXACT)
    assert found.exact == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, **EXACT)
    score = oracle_mcnemar(table, exact=False, correction=False).statistic
    assert _tango_statistic(wins, losses, n, 0.0) ** 2 == pytest.approx(score, **EXACT)
    p = level_at(lambda level: tango(wins, losses, n, float(stats.norm.isf((1 - level) / 2))), 0.0)
    assert p == pytest.approx(stats.norm.sf((wins - losses) / math.sqrt(wins + losses)), **EXACT)


def test_non_inferiority_at_a_margin_of_nothing_is_the_one_sided_score_test():
    rng = np.random.default_rng(2)
    ours, theirs = rng.binomial(1, 0.7, 150).astype(float), rng.binomial(1, 0.6, 150).astype(float)
    wins, losses = float(np.sum(ours > theirs)), float(np.sum(ours < theirs))
    found = non_inferiority([ours.tolist()], [theirs.tolist()], 0.0, confidence=0.95)
    assert found.p == pytest.approx(stats.norm.sf((wins - losses) / math.sqrt(wins + losses)), **EXACT)


def test_the_variance_over_groups_is_statsmodels_cluster_robust_one():
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(60), np.sort(rng.integers(0, 17, 60))
    clusters = np.unique(clusters, return_inverse=True)[1]
    fit = OLS(scores, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    assert spread(scores, clusters, (scores[None],)).items == pytest.approx(float(fit.bse[0]) ** 2, **EXACT)
    alone = spread(scores, np.arange(60), (scores[None],)).items
    assert math.sqrt(alone) == pytest.approx(float(stats.sem(scores)), **EXACT)


def test_the_variance_of_seeds_is_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(1)
    table = rng.random((3, 20)) + rng.normal(0, 0.2, 3)[:, None] + rng.normal(0, 0.3, 20)[None]
    rows = pandas.DataFrame(
        [(f"s{seed}", f"i{item}", table[seed, item]) for seed in range(3) for item in range(20)],
        columns=["seed", "item", "score"],
    )
    squares = anova_lm(ols("score ~ C(seed) + C(item)", rows).fit())["mean_sq"]
    excess, between, freedom = seed_parts(table)
    assert between == pytest.approx(squares["C(seed)"] / 60, **EXACT)
    assert excess == pytest.approx((squares["C(seed)"] - squares["Residual"]) / 60, **EXACT)
    assert freedom == 2


def test_bca_before_it_is_stretched_is_scipys():
    scores = np.random.default_rng(3).beta(2, 1, 40)
    found = mean_with_interval([scores.tolist()], confidence=0.9, seed=5)

    def mean(values, axis):
        return values.sum(axis=axis) / values.shape[axis]

    oracle = stats.bootstrap((scores,), mean, n_resamples=RESAMPLES, confidence_level=0.9, method="BCa", batch=1000,
                             rng=np.random.default_rng(5)).confidence_interval  # fmt: skip
    stretch = stats.t.isf(0.05, 39) / stats.norm.isf(0.05)
    ends = [scores.mean() + (end - scores.mean()) * stretch for end in (oracle.low, oracle.high)]
    assert (found.low, found.high) == pytest.approx(ends, **EXACT)


def test_sign_flips_are_scipys_permutation_test():
    rng = np.random.default_rng(4)
    ours, theirs = rng.random(10), rng.random(10)  # few enough that all 1024 signs are tried
    oracle = stats.permutation_test(
        (ours, theirs), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert superiority([ours.tolist()], [theirs.tolist()]) == pytest.approx(oracle.pvalue, **EXACT)


def test_needed_items_are_statsmodels_power_with_the_raised_variance():
    rng = np.random.default_rng(5)
    ours, theirs = np.clip(rng.normal(0.62, 0.2, 50), 0, 1), np.clip(rng.normal(0.5, 0.2, 50), 0, 1)
    difference = ours - theirs
    raised = np.var(difference, ddof=1) * 49 / stats.chi2.ppf(0.2, 49)
    found = needed_n([ours.tolist()], [theirs.tolist()], threshold=0.02, sides=1, confidence=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        effect = (difference.mean() - 0.02) / math.sqrt(raised)
        oracle = NormalIndPower(ddof=0).solve_power(effect, alpha=0.05, power=0.8, ratio=0, alternative="larger")
    assert found == math.ceil(oracle)


def test_macro_f1_is_scikit_learns():
    rng = np.random.default_rng(6)
    references, answers = rng.choice(list("abc"), 40).tolist(), rng.choice(list("abc"), 40).tolist()
    oracle = f1_score(references, answers, average="macro")
    assert np.mean(macro_f1_shares(answers, references)) == pytest.approx(oracle, **EXACT)

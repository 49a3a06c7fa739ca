"""A judge's audit: its statistics by hand, their invariances, and judges of known quality."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.intervals import wilson
from judges.audit import (
    MIN_PROMPTS,
    AuditedPrompt,
    auc,
    audit,
    calibration,
    estimate,
    resamples,
    spearman,
)

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 16)), min_size=1, max_size=40)
"""(ease in eighths, passes of 16): few values, so many ties."""


def holdout(pairs):
    return [
        AuditedPrompt(f"p{n:03}", e / 8, None, None, e / 8, k, 16, dropped=e > 4)
        for n, (e, k) in enumerate(pairs)
    ]


def simulated(noise, seed, count=200):
    """A judge whose ease is the pass rate plus Gaussian noise (None: pure noise) and that drops the
    easiest 30 %."""
    rng = np.random.default_rng(seed)
    rate_N = rng.beta(0.7, 0.7, count)
    ease_N = (
        rng.random(count)
        if noise is None
        else np.clip(rate_N + noise * rng.normal(size=count), 0, 1)
    )
    dropped_N = np.argsort(np.argsort(-ease_N)) < 0.3 * count
    passes_N = rng.binomial(32, rate_N)
    rows = zip(ease_N.tolist(), passes_N.tolist(), dropped_N.tolist(), strict=True)
    return [AuditedPrompt(f"p{n}", e, None, None, e, k, 32, d) for n, (e, k, d) in enumerate(rows)]


def of(measured, rates=False):
    result = audit(measured, 0.3, rates, seed=5)
    json.dumps(result.to_json(), allow_nan=False)
    return result


def one(statistic, *arrays):
    """The statistic of the holdout itself."""
    return statistic(*map(np.array, arrays), np.ones((1, len(arrays[0]))))[0]


def test_spearman_by_hand():
    assert one(spearman, [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, spreads 4.5 and 5.
    assert one(spearman, [1, 2, 2, 7], [0, 1, 2, 3]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert one(spearman, [3, 2, 1], [1, 2, 3]) == -1
    assert math.isnan(one(spearman, [1, 1, 1], [1, 2, 3]))


def test_auc_by_hand():
    # Solved 0.9 and 0.5 against 0.5, 0.1 and 0.7: 3 wins; 1 win, a tie, a loss.
    assert one(auc, [0.9, 0.5, 0.5, 0.1, 0.7], [True, True, False, False, False]) == pytest.approx(
        4.5 / 6
    )
    assert one(auc, [0.2, 0.1], [True, False]) == 1
    assert math.isnan(one(auc, [0.2, 0.1], [True, True]))


@given(PAIRS, st.integers(0, 99))
def test_a_resample_by_weights_is_one_by_repetition(pairs, seed):
    ease_N, passes_N = np.array(pairs, dtype=float).T
    solved_N = passes_N > 8
    weights_RN = resamples(len(pairs), seed)[:5]
    assert (weights_RN.sum(1) == len(pairs)).all() and (weights_RN[0] == 1).all()
    for n, weights_N in enumerate(weights_RN.astype(int)):
        e, k, s = (np.repeat(values_N, weights_N) for values_N in (ease_N, passes_N, solved_N))
        assert spearman(ease_N, passes_N, weights_RN)[n] == pytest.approx(
            one(spearman, e, k), nan_ok=True
        )
        pairs_won = [(a > b) + (a == b) / 2 for a in e[s] for b in e[~s]]
        plain = np.mean(pairs_won) if pairs_won else math.nan
        assert auc(ease_N, solved_N, weights_RN)[n] == pytest.approx(plain, nan_ok=True)


@given(PAIRS)
def test_spearman_depends_on_ranks_only_and_is_symmetric(pairs):
    ease_N, passes_N = np.array(pairs, dtype=float).T
    rho = one(spearman, ease_N, passes_N)
    assert one(spearman, np.exp(ease_N), passes_N**3) == pytest.approx(rho, nan_ok=True)
    assert one(spearman, passes_N, ease_N) == pytest.approx(rho, nan_ok=True)
    assert one(spearman, -ease_N, passes_N) == pytest.approx(-rho, nan_ok=True)


@given(PAIRS)
def test_auc_of_negated_ease_is_the_complement(pairs):
    ease_N, passes_N = np.array(pairs, dtype=float).T
    assert one(auc, -ease_N, passes_N > 8) == pytest.approx(
        1 - one(auc, ease_N, passes_N > 8), nan_ok=True
    )


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.randoms())
def test_intervals_contain_their_value_and_order_changes_nothing(pairs, random):
    measured = holdout(pairs)
    result = of(measured, rates=True)
    estimates = (
        result.spearman,
        result.auc,
        result.false_drop,
        result.control,
        result.false_drop_difference,
    )
    for least, found in zip((-1, 0, 0, 0, -1), estimates, strict=True):
        assert found is None or least <= found.low <= found.value <= found.high <= 1 + 1e-12
    random.shuffle(measured)
    assert of(measured, rates=True) == result


def test_an_interval_is_widened_to_contain_its_value():
    beside = np.linspace(0.2, 0.4, 41)
    above, below = (estimate(np.append(value, beside), chance=0.0) for value in (0.9, 0.1))
    assert above is not None and below is not None
    assert (above.low, above.high) == pytest.approx((0.205, 0.9))
    assert (below.low, below.high) == pytest.approx((0.1, 0.395))


def test_the_bootstrap_interval_agrees_with_fishers():
    result = of(simulated(0.5, seed=2, count=500)).spearman
    # Bonett and Wright (2000): the variance of atanh(rho) is (1 + rho^2 / 2) / (n - 3).
    half = 1.96 * math.sqrt((1 + result.value**2 / 2) / 497)
    expected = [math.tanh(math.atanh(result.value) + side) for side in (-half, half)]
    assert [result.low, result.high] == pytest.approx(expected, abs=0.02)


def test_calibration_by_hand():
    error, curve = calibration(np.array([0.05, 0.3, 0.35, 1.0]), np.array([0.0, 0.5, 0.5, 1.0]))
    assert error == pytest.approx((0.05 + 2 * 0.175 + 0) / 4)
    assert [(row["start"], row["end"], row["prompts"]) for row in curve] == [
        (0, 0.1, 1),
        (0.3, 0.4, 2),
        (0.9, 1, 1),
    ]
    assert curve[1]["ease"] == pytest.approx(0.325) and curve[1]["pass_rate"] == 0.5


def test_coverage_counts_prompts_with_an_interval_and_calibration_needs_rates():
    bounds = [(0.4, 0.6), (0.6, 0.9), (0.5, 0.5), (None, None)]
    measured = [
        AuditedPrompt(f"p{n}", 0.5, low, high, 0.5, 8, 16, False)
        for n, (low, high) in enumerate(bounds)
    ]
    assert of(measured).coverage == pytest.approx(2 / 3)
    assert of(measured[3:]).coverage is None
    assert of(measured, rates=True).calibration_error == 0
    assert of(measured).calibration_error is None and of(measured).calibration is None


def test_false_drops_by_hand():
    # Medium is 0.2 to 0.8 with both ends: 4, 10 and 16 of 20, not 3 and 17. Two of the three
    # dropped, three of six.
    passes = [(4, True), (16, True), (17, True), (3, False), (10, False), (20, False)]
    measured = [
        AuditedPrompt(f"p{n}", 0.5, None, None, 0.5, k, 20, dropped)
        for n, (k, dropped) in enumerate(passes)
    ]
    result = of(measured)
    assert (result.false_drop.value, result.control.value) == (2 / 3, 3 / 6)
    assert (result.false_drop.low, result.false_drop.high) == wilson(2, 3)
    assert (result.control.low, result.control.high) == wilson(3, 6)
    assert result.false_drop_difference.value == pytest.approx(1 / 6)


def test_a_perfect_judge_is_worth_asking():
    result = of(simulated(0.0, seed=1), rates=True)
    assert result.worth_asking and result.auc.low > 0.95 and result.spearman.low > 0.9
    assert result.calibration_error < 0.05
    assert result.false_drop_difference.high < 0
    shares = (
        result.false_drop.value,
        result.false_drop.low,
        result.false_drop.high,
        result.control.value,
    )
    value, low, high, control = (f"{100 * share:.0f}" for share in shares)
    assert (
        f"of the easiest 30 %, which it dropped, {value} % [{low}, {high}] are of medium"
        in result.sentence
    )
    assert result.sentence.endswith(f"against {control} % with a random filter.")


def test_a_noisy_judge_scores_between_perfect_and_random():
    result = of(simulated(0.3, seed=1), rates=True)
    assert result.worth_asking and 0.7 < result.auc.value < 0.95
    assert (
        f"better than chance: AUC {result.auc.value:.2f} [{result.auc.low:.2f}" in result.sentence
    )
    assert result.calibration_error > of(simulated(0.0, seed=1), rates=True).calibration_error


def test_a_random_judge_rarely_passes_as_useful():
    results = [of(simulated(None, seed, count)) for seed in range(20) for count in (60, 200)]
    assert sum(result.worth_asking for result in results) <= 3
    assert sum(result.auc.low <= 0.5 <= result.auc.high for result in results) >= 34
    assert sum("no better than a random filter" in result.sentence for result in results) >= 25


def test_a_reversed_judge_is_worse_than_a_random_filter():
    measured = [replace(one, rank=1 - one.rank) for one in simulated(0.2, seed=3)]
    assert not of(measured).worth_asking
    assert "worse than a random filter" in of(measured).sentence


def test_small_samples_give_no_conclusion():
    measured = simulated(0.0, seed=1)
    assert of([]).spearman is None and of([], rates=True).control is None
    few = of(measured[: MIN_PROMPTS - 1])
    assert not few.worth_asking and f"{MIN_PROMPTS - 1} prompts were measured" in few.sentence
    assert of(measured[:MIN_PROMPTS]).worth_asking
    wide = of(simulated(None, seed=3, count=25))
    assert wide.auc.low <= 0.5 and wide.auc.high > 0.7 and "measure more prompts" in wide.sentence


@pytest.mark.parametrize("change", [{"rank": 0.5}, {"passes": 32}, {"passes": 0}])
def test_constant_ease_or_pass_rate_gives_no_conclusion(change):
    result = of([replace(one, **change) for one in simulated(0.0, seed=1)], rates=True)
    assert result.spearman is None and not result.worth_asking
    assert (result.auc is None) == ("passes" in change)
    assert result.sentence.startswith("cannot tell: ") and "the same for every" in result.sentence


def test_the_rank_correlation_decides_where_one_class_is_small():
    unsolved = [replace(one, passes=one.passes // 2) for one in simulated(0.1, seed=1)]
    assert of(unsolved).auc is None
    assert of(unsolved).worth_asking and "rank correlation 0." in of(unsolved).sentence
    lucky = [
        replace(one, passes=32) if n < MIN_PROMPTS // 2 - 1 else one
        for n, one in enumerate(unsolved)
    ]
    assert of(lucky).auc is not None and "rank correlation 0." in of(lucky).sentence


def test_a_resample_without_a_value_counts_as_chance():
    # A third of the resamples lack the only solved prompt.
    result = of(
        [
            AuditedPrompt(f"p{n}", 0.5, None, None, n / 40, 16 * (n == 30), 16, False)
            for n in range(31)
        ]
    )
    assert (result.auc.value, result.auc.low) == (1, 0.5)


def test_nothing_dropped_and_nothing_measured():
    measured = [replace(one, dropped=False) for one in simulated(0.1, seed=1)]
    result = of([*measured, AuditedPrompt("unmeasured", 0.5, 0.1, 0.9, 0.5, 0, 0, True)])
    assert (
        result.false_drop is None
        and result.false_drop_difference is None
        and result.control is not None
    )
    assert (result.prompts, result.unmeasured, result.share, result.coverage) == (200, 1, 0.3, None)
    assert result.sentence.endswith("; none of the prompts that it dropped was measured.")


def test_wrong_input_is_refused():
    for wrong in ({"ease": 1.1}, {"ease": math.nan}, {"passes": 17}, {"passes": -1}):
        with pytest.raises(ValueError, match="p000"):
            replace(holdout([(1, 1)])[0], **wrong)
    with pytest.raises(ValueError, match="two measurements"):
        of(holdout([(1, 1)]) * 2)


def test_ungraded_attempts_of_the_policy_name_the_setting():
    measured = [replace(one, passes=0, tries=0) for one in simulated(None, seed=0)]
    result = of(measured)
    assert (result.prompts, result.unmeasured) == (0, 200)
    assert "at the other 200 could be graded: raise audit.max_tokens" in result.sentence
    assert "could be graded" not in of(simulated(None, seed=0)[:5]).sentence

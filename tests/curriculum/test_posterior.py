"""The curriculum's maths: apportionment in whole numbers, and the posterior of a pass rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.quotas import apportion
from curriculum.posterior import Beta, faded, judge_prior, mixed

positive = st.floats(0.05, 40)
sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1)


@given(st.integers(0, 60), sizes, st.none() | st.integers(0, 99))
def test_apportion_is_exact_and_within_one_of_the_ideal(total, sizes, seed):
    if not sum(sizes.values()):
        return
    quotas = apportion(total, sizes, seed=seed)
    assert sum(quotas.values()) == total
    for name, size in sizes.items():
        assert abs(quotas[name] - total * size / sum(sizes.values())) < 1


@given(sizes, st.data())
def test_apportion_never_exceeds_a_capacity(sizes, data):
    capacity = {name: data.draw(st.integers(0, 10)) for name in sizes}
    room = sum(capacity[name] for name, size in sizes.items() if size)
    total = data.draw(st.integers(0, room))
    quotas = apportion(total, sizes, capacity, data.draw(st.none() | st.integers(0, 9)))
    assert sum(quotas.values()) == total
    assert all(quotas[name] <= capacity[name] for name in sizes)
    with pytest.raises(ValueError, match="do not fit"):
        apportion(room + 1, sizes, capacity)


def test_apportion_largest_remainder_by_hand_and_drawn_remainders_on_average():
    assert apportion(10, {"a": 6, "b": 5, "c": 2}) == {"a": 5, "b": 4, "c": 1}
    assert apportion(5, {"a": 6, "b": 5, "c": 2}) == {"a": 2, "b": 2, "c": 1}
    small = [apportion(4, {"a": 95, "b": 5}, seed=seed)["b"] for seed in range(2000)]
    assert abs(sum(small) / 2000 - 0.2) < 0.03


@settings(max_examples=40, deadline=None)
@given(positive, positive, st.integers(1, 16))
def test_beta_moments_agree_with_numerical_integration(a, b, size):
    # Over the logit x the density is p^a q^b, smooth and with exponential tails, so a plain sum is
    # exact.
    x = np.arange(-600, 600, 0.02)
    log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    p, q, weight = np.exp(log_p), np.exp(log_q), np.exp(a * log_p + b * log_q)
    beta, tolerance = Beta(a, b), 1e-6

    def mean(values):
        return float((values * weight).sum() / weight.sum())

    assert beta.mean == pytest.approx(mean(p), abs=tolerance)
    assert beta.variance == pytest.approx(mean(p * p) - mean(p) ** 2, abs=tolerance)
    assert beta.spread == pytest.approx(mean(p * q), abs=tolerance)
    assert beta.mixed(size) == pytest.approx(mean(1 - p**size - q**size), abs=tolerance)


def test_mixed_agrees_with_simulated_groups():
    generator = np.random.default_rng(0)
    for a, b in [(1, 1), (0.3, 4), (9, 1.5)]:
        passes = generator.binomial(8, generator.beta(a, b, 200_000))
        assert Beta(a, b).mixed(8) == pytest.approx(((passes > 0) & (passes < 8)).mean(), abs=0.005)
    assert Beta(1, 1).mixed(1) == 0.0
    many = mixed(np.array([1.0, 0.3]), np.array([1.0, 4.0]), 8)
    assert many.tolist() == [Beta(1, 1).mixed(8), Beta(0.3, 4).mixed(8)]
    assert Beta(1, 1).mixed(8) == pytest.approx(1 - 2 / 9)


@given(st.floats(0, 100), st.floats(0.01, 1), st.integers(0, 20), st.integers(0, 20))
def test_fading_in_two_steps_is_fading_in_one(evidence, decay, first, second):
    assert faded(faded(evidence, decay, first), decay, second) == pytest.approx(
        faded(evidence, decay, first + second)
    )


@given(st.integers(1, 8), st.data())
def test_a_judges_prior_is_weak_and_follows_its_passes(graded, data):
    pooled_graded = data.draw(st.integers(graded, 400))
    pooled_passed = (
        data.draw(st.integers(graded, pooled_graded)) if pooled_graded > graded else graded
    )
    priors = [
        judge_prior(passed, graded, pooled_passed, pooled_graded) for passed in range(graded + 1)
    ]
    assert all(prior.a + prior.b == pytest.approx(2) for prior in priors)
    means = [prior.mean for prior in priors]
    assert means == sorted(means) and means[0] < means[-1]
    pooled = (pooled_passed + 1) / (pooled_graded + 2)
    assert means[0] < pooled < 1 and means[0] > 0

"""The shares of a pool: known ones are found again from few attempts."""

import random

import pytest

from judges.pool import pool_shares


def attempts(rates, count, seed=0):
    """Passed and graded attempts of prompts with given pass rates."""
    draw = random.Random(seed)
    return [(sum(draw.random() < rate for _ in range(count)), count) for rate in rates]


def shares(evidence, kept=None):
    found = pool_shares(evidence, [True] * len(evidence) if kept is None else kept, 0)
    return found.out_of_reach, found.medium, found.solved


@pytest.mark.parametrize(("count", "widest"), [(4, 0.5), (16, 0.3)])
def test_known_shares_lie_in_their_intervals(count, widest):
    for seed in range(5):
        draw = random.Random(seed)
        ranges = [(0.0, 0.2)] * 60 + [(0.2, 0.8)] * 90 + [(0.8, 1.0)] * 150
        rates = [draw.uniform(*ends) for ends in ranges]
        found = shares(attempts(rates, count, seed))
        for share, true in zip(found, (0.2, 0.3, 0.5), strict=True):
            assert share.low <= share.value <= share.high and share.high - share.low < widest
            assert share.low - 0.03 <= true <= share.high + 0.03
        assert sum(share.value for share in found) == pytest.approx(1)


def test_failures_of_few_attempts_are_read_in_the_light_of_the_pool():
    # A fourth of prompts with pass rate 1/2 fail twice, and are not out of reach for it.
    medium = shares([(0, 2)] * 50 + [(1, 2)] * 100 + [(2, 2)] * 50)
    assert medium[1].value > 0.95
    hopeless = shares([(0, 2)] * 200)
    assert hopeless[0].value > 0.99 and hopeless[0].low > 0.95


def test_few_prompts_leave_a_wide_interval_even_if_they_are_alike():
    out, _, solved = shares([(0, 16)] * 10)
    assert out.value > 0.99 and 0.6 < out.low < 0.8 and solved.high > 0.2


def test_what_is_kept_is_counted_by_what_its_prompts_passed():
    evidence = [(16, 16)] * 10 + [(8, 16)] * 10 + [(0, 16)] * 20
    whole = pool_shares(evidence, [True] * 40, 0)
    assert whole.medium_kept is not None
    assert whole.medium_kept.value == pytest.approx(whole.medium.value, abs=1e-6)
    assert whole.medium.value == pytest.approx(0.25, abs=0.01)
    harder = pool_shares(evidence, [False] * 20 + [True] * 20, 0)
    assert harder.medium_kept is not None and harder.medium_kept.value < 0.01
    assert 0.1 < harder.medium_kept.high < 0.3  # of 20 prompts
    assert pool_shares(evidence, [False] * 40, 0).medium_kept is None


def test_a_prompt_without_a_graded_attempt_says_nothing():
    evidence = [(4, 4)] * 20 + [(1, 4)] * 5
    more = pool_shares([*evidence, (0, 0), (0, 0)], [True] * 27, 0)
    assert more == pool_shares(evidence, [True] * 25, 0)
    assert (more.prompts, more.attempts) == (25, 100)

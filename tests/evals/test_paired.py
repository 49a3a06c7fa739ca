"""Tests of a paired difference: published values, and what they find in simulated evaluations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intervals import wilson
from evals.intervals import paired_difference
from evals.paired import LEVEL, POWER, detectable, holm, mcnemar

RNG_SEED = 20261128
TRIALS = 4000


def tables(n, changed, difference, right=0.5, trials=TRIALS):
    """Simulated paired evaluations of n prompts: (both, gained, lost, neither) of each. A share
    `changed` changes, so that the score rises by `difference`."""
    shares = [(changed + difference) / 2, (changed - difference) / 2]
    rest = 1 - changed
    rng = np.random.default_rng(RNG_SEED)
    drawn = rng.multinomial(n, [rest * right, *shares, rest * (1 - right)], size=trials)
    return [tuple(map(int, row)) for row in drawn]


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (10, 2, 0.03857), (1, 7, 0.07031), (8, 8, 1.0)],
)
def test_mcnemar_is_the_binomial_test_of_what_changed(gained, lost, p):
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == pytest.approx(p, abs=1e-5)


def test_holm_steps_down_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.7, 0.6]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_between_the_value_and_bonferronis(values):
    adjusted = holm(values)
    for value, one in zip(values, adjusted, strict=True):
        assert value <= one <= min(1.0, len(values) * value) or one == max(adjusted)
    assert sorted(range(len(values)), key=lambda n: (values[n], n)) == sorted(
        range(len(values)), key=lambda n: (adjusted[n], values[n], n)
    )


@pytest.mark.parametrize(("n", "changed"), [(65, 0.2), (211, 0.3), (211, 0.05), (1000, 0.1)])
def test_a_detectable_difference_is_found_four_times_in_five(n, changed):
    smallest = detectable(round(n * changed), 0, n)
    for size, least, most in ((1.0, 0.70, 0.87), (0.5, 0.0, 0.45), (1.5, 0.9, 1.0)):
        difference = size * smallest
        drawn = tables(n, max(changed, difference), difference)
        found = np.mean([mcnemar(gained, lost) < LEVEL for _, gained, lost, _ in drawn])
        assert least <= found <= most, (size, found, POWER)


@pytest.mark.parametrize("suites", [1, 4, 12])
@pytest.mark.parametrize("changed", [0.05, 0.3])
def test_without_a_change_some_suite_is_called_better_or_worse_once_in_twenty_at_most(
    suites, changed
):
    drawn = tables(200, changed, 0.0, trials=1000 * suites)
    values = [mcnemar(gained, lost) for _, gained, lost, _ in drawn]
    runs = [values[start : start + suites] for start in range(0, len(values), suites)]
    alarms = np.mean([min(holm(run)) < LEVEL for run in runs])
    # The exact test is careful: three standard errors above 5 % would be 7.1 %.
    assert alarms <= 0.05


@pytest.mark.parametrize("n", [40, 211, 1000])
def test_intervals_of_a_score_and_of_a_difference_cover_the_truth(n):
    rng, inside = np.random.default_rng(RNG_SEED), []
    for truth in rng.uniform(0.02, 0.98, TRIALS):
        low, high = wilson(int(rng.binomial(n, truth)), n)
        inside.append(low <= truth <= high)
    assert 0.93 <= np.mean(inside) <= 0.97
    covered = []
    for changed, difference, right in ((0.1, 0.0, 0.8), (0.3, 0.1, 0.5), (0.5, -0.3, 0.3)):
        for table in tables(n, changed, difference, right, trials=1500):
            _, low, high = paired_difference(*table)
            covered.append(low <= difference <= high)
    assert 0.93 <= np.mean(covered) <= 0.97

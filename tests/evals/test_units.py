"""Units in clusters: what intervals cover and what the test finds in simulated evaluations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intervals import wilson
from evals.change import Change, change_between, sign_flips
from evals.paired import LEVEL, mcnemar
from evals.units import Unit, score_of_units, students_quantile, units_of

RNG_SEED = 20261128
SIZES = ((40, 1, 4), (40, 2, 1), (150, 1, 4), (150, 4, 1), (150, 4, 4))
"""Clusters, most prompts of each, answers to each prompt."""


def drawn(rng, clusters, most, samples, truth, alike):
    """A suite's units: prompts of a cluster are as hard, the more so the larger `alike` is."""
    spread = (1 - alike) / alike
    units = {}
    for cluster in range(clusters):
        share = rng.beta(truth * spread, (1 - truth) * spread)
        for number in range(rng.integers(1, most + 1)):
            right = rng.binomial(samples, share)
            units[f"{cluster}-{number}"] = Unit(right / samples, str(cluster), samples)
    return units


def change(before, after) -> Change:
    found = change_between(before, after)
    assert found is not None
    return found


@pytest.mark.parametrize(("clusters", "most", "samples"), SIZES)
def test_the_interval_of_units_in_clusters_covers_the_truth(clusters, most, samples):
    rng, inside = np.random.default_rng(RNG_SEED), []
    for truth in (0.1, 0.3, 0.5, 0.8):
        for alike in (0.1, 0.5, 0.8):
            for _ in range(150):
                units = list(drawn(rng, clusters, most, samples, truth, alike).values())
                _, low, high = score_of_units(units)
                inside.append(low <= truth <= high)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_without_clusters_the_same_units_seem_to_say_more():
    rng, inside = np.random.default_rng(RNG_SEED), []
    for _ in range(600):
        units = drawn(rng, 100, 8, 1, 0.5, 0.5)
        _, low, high = score_of_units([Unit(unit.value, name) for name, unit in units.items()])
        inside.append(low <= 0.5 <= high)
    assert np.mean(inside) < 0.85


@pytest.mark.parametrize(("clusters", "most", "samples"), SIZES)
def test_without_a_change_few_intervals_exclude_it_and_few_tests_find_one(clusters, most, samples):
    rng, covered, found = np.random.default_rng(RNG_SEED), [], []
    for truth in (0.3, 0.7):
        for _ in range(100):
            before = drawn(rng, clusters, most, samples, truth, 0.5)
            pairs = [(one, rng.binomial(samples, one.value) / samples) for one in before.values()]
            # Every cluster swaps its two checkpoints with probability one half.
            swaps = {one.cluster: rng.random() < 0.5 for one in before.values()}
            old, new = {}, {}
            for name, (one, other) in zip(before, pairs, strict=True):
                values = (other, one.value) if swaps[one.cluster] else (one.value, other)
                old[name] = Unit(values[0], one.cluster, samples)
                new[name] = Unit(values[1], one.cluster, samples)
            one = change(old, new)
            covered.append(one.low <= 0 <= one.high)
            found.append(one.p < LEVEL)
    assert np.mean(covered) >= 0.93 and np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@given(st.lists(st.sampled_from((0.0, 1.0)), min_size=1, max_size=60))
def test_plain_units_have_wilsons_interval(values):
    units = [Unit(value, str(number)) for number, value in enumerate(values)]
    right, n = round(sum(values)), len(values)
    assert score_of_units(units) == (right / n, *wilson(right, n))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5), st.integers(1, 8)), max_size=30),
)
def test_an_interval_holds_its_score_and_stays_in_bounds(drawn_units):
    units = [Unit(value, str(cluster), answers) for value, cluster, answers in drawn_units]
    score, low, high = score_of_units(units)
    assert 0 <= low <= high <= 1
    assert (score is None) == (not units)
    assert score is None or low - 1e-9 <= score <= high + 1e-9


def test_a_unit_is_the_mean_of_its_answers():
    answers = [("a", "g", 1.0), ("b", "g", 0.0), ("a", "g", 0.0), ("a", "g", 1.0)]
    assert units_of(answers) == {"a": Unit(2 / 3, "g", 3), "b": Unit(0.0, "g", 1)}
    assert score_of_units(list(units_of(answers).values()))[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("gained", "lost"), [(5, 0), (10, 2), (1, 7), (8, 8)])
def test_sign_flips_of_whole_gains_are_mcnemars_test(gained, lost):
    values = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 20)
    assert sign_flips(values) == pytest.approx(mcnemar(gained, lost), abs=0.012)


def test_a_plain_change_is_newcombes_and_mcnemars():
    before = {str(n): Unit(float(n < 30), str(n)) for n in range(60)}
    after = {str(n): Unit(float(n < 42), str(n)) for n in range(60)}
    one = change(before, after)
    assert (one.n, one.delta, one.p) == (60, 0.2, mcnemar(12, 0))
    assert 0 < one.low < 0.2 < one.high


def test_prompts_of_one_cluster_count_less_than_as_many_alone():
    before = {str(n): Unit(0.0, str(n // 10)) for n in range(60)}
    after = {str(n): Unit(float(n < 20), str(n // 10)) for n in range(60)}
    together = change(before, after)
    assert together.delta == pytest.approx(1 / 3) and together.p == pytest.approx(0.5, abs=0.02)
    assert together.low < 0 and together.detectable > 0.3


@pytest.mark.parametrize(("degrees", "known"), [(9, 2.2622), (19, 2.0930), (99, 1.9842)])
def test_students_quantile_known_values(degrees, known):
    assert students_quantile(degrees) == pytest.approx(known, abs=2e-3)

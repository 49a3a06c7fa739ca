"""The curriculum's maths and selection, without any model."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.quotas import apportion
from curriculum.config import CurriculumConfig
from curriculum.posterior import Beta, faded, judge_prior
from curriculum.rows import Row
from curriculum.select import draw, refilter_choice, transitions, usefulness

CONFIG = CurriculumConfig()
positive = st.floats(0.05, 40)
sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1)


def row(id, mean=0.5, capability="c", **values):
    return Row(id, capability, "s", Beta(2 * mean, 2 * (1 - mean)), **values)


@given(st.integers(0, 60), sizes, st.none() | st.integers(0, 99))
def test_apportion_is_exact_and_within_one_of_the_ideal(total, sizes, seed):
    if not sum(sizes.values()):
        return
    given_ = apportion(total, sizes, seed=seed)
    assert sum(given_.values()) == total
    for name, size in sizes.items():
        assert abs(given_[name] - total * size / sum(sizes.values())) < 1


@given(sizes, st.data())
def test_apportion_never_exceeds_a_capacity(sizes, data):
    capacity = {name: data.draw(st.integers(0, 10)) for name in sizes}
    room = sum(capacity[name] for name, size in sizes.items() if size)
    total = data.draw(st.integers(0, room))
    found = apportion(total, sizes, capacity, data.draw(st.none() | st.integers(0, 9)))
    assert sum(found.values()) == total
    assert all(found[name] <= capacity[name] for name in sizes)
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
    # Over the logit x the density is p^a q^b, smooth and with exponential tails, so a plain sum is exact.
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
    assert Beta(1, 1).mixed(8) == pytest.approx(1 - 2 / 9)


@given(st.floats(0, 100), st.floats(0.01, 1), st.integers(0, 20), st.integers(0, 20))
def test_fading_in_two_steps_is_fading_in_one(evidence, decay, first, second):
    assert faded(faded(evidence, decay, first), decay, second) == pytest.approx(faded(evidence, decay, first + second))


@given(st.integers(1, 8), st.data())
def test_a_judges_prior_is_weak_and_follows_its_passes(graded, data):
    pooled_graded = data.draw(st.integers(graded, 400))
    pooled_passed = data.draw(st.integers(graded, pooled_graded)) if pooled_graded > graded else graded
    priors = [judge_prior(passed, graded, pooled_passed, pooled_graded) for passed in range(graded + 1)]
    assert all(prior.a + prior.b == pytest.approx(2) for prior in priors)
    means = [prior.mean for prior in priors]
    assert means == sorted(means) and means[0] < means[-1]
    pooled = (pooled_passed + 1) / (pooled_graded + 2)
    assert means[0] < pooled < 1 and means[0] > 0


rows_strategy = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0.02, 0.98), st.integers(0, 30), st.integers(0, 30), st.booleans()),
    min_size=1,
    max_size=40,
).map(
    lambda items: [
        row(
            f"p{n}",
            mean,
            capability,
            passes=float(passes),
            fails=float(fails),
            seen_version=n % 5 if passes + fails else None,
            drawn=2,
            state="retired" if rests else "active",
            state_version=1 if rests else None,
        )
        for n, (capability, mean, passes, fails, rests) in enumerate(items)
    ]
)


@settings(deadline=None)
@given(rows_strategy, st.integers(0, 30), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_a_draw_is_distinct_active_full_and_blind_to_order(rows, count, seed, shuffler):
    exclude = {row.id for row in rows[::4]}
    chosen = draw(rows, count, CONFIG, 8, 6, seed, exclude)
    free = {row.id for row in rows if row.state != "retired"} - exclude
    assert len(set(chosen.ids)) == len(chosen.ids) == min(count, len(free))
    assert set(chosen.ids) <= free and chosen.explored <= set(chosen.ids)
    shuffled = shuffler.sample(rows, len(rows))
    assert draw(shuffled, count, CONFIG, 8, 6, seed, exclude) == chosen


def test_draws_prefer_the_band_but_explore_everything():
    pool = [row(f"hard{n}", 0.03, passes=0.0, fails=20.0, seen_version=0) for n in range(60)]
    pool += [row(f"mid{n}", 0.5, passes=10.0, fails=10.0, seen_version=0) for n in range(20)]
    pool += [row(f"easy{n}", 0.97, passes=20.0, fails=0.0, seen_version=0) for n in range(60)]
    drawn = Counter()
    for seed in range(400):
        chosen = draw(pool, 8, CONFIG, 8, 0, seed)
        drawn.update(id.rstrip("0123456789") for id in chosen.ids)
        drawn["explored"] += len(chosen.explored)
    assert drawn["mid"] > 0.85 * 3200
    assert drawn["explored"] == pytest.approx(320, rel=0.15)
    assert min(drawn["hard"], drawn["easy"]) > 50
    alone = CurriculumConfig(explore=1.0)
    uniform = Counter(id for seed in range(400) for id in draw(pool, 8, alone, 8, 0, seed).ids)
    assert len(uniform) == len(pool) and max(uniform.values()) < 55


def test_capabilities_keep_their_shares_and_give_places_up_openly():
    pool = [row(f"a{n}", capability="a") for n in range(60)] + [row(f"b{n}", capability="b") for n in range(20)]
    chosen = draw(pool, 16, CONFIG, 8, 0, seed=1)
    assert Counter(id[0] for id in chosen.ids) == {"a": 12, "b": 4} and not chosen.moved
    short = draw(pool, 16, CONFIG, 8, 0, seed=1, exclude={f"b{n}" for n in range(19)})
    assert Counter(id[0] for id in short.ids) == {"a": 15, "b": 1}
    assert short.moved == {"a": 3, "b": -3}
    singles = Counter(draw(pool, 1, CONFIG, 8, 0, seed).ids[0][0] for seed in range(1000))
    assert singles["b"] == pytest.approx(250, abs=60)


def test_usefulness_is_highest_in_the_band_and_symmetric():
    means = [0.02, 0.1, 0.5, 0.9, 0.98]
    weights = [usefulness(row("x", mean), CONFIG, 8, 0) for mean in means]
    assert max(weights) == weights[2] and weights[0] < weights[1]
    assert weights[:2] == pytest.approx(weights[:2:-1])


def test_refilter_probes_the_oldest_the_least_certain_and_some_resting():
    config = CurriculumConfig(probes=4, review=0.1)
    pool = [row(f"old{n}", 0.02, passes=0.0, fails=9.0, seen_version=n) for n in range(2)]
    pool += [row(f"sure{n}", passes=9.0, fails=9.0, seen_version=9) for n in range(9)]
    pool += [row(f"open{n}", passes=1.0, fails=1.0, seen_version=9) for n in range(2)]
    pool += [row(f"rest{n}", state="retired", state_version=3, seen_version=3 + n) for n in range(11)]
    chosen = refilter_choice(pool, config, 9, seed=4)
    assert set(chosen) == {"old0", "old1", "open0", "open1", "rest0", "rest1"}
    assert refilter_choice(pool[::-1], config, 9, seed=4) == chosen
    assert not [id for id in refilter_choice(pool, CurriculumConfig(review=0), 9, 4) if id.startswith("rest")]


def test_no_prompt_retires_on_one_group():
    once = row("once", passes=16.0, seen_version=5, drawn=1)
    twice = replace(once, id="twice", drawn=2)
    faded_away = replace(twice, id="faded", seen_version=-20)
    unsure = row("unsure", passes=14.0, fails=2.0, seen_version=5, drawn=2)
    assert transitions([twice, once, faded_away, unsure], CONFIG, 5).retire == ["twice"]


def test_only_a_failed_review_recalls():
    resting = row("r", passes=16.0, seen_version=5, drawn=2, state="retired", state_version=5)
    assert transitions([resting], CONFIG, 5).recall == []
    assert transitions([resting], CONFIG, 200).recall == []  # forgotten, but not reviewed
    solved = replace(resting, passes=4.2, seen_version=60)
    failed = replace(resting, passes=2.2, fails=2.0, seen_version=60)
    assert transitions([solved], CONFIG, 60).recall == []
    assert transitions([failed], CONFIG, 60) == transitions([failed], CONFIG, 61)
    assert transitions([failed], CONFIG, 60).recall == ["r"]

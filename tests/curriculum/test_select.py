"""Which prompts are drawn from a pool, probed, retired and reactivated."""

from collections import Counter
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.simulated_policy import SimulatedPolicy, take
from curriculum.candidates import Estimates
from curriculum.config import Posterior, Uniform
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation
from curriculum.select import (
    USEFUL,
    at_random,
    by_age,
    draw,
    probes,
    quotas,
    sharpened,
    usefulness,
)

EASE = {"hard": 0.03, "mid": 0.5, "easy": 0.97}


def ledger_of(counts, capability="c", each=20):
    """Prompts named by ease, with `each` rollouts of the given share of passes."""
    ledger = Ledger(None)
    ledger.add(
        NewPrompt(f"{ease}{n}", capability, "s", Beta(1, 1), settings=ease)
        for ease in counts
        for n in range(counts[ease])
    )
    passes = {ease: round(each * rate) for ease, rate in EASE.items()}
    seen = [
        Observation(f"{ease}{n}", passes[ease], each - passes[ease])
        for ease in counts
        for n in range(counts[ease])
        if each
    ]
    ledger.observe(seen, 0, decay=1.0)
    return ledger


def pool_of(ledger, decay=0.95, prior="difficulty_groups"):
    return Pool(ledger, decay=decay, prior=prior)


def kind_of(id):
    return id.rstrip("0123456789")


def weighted(pool, weigh, exclude=()):
    return pool.weighted(pool.free(exclude), weigh, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.integers(0, 30),
    st.integers(0, 1000),
    st.data(),
)
def test_a_draw_is_distinct_free_and_full(draws, count, seed, data):
    """Tried and untried prompts, some retired, some excluded, over two capabilities."""
    ledger = Ledger(None)
    ids = [f"p{n}" for n in range(len(draws))]
    ledger.add(
        NewPrompt(id, "ab"[n % 2], "s", Beta(1, 1), settings=str(n % 3)) for n, id in enumerate(ids)
    )
    ledger.observe(
        [Observation(id, n, 3) for id, n in zip(ids, draws, strict=True) if n], 0, decay=0.9
    )
    retired = data.draw(st.sets(st.sampled_from(ids)))
    exclude = data.draw(st.sets(st.sampled_from(ids)))
    ledger.retire(sorted(retired), 0)
    pool = pool_of(ledger)
    free = set(ids) - retired - exclude
    sizes = pool.sizes(pool.free(exclude))
    assert sum(sizes.values()) == len(free)
    wanted = {name: min(count, size) for name, size in sizes.items()}
    useful, old = (
        weighted(pool, usefulness((0.2, 0.8), 8), exclude),
        weighted(pool, by_age, exclude),
    )
    drawn = draw(useful, wanted, seed, old, 0.3)
    assert len(set(drawn.ids)) == len(drawn.ids) == sum(wanted.values())
    assert set(drawn.ids) <= free and drawn.explored <= set(drawn.ids)
    again = weighted(pool_of(ledger), usefulness((0.2, 0.8), 8), exclude)
    assert draw(again, wanted, seed, old, 0.3) == drawn


def test_a_refreshed_pool_equals_a_pool_read_again():
    policy = SimulatedPolicy(each=20)
    curriculum = Curriculum(
        Posterior(refilter_every=2), policy.ledger(), groups=8, group_size=8, seed=0
    )
    for version in range(6):
        take(curriculum, policy, version)
    kept, again = curriculum.pool, pool_of(curriculum.ledger)
    for mask in (kept.free([]), kept.free(kept.ids[::3])):
        one, other = kept.candidates(mask, 6), again.candidates(mask, 6)
        assert one.sizes() == other.sizes() == kept.sizes(mask)
        for name in ("groups", "counts", "tried"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
        for name in ("group_estimates", "tried_estimates"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert all(map(np.array_equal, astuple(mine), astuple(theirs)))


@pytest.mark.parametrize("each", [0, 20], ids=["untried", "tried"])
def test_drawing_follows_the_weights(each):
    """Untried prompts are drawn by difficulty group, tried ones individually: both in proportion to
    their weights."""
    ledger = ledger_of({"easy": 30, "mid": 10}, each=each)
    pool = pool_of(ledger)

    def weigh(known):
        return np.where(known.mean > 0.7, 1.0, 3.0) if each else np.ones_like(known.a)

    chosen = Counter(
        kind_of(draw(weighted(pool, weigh), {"c": 1}, seed).ids[0]) for seed in range(1500)
    )
    assert chosen["mid"] / 1500 == pytest.approx(0.5 if each else 0.25, abs=0.045)
    single = Counter(draw(weighted(pool, weigh), {"c": 2}, seed).ids[0] for seed in range(1500))
    assert len(single) == 40


def test_draws_prefer_the_band_but_explore_everything():
    pool = pool_of(ledger_of({"hard": 60, "mid": 20, "easy": 60}))
    drawn: Counter[str] = Counter()
    for seed in range(300):
        one = draw(
            weighted(pool, sharpened(usefulness((0.2, 0.8), 8))),
            {"c": 8},
            seed,
            weighted(pool, at_random),
            0.1,
        )
        drawn.update(kind_of(id) for id in one.ids)
        drawn["explored"] += len(one.explored)
    assert drawn["mid"] > 0.85 * 2400
    assert drawn["explored"] == pytest.approx(240, rel=0.2)
    assert min(drawn["hard"], drawn["easy"]) > 40


def test_usefulness_is_highest_in_the_middle_and_symmetric():
    means = np.array([0.02, 0.1, 0.5, 0.9, 0.98])
    weights = usefulness((0.2, 0.8), 8)(Estimates(20 * means, 20 * (1 - means), np.zeros(5)))
    assert weights.argmax() == 2 and weights[0] < weights[1] < USEFUL < weights[2] <= 1
    assert weights[:2] == pytest.approx(weights[:2:-1])
    harder = usefulness((0.05, 0.65), 8)(Estimates(20 * means, 20 * (1 - means), np.zeros(5)))
    assert harder[1] > weights[1] and harder[3] < weights[3]


def test_quotas_keep_the_shares_and_report_every_shift():
    sizes = {"a": 60, "b": 20}
    whole = quotas(16, sizes, {}, sizes, sizes, seed=1)
    assert whole.by_capability == {"a": 12, "b": 4} and not whole.quota_shift
    short = quotas(16, sizes, {}, {"a": 60, "b": 1}, {"a": 60, "b": 1}, seed=1)
    assert short.by_capability == {"a": 15, "b": 1} and short.quota_shift == {"a": 3, "b": -3}
    assert quotas(10, sizes, {"a": 0.2, "b": 0.8}, sizes, sizes, seed=1).by_capability == {
        "a": 2,
        "b": 8,
    }
    assert quotas(10, sizes, {"a": 1.0}, sizes, sizes, seed=1).by_capability == {"a": 10, "b": 0}
    singles = Counter(
        max(quotas(1, sizes, {}, sizes, sizes, seed).by_capability.items(), key=lambda x: x[1])[0]
        for seed in range(1000)
    )
    assert singles["b"] == pytest.approx(250, abs=60)


def test_probes_are_the_old_and_the_uncertain():
    ledger = ledger_of({"hard": 40, "mid": 40})
    ledger.observe([Observation(f"mid{n}", 20, 20) for n in range(40)], 90, decay=1.0)
    chosen = Counter(
        kind_of(id) for seed in range(40) for id in probes(pool_of(ledger, 1.0), 16, 100, seed)
    )
    assert chosen["hard"] > chosen["mid"] > 0 and chosen.total() <= 40 * 16


@pytest.mark.parametrize(
    ("rate", "least_groups", "taken"),
    [(0.1, 2.0, False), (0.001, 0.0, True), (0.3, 5.5, False)],
    ids=["near the band", "out of reach", "in the band"],
)
def test_a_capability_keeps_its_places_where_prompts_near_the_band_have_a_chance(
    rate, least_groups, taken
):
    """Half of the pool is of medium difficulty, the other half has one pass rate. Places go
    elsewhere only where none of it can be learned, and a step takes no more rollouts for it."""
    policy = SimulatedPolicy(each=20)
    for id in policy.odds:
        policy.odds[id] = np.log(rate / (1 - rate)) if id.startswith("a") else 0.0
    policy.entries = [replace(entry, settings="") for entry in policy.entries]
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=12, group_size=8, seed=0)
    taken_by_b, trained, rollouts = 0, Counter[str](), 0
    for version in range(16):
        chosen, asked = take(curriculum, policy, version)
        if version >= 4:  # the estimates have settled
            taken_by_b += chosen.quota_shift.get("b", 0)
            trained.update(id[0] for id in chosen.train)
            rollouts += sum(one.rollouts for one in asked)
    assert (taken_by_b > 0) == taken
    assert least_groups * 12 <= trained["a"] <= 6 * 12 and trained["b"] >= 5.5 * 12
    assert (trained["b"] > 10 * 12) == taken
    assert rollouts / 12 < 130


def test_a_shortage_counts_places_groups_and_useful_prompts():
    policy = SimulatedPolicy(each=20)
    for id in policy.odds:
        policy.odds[id] = np.log(0.001) if id.startswith("a") else 0.0
    policy.entries = [replace(entry, settings="") for entry in policy.entries]
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=12, group_size=8, seed=0)
    for version in range(8):
        chosen, _ = take(curriculum, policy, version)
    (name,) = chosen.shortages
    short = chosen.shortages[name]
    assert name == "a" and short.places == 6 and short.useful == 0 and short.prompts == 100
    assert short.trained == sum(id.startswith("a") for id in chosen.train) == 0
    assert short.taken == chosen.quota_shift["b"] > 0 and short.rate < 0.05
    assert chosen.metrics["short/a"] == 6
    few = Curriculum(
        Uniform(shares={"a": 0.05, "b": 0.95}), policy.ledger(), groups=120, group_size=2, seed=0
    )
    assert take(few, policy, 0)[0].shortages["b"].taken == 14


def test_a_capability_with_useful_prompts_enough_is_not_short_when_luck_leaves_a_place_empty():
    policy = SimulatedPolicy(each=20)
    for config in (Uniform(), Posterior(max_rounds=1)):
        curriculum = Curriculum(config, policy.ledger(), groups=12, group_size=4, seed=0)
        chosen, _ = take(curriculum, policy, 0)
        assert len(chosen.train) < 12 and not chosen.shortages

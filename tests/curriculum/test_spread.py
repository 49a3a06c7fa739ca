"""Graded rewards in the curriculum: what is kept of them, and what is foretold."""

import random
import sqlite3
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunFailed
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.database import TABLES
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation
from curriculum.requests import RolloutResult
from curriculum.select import usefulness
from curriculum.spread import LEAST_SPREAD, has_spread, rewards_of


def observed(*groups, decay=1.0, prompts=None):
    """A ledger whose prompts `p0`, `p1`, ... had a group of rewards each, at versions 0, 1, ..."""
    ledger = Ledger(None)
    count = prompts or len(groups)
    ledger.add(NewPrompt(f"p{n}", "c", "s", Beta(1, 1)) for n in range(count))
    for version, rewards in enumerate(groups):
        observe(ledger, f"p{version % count}", rewards, version, decay)
    return ledger


def observe(ledger, id, rewards, version, decay=1.0, threshold=1.0):
    passes = sum(reward >= threshold for reward in rewards)
    rewards = tuple(sorted(rewards, reverse=True))
    one = Observation(id, passes, len(rewards) - passes, rewards=rewards)
    ledger.observe([one], version, decay=decay)


def useful(ledger, version, size=8):
    """The usefulness of each prompt by id."""
    pool = Pool(ledger, decay=1.0)
    candidates = pool.candidates(pool.free([]), version)
    weights = candidates.weighted(usefulness((0.0, 1.0), size))
    found = {pool.ids[n]: w for n, w in zip(weights.tried, weights.tried_weights, strict=True)}
    return found, weights.group_weights


BINARY_GROUPS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9)),
    min_size=1,
    max_size=12,
)


@given(BINARY_GROUPS, st.floats(0.3, 1), st.floats(0.1, 1), st.sampled_from([True, False]))
@settings(max_examples=60, deadline=None)
def test_rewards_of_0_and_1_are_foretold_bit_for_bit_as_by_the_pass_rate(
    groups, decay, trained, given_rewards
):
    ledger = observed(prompts=4)
    for version, (n, rewards) in enumerate(groups):
        passes = int(sum(rewards))
        graded = tuple(sorted(rewards, reverse=True)) if given_rewards else ()
        one = Observation(f"p{n}", passes, len(rewards) - passes, rewards=graded)
        ledger.observe([one], version, decay=decay)
        ledger.trained([f"p{n}"], decay=trained)
    pool = Pool(ledger, decay=decay)
    assert (pool.rewards == pool.passes).all() and (pool.squares == pool.passes).all()
    version = len(groups) + 2
    seen = pool.candidates(pool.free([]), version)
    for known in (seen.tried_estimates, seen.group_estimates):
        assert not np.any(known.excess)
        assert np.all(known.pass_tie == 1.0) and np.all(known.fail_tie == 1.0)
        a, b, total = known.a, known.b, known.a + known.b
        every, none = np.ones_like(a), np.ones_like(a)
        for i in range(8):
            every, none = every * (a + i) / (a + b + i), none * (b + i) / (b + a + i)
        mixed = 1.0 - every - none
        spread = a * b / (total * (total + 1))
        distance = np.maximum(np.maximum(0.2 - a / total, a / total - 0.8), 0.0)
        as_before = mixed * (mixed > 0) * 4 * spread * np.exp(-((distance / 0.1) ** 2) / 2)
        assert (usefulness((0.2, 0.8), 8)(known) == as_before).all()
    for foretold in pool.posteriors(pool.ids, version):
        assert foretold.mixed(8) == Beta(foretold.a, foretold.b).mixed(8)


def test_the_mean_and_the_variance_of_a_prompts_rewards_are_kept_and_fade():
    ledger = observed([0.5, 0.25, 1.0, 0.25])
    record = ledger.record("p0")
    assert (record.passes, record.fails) == (1, 3)
    count = record.passes + record.fails
    mean = record.rewards / count
    assert mean == 0.5 and record.squares / count - mean**2 == pytest.approx(0.09375)
    observe(ledger, "p0", [1.0, 1.0], 1, decay=0.5)
    record = ledger.record("p0")
    assert (record.passes, record.fails, record.rewards) == (2.5, 1.5, 3.0)
    ledger.trained(["p0"], decay=0.5)
    assert ledger.record("p0").rewards == 1.5


def test_failing_rollouts_that_differ_are_foretold_to_have_a_spread():
    rng = random.Random(0)
    varied = observed(*[[rng.uniform(0, 0.9) for _ in range(4)] for _ in range(20)])
    equal = observed(*[[0.05] * 4 for _ in range(20)])
    binary = observed(*[[0.0] * 4 for _ in range(20)])
    foretold = {
        name: [one.mixed(8) for one in Pool(ledger, decay=1.0).posteriors(["p0", "p7"], 20)]
        for name, ledger in (("varied", varied), ("equal", equal), ("binary", binary))
    }
    assert min(foretold["varied"]) > 0.95
    assert foretold["equal"] == foretold["binary"] and max(foretold["binary"]) < 0.2
    by_use = [useful(ledger, 20)[0]["p0"] for ledger in (varied, equal, binary)]
    # The variance of a uniform reward on [0, 0.9] is 0.0675, 4 times that 0.27.
    assert 0.15 < by_use[0] < 0.4 and by_use[1] < 0.05 and by_use[2] < 0.05


def test_an_untried_prompt_has_the_shape_of_its_difficulty_group():
    rng = random.Random(1)
    ledger = observed(*[[rng.uniform(0, 0.9) for _ in range(4)] for _ in range(20)], prompts=30)
    _, (untried,) = useful(ledger, 20)
    assert untried > 0.15


def test_passing_rollouts_tie_however_the_failing_ones_differ():
    """An easy prompt's group is all 1 although what fails elsewhere has partial credit."""
    rng = random.Random(2)
    hard = [[rng.uniform(0, 0.9) for _ in range(8)] for _ in range(10)]
    ledger = observed(*hard, [1.0] * 8, [1.0] * 8, [1.0] * 8)
    easy, difficult = Pool(ledger, decay=1.0).posteriors(["p12", "p0"], 13)
    assert easy.pass_tie == 1.0 and difficult.mixed(8) > 0.98
    assert easy.mixed(8) == pytest.approx(1 - easy.all_pass(8), abs=0.02)


@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_the_foretold_variance_is_that_of_the_rewards(threshold):
    rng = np.random.default_rng(3)
    draws = rng.choice([0.0, 0.4, 0.6, 1.0], p=[0.2, 0.3, 0.3, 0.2], size=(200, 8))
    ledger = observed(prompts=200)
    for n, rewards in enumerate(draws):
        observe(ledger, f"p{n}", rewards.tolist(), 0, threshold=threshold)
    known = Pool(ledger, decay=1.0).candidates(np.ones(200, dtype=bool), 0).tried_estimates
    total = known.a + known.b
    foretold = known.a * known.b / (total * (total + 1)) + known.excess
    assert foretold.mean() == pytest.approx(draws.var(), rel=0.15)


def test_differences_below_the_least_are_no_spread():
    assert not has_spread([]) and not has_spread([0.3]) and not has_spread([0.3, 0.3])
    assert not has_spread([0.5, 0.5 + LEAST_SPREAD / 2]) and has_spread([0.5, 0.52])


def test_rewards_are_one_for_each_graded_rollout():
    assert rewards_of(2, 1, ()) == (1.0, 1.0, 0.0)
    assert RolloutResult(1, 2, rewards=(0.2, 1.0, 0.4)).rewards == (1.0, 0.4, 0.2)
    with pytest.raises(ValueError, match="2 rewards of 1 passes and 2 fails"):
        RolloutResult(1, 2, rewards=(0.2, 1.0))


def test_prompts_that_never_pass_are_trained_on_where_their_rewards_differ():
    ledger = Ledger(None)
    ledger.add(NewPrompt(f"p{n}", "c", "s", Beta(1, 1)) for n in range(40))
    curriculum = Curriculum(Posterior(), ledger, groups=4, group_size=4, seed=0)
    rng, trained = random.Random(0), Counter[str]()
    for version in range(6):
        step = curriculum.step(version)
        requests = next(step)
        try:
            while True:
                requests = step.send([graded(rng, one.rollouts) for one in requests])
        except StopIteration as end:
            trained.update(end.value.train)
    assert trained.total() == 24
    assert all(record.passes == 0 for record in ledger.records())


def graded(rng, rollouts):
    rewards = tuple(rng.uniform(0, 0.9) for _ in range(rollouts))
    return RolloutResult(0, rollouts, {}, 10 * rollouts, rewards=rewards)


def of_schema_3(path):
    """Turn a ledger's file into one of the schema before rewards were graded."""
    db = sqlite3.connect(path)
    for name in ("rewards", "squares"):
        db.execute(f"ALTER TABLE prompts DROP COLUMN {name}")
    for name in ("freedom", "excess", "pass_pairs", "pass_ties", "fail_pairs", "fail_ties"):
        db.execute(f"ALTER TABLE difficulty_groups DROP COLUMN {name}")
    db.execute("PRAGMA user_version = 3")
    db.commit()
    db.close()


def test_a_ledger_from_before_is_read_as_one_of_rewards_of_0_and_1(tmp_path):
    ledger = observed([1.0, 0.0, 0.0], [1.0, 1.0], decay=0.5)
    ledger.snapshot(tmp_path / "old.sqlite")
    of_schema_3(tmp_path / "old.sqlite")
    before = (tmp_path / "old.sqlite").read_bytes()
    with Ledger.restore(tmp_path / "old.sqlite", tmp_path / "new.sqlite") as restored:
        assert restored.records() == ledger.records()
        assert useful(restored, 2)[0] == useful(ledger, 2)[0]
    db = sqlite3.connect(tmp_path / "new.sqlite")
    for table, columns in TABLES.items():  # in one order, which the file's bytes depend on
        assert [row[1] for row in db.execute(f"PRAGMA table_info({table})")] == list(columns)
    db.close()
    assert (tmp_path / "old.sqlite").read_bytes() == before
    with pytest.raises(RunFailed, match="schema 3"):
        Ledger(tmp_path / "old.sqlite")

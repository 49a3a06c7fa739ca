"""The kind `gaussian`: which pass rates it draws, when it profiles the pool, what it remembers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders.simulated_policy import SimulatedPolicy, take
from curriculum.accounting import GroupCounts
from curriculum.candidates import WeightedPrompts
from curriculum.config import Gaussian
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Beta
from curriculum.profile import Profile
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult
from curriculum.select import draw
from curriculum.stage_start import PROFILE, begin_stage


def curriculum_of(policy, steps=40, ledger=None, **fields):
    return Curriculum(
        Gaussian(**fields),
        ledger or policy.ledger(),
        groups=8,
        group_size=8,
        seed=0,
        steps=steps,
    )


def probes(asked):
    return [request for request in asked if request.purpose == "probe"]


def pool_of(count):
    ledger = Ledger(None)
    ledger.add(NewPrompt(f"p{n:04}", "c", "s", Beta(1, 1)) for n in range(count))
    return Pool(ledger, decay=1.0)


def group_of(passes, fails):
    group = GroupCounts()
    group.add(RolloutResult(passes, fails))
    return group


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(0.2, 0.8), deviation=st.floats(0.08, 0.2), seed=st.integers(0, 99))
def test_drawn_pass_rates_follow_the_gaussian_however_the_pool_is_spread(mean, deviation, seed):
    """Nine in ten prompts of the pool are hard; the draw has the mean and the deviation asked
    for, where those of a Gaussian that ends at 0 and 1 are known."""
    rng = np.random.default_rng(seed)
    rates = np.where(rng.random(4000) < 0.9, rng.uniform(0, 0.15, 4000), rng.uniform(0, 1, 4000))
    pool = pool_of(4000)
    weights = Profile(0, rates.tolist()).weights(pool, mean, deviation)
    prompts = WeightedPrompts.each(pool.index, np.arange(4000), weights)
    ids = [id for n in range(400) for id in draw(prompts, {"c": 3}, n).ids]
    drawn = rates[pool.index.positions(ids)]
    grid = np.linspace(0, 1, 2001)
    density = np.exp(-(((grid - mean) / deviation) ** 2) / 2)
    expected = np.average(grid, weights=density)
    spread = np.sqrt(np.average((grid - expected) ** 2, weights=density))
    assert drawn.mean() == pytest.approx(expected, abs=0.03)
    assert drawn.std() == pytest.approx(spread, abs=0.04)


def test_solved_prompts_come_last_and_fresh_ones_first():
    pool = pool_of(6)
    pool.seen[:] = [3, 3, 3, 9, 3, 3]
    weights = Profile(3, [0.51, 0.52, 0.53, 0.54, None, 0.9]).weights(pool, 0.5, 0.1)
    assert weights[0] > weights[2] > 5 * weights[3] > 5 * weights[5] > 0
    assert 0 < weights[4] < 1e-50


def test_a_profile_leaves_out_what_always_passed_and_what_was_not_graded():
    pool = pool_of(4)
    counts = {
        "p0000": group_of(4, 0),
        "p0001": group_of(1, 3),
        "p0002": group_of(0, 4),
        "p0003": GroupCounts(faults=4),
    }
    solved, medium, hard, faulty = Profile.of(pool, counts, 0).rates
    assert solved is None and faulty is None and medium is not None and hard is not None


def test_the_target_falls_and_so_do_the_pass_rates_of_what_is_drawn():
    policy = SimulatedPolicy(each=100)
    curriculum = curriculum_of(policy, plateau_steps=40, probe_attempts=8)
    means, drawn = [], []
    for version in range(40):
        chosen, asked = take(curriculum, policy, version)
        means.append(chosen.metrics["target_mean"])
        drawn += [policy.rate(one.id, 0) for one in asked if one.purpose == "group"]
    assert means[0] == 0.75 and means[-1] == pytest.approx(0.25)
    assert np.allclose(np.diff(means), -0.5 / 39)
    assert np.mean(drawn[:80]) == pytest.approx(0.7, abs=0.1)
    assert np.mean(drawn[-80:]) == pytest.approx(0.25, abs=0.1)


def test_each_capability_has_its_share_at_the_target():
    policy = SimulatedPolicy(each=100)
    for id in policy.odds:  # one capability is far harder
        policy.odds[id] -= 2.0 if id.startswith("a") else 0.0
    curriculum = curriculum_of(
        policy, shares={"a": 0.25, "b": 0.75}, start_mean=0.5, end_mean=0.5, probe_attempts=8
    )
    rates: dict[str, list[float]] = {"a": [], "b": []}
    for version in range(15):
        for one in take(curriculum, policy, version)[1]:
            if one.purpose == "group":
                rates[one.id[0]].append(policy.rate(one.id, 0))
    assert len(rates["a"]) == 2 * 15 and len(rates["b"]) == 6 * 15
    assert np.mean(rates["a"]) == pytest.approx(0.5, abs=0.15)
    assert np.mean(rates["b"]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("gains", "reached"),
    [
        ([0.0, 0.1, 0.2, 0.3], False),
        ([0.3, 0.2, 0.1, 0.0], True),
        ([0.1, 0.1, 0.1, 0.1], True),
        ([0.0, 0.1, 0.2], False),
        ([9.0, 0.0, 0.1, 0.2, 0.3], False),
    ],
)
def test_a_plateau_is_a_gain_that_no_longer_rises(gains, reached):
    assert Profile(0, [], gains).plateau(2) is reached


def test_the_gain_is_measured_against_the_same_prompts_profile():
    profile = Profile(0, [0.25, 0.5, None, 0.5], [0.0])
    groups = {f"p000{n}": group_of(6, 2) for n in range(3)} | {"p0003": GroupCounts(faults=8)}
    assert profile.after(pool_of(4), groups).gains == [0.0, (0.5 + 0.25) / 2]
    only_faults = {"p0003": GroupCounts(faults=8)}
    assert profile.after(pool_of(4), only_faults).gains == [0.0]


@pytest.mark.parametrize(("drift", "profiles"), [(-0.15, {0, 8}), (0.15, {0})])
def test_the_pool_is_profiled_again_only_when_learning_has_stopped(drift, profiles):
    """The falling target lowers the steps' pass rates in both cases. Only the policy that unlearns
    is at a plateau."""
    policy = SimulatedPolicy(each=100, drift=drift)
    fields = {"start_mean": 0.6, "end_mean": 0.3, "probe_attempts": 8}
    curriculum = curriculum_of(policy, steps=13, plateau_steps=4, **fields)
    curriculum.groups = 64
    tokens = 0
    for version in range(13):
        chosen, asked = take(curriculum, policy, version)
        probed = probes(asked)
        assert bool(probed) == bool(chosen.metrics["profiled"]) == (version in profiles)
        assert not probed or len(probed) == len(policy.odds)
        tokens += sum(10 * one.rollouts for one in probed)
    assert curriculum.accounting.tokens["probed"] == tokens > 0


def test_its_state_is_in_the_ledger_and_a_later_stage_profiles_anew(tmp_path):
    policy = SimulatedPolicy(each=20)
    whole = curriculum_of(policy, steps=12, plateau_steps=2)
    uninterrupted = [take(whole, policy, version) for version in range(12)]
    policy.ledger().snapshot(tmp_path / "saved.sqlite")
    for version in range(12):
        ledger = Ledger.restore(tmp_path / "saved.sqlite", tmp_path / "ledger.sqlite")
        again = curriculum_of(policy, steps=12, plateau_steps=2, ledger=ledger)
        assert take(again, policy, version) == uninterrupted[version]
        ledger.snapshot(tmp_path / "saved.sqlite")
        ledger.close()
    begin_stage(whole.ledger)
    assert whole.ledger.remembered(PROFILE, None) is None
    second = curriculum_of(policy, steps=12, ledger=whole.ledger)
    chosen, asked = take(second, policy, 12)
    assert probes(asked) and chosen.metrics["target_mean"] == 0.75


def test_its_bound_on_rollouts_holds_and_its_settings_are_checked():
    policy = SimulatedPolicy(each=10)
    curriculum = curriculum_of(policy, steps=12, plateau_steps=1, empty_steps=12)
    asked = [one for version in range(12) for one in take(curriculum, policy, version)[1]]
    most = curriculum.config.rollouts_at_most(12, 8, 8, len(policy.odds))
    assert most is not None and sum(one.rollouts for one in asked) <= most
    assert curriculum.config.rollouts_at_most(12, 8, 8, None) is None
    with pytest.raises(ValidationError, match=r"start_mean \(0.2\) lies below end_mean"):
        Gaussian(start_mean=0.2)
    with pytest.raises(ValueError, match="number of steps"):
        Curriculum(Gaussian(), policy.ledger(), groups=8, group_size=8, seed=0)


def test_pass_rates_are_counted_in_each_capability_apart():
    """`b` has a hundred prompts at the target; the two of `a` weigh as if there were no `b`."""
    ledger = Ledger(None)
    ledger.add(NewPrompt(f"a{n}", "a", "s", Beta(1, 1)) for n in range(2))
    ledger.add(NewPrompt(f"b{n:03}", "b", "s", Beta(1, 1)) for n in range(100))
    profile = Profile(0, [0.5, 0.35, *[0.5] * 100])
    weights = profile.weights(Pool(ledger, decay=1.0), 0.5, 0.15)
    assert weights[0] == pytest.approx(1) and weights[1] == pytest.approx(np.exp(-0.5))
    assert weights[2:].sum() == pytest.approx(1)

"""The curriculum on a simulated policy: requests, selections, quotas and metrics."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from builders.simulated_policy import SimulatedPolicy, take
from common.errors import BadInput
from curriculum.accounting import RolloutAccounting, difficulty_shares
from curriculum.calibration import Calibration
from curriculum.config import (
    CurriculumConfig,
    DropZeroVariance,
    DynamicSampling,
    Gaussian,
    Posterior,
    Refilter,
    Uniform,
)
from curriculum.curriculum import Curriculum
from curriculum.empty_steps import EmptySteps
from curriculum.ledger import Ledger
from curriculum.stage_start import FIRST_VERSION, begin_stage

KINDS: list[CurriculumConfig] = [
    Uniform(),
    DropZeroVariance(),
    DynamicSampling(),
    Refilter(),
    Gaussian(),
    Posterior(),
]


def test_shares_hold_among_what_is_trained_on_not_only_among_what_is_drawn():
    policy = SimulatedPolicy(each=100, capabilities=("a", "b"))
    for id in policy.odds:  # one capability is far harder
        policy.odds[id] -= 2.0 if id.startswith("a") else 0.0
    trained: Counter[str] = Counter()
    curriculum = Curriculum(
        Posterior(shares={"a": 0.75, "b": 0.25}), policy.ledger(), groups=16, group_size=8, seed=0
    )
    for version in range(30):
        trained.update(id[0] for id in take(curriculum, policy, version)[0].train)
    assert trained["a"] / trained.total() == pytest.approx(0.75, abs=0.03)
    with pytest.raises(BadInput, match="shares names nobody"):
        Curriculum(
            Posterior(shares={"nobody": 1.0}), policy.ledger(), groups=4, group_size=8, seed=0
        )


def test_other_capabilities_take_over_the_quota_of_one_without_useful_prompts():
    policy = SimulatedPolicy(each=60)
    policy.odds = {id: 9.0 if id.startswith("a") else odds for id, odds in policy.odds.items()}
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=8, group_size=8, seed=0)
    for version in range(25):
        chosen, _ = take(curriculum, policy, version)
    assert chosen.quota_shift["a"] < 0 < chosen.quota_shift["b"]
    assert chosen.metrics["quota_shift/a"] == chosen.quota_shift["a"]
    assert len(chosen.train) >= 7


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_every_kind_requests_and_trains_as_documented(config):
    policy = SimulatedPolicy(each=40)
    curriculum = Curriculum(config, policy.ledger(), groups=8, group_size=4, seed=0, steps=60)
    for version in range(3):
        chosen, asked = take(curriculum, policy, version)
        rolled_out = [request for request in asked if request.purpose != "probe"]
        whole: Counter[str] = Counter()
        for request in rolled_out:
            whole[request.id] += request.rollouts
        trained = [curriculum.ledger.record(id) for id in chosen.train]
        assert all(record.passes > 0 and record.fails > 0 for record in trained)
        assert set(chosen.train) <= set(chosen.counted) <= set(whole)
        assert len(chosen.train) <= 8
        if config.kind == "uniform":
            assert len(chosen.counted) == 8 > len(chosen.train)
        else:
            assert chosen.counted == chosen.train
        if config.kind in ("uniform", "drop_zero_variance"):
            assert len(rolled_out) == 8 and set(whole.values()) == {4}
        if config.kind == "dynamic_sampling":
            assert len(chosen.train) == 8 and len(rolled_out) % 8 == 0 and len(rolled_out) > 8
        if config.kind in ("refilter", "gaussian"):
            probed = [request for request in asked if request.purpose == "probe"]
            assert len(probed) == (len(curriculum.pool.ids) if version == 0 else 0)
        if config.kind == "posterior":
            assert set(whole.values()) <= {2, 4} and all(whole[id] == 4 for id in chosen.train)


def test_refilter_rolls_out_only_prompts_inside_the_band():
    policy = SimulatedPolicy(each=60)
    curriculum = Curriculum(
        Refilter(probe_attempts=8), policy.ledger(), groups=8, group_size=8, seed=0
    )
    _, asked = take(curriculum, policy, 0)
    records = curriculum.ledger.records()
    rates = {record.id: record.passes / 8 for record in records if record.drawn == 1}
    retired = {record.id for record in records if record.retired}
    assert retired >= {id for id, rate in rates.items() if not 0.2 <= rate <= 0.8}
    assert not retired & {request.id for request in asked if request.purpose == "group"}
    assert len(retired) > 150


def test_the_estimate_of_an_untried_prompt_follows_its_difficulty_group():
    policy = SimulatedPolicy(each=100)
    estimates: dict[str, set[float]] = {}
    for seed in range(4):
        curriculum = Curriculum(Posterior(), policy.ledger(), groups=16, group_size=8, seed=seed)
        for version in range(30):
            take(curriculum, policy, version)
        pool = curriculum.pool
        untried = [id for id, seen in zip(pool.ids, pool.seen, strict=True) if seen < 0]
        for id, beta in zip(untried, pool.posteriors(untried, 30), strict=True):
            estimates.setdefault(id.split("-")[1], set()).add(round(beta.mean, 6))
    means = {level: np.mean(list(values)) for level, values in estimates.items()}
    assert means["hopeless"] < 0.07 < means["hard"] < 0.3 < means["medium"]
    assert means["medium"] < 0.65 < means["easy"] < means["trivial"]


@pytest.mark.parametrize("drift", [0.0, 0.03])
def test_the_posterior_follows_pass_rates_that_drift(drift):
    """Known rates whose log-odds rise by 0.03 per version: the estimates' error stays bounded, and
    the predictions calibrated."""
    policy = SimulatedPolicy(each=100, drift=drift)
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=16, group_size=8, seed=0)
    for version in range(60):
        chosen, _ = take(curriculum, policy, version)
    ids = list(curriculum.pool.ids)
    estimated = np.array([beta.mean for beta in curriculum.pool.posteriors(ids, 60)])
    true = np.array([policy.rate(id, 60) for id in ids])
    assert np.abs(estimated - true).mean() < 0.12
    assert abs((estimated - true).mean()) < 0.04
    assert chosen.metrics["predicted/calibration_error"] < 0.1
    assert chosen.metrics["committed_mixed_share"] > 0.8
    assert chosen.metrics["tokens/pilot"] + chosen.metrics["tokens/probed"] < 0.1


def test_prompts_that_were_trained_on_keep_half_of_their_evidence():
    policy = SimulatedPolicy(each=50)
    curriculum = Curriculum(
        Uniform(trained_decay=0.5), policy.ledger(), groups=16, group_size=8, seed=0
    )
    chosen, asked = take(curriculum, policy, 0)
    for request in asked:
        record = curriculum.ledger.record(request.id)
        assert record.passes + record.fails == (4 if request.id in chosen.train else 8)
        position = curriculum.pool.index.position[request.id]
        assert curriculum.pool.passes[position] == record.passes
    assert 0 < len(chosen.train) < len(asked)


def test_prediction_saves_rollouts_against_every_other_kind():
    spent: dict[str, float] = {}
    for config in KINDS:
        policy = SimulatedPolicy(each=100)
        curriculum = Curriculum(config, policy.ledger(), groups=16, group_size=8, seed=0, steps=40)
        groups = rollouts = 0
        for version in range(40):
            chosen, asked = take(curriculum, policy, version)
            groups += len(chosen.train)
            rollouts += sum(request.rollouts for request in asked)
        spent[config.kind] = rollouts / groups
    others = [value for kind, value in spent.items() if kind != "posterior"]
    assert spent["posterior"] * 1.4 < min(others)


def test_the_band_rises_with_the_policy():
    policy = SimulatedPolicy(each=100, drift=0.06)
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=16, group_size=8, seed=0)
    steps = [take(curriculum, policy, version)[0].metrics for version in range(60)]
    lows = [metrics["band_low"] for metrics in steps]
    assert lows[9] == 0.2 and lows[-1] < 0.17
    difficulty = [metrics["start_difficulty"] for metrics in steps if "start_difficulty" in metrics]
    assert np.mean(difficulty[-10:]) > np.mean(difficulty[:10]) + 0.1


def test_hard_prompts_groups_grow_where_allowed():
    policy = SimulatedPolicy(each=50)
    curriculum = Curriculum(
        Posterior(largest_group=24, pilot=0), policy.ledger(), groups=8, group_size=8, seed=0
    )
    sizes = {
        request.rollouts
        for version in range(20)
        for request in take(curriculum, policy, version)[1]
        if request.purpose == "group"
    }
    assert min(sizes) == 8 and 8 < max(sizes) <= 24


def test_all_state_of_a_curriculum_is_in_its_ledger(tmp_path):
    """Resumed from a snapshot at every step, it requests and selects the same as without
    interruption."""
    policy = SimulatedPolicy(each=30)
    whole = Curriculum(Posterior(refilter_every=3), policy.ledger(), groups=8, group_size=8, seed=0)
    uninterrupted = [take(whole, policy, version) for version in range(14)]
    policy.ledger().snapshot(tmp_path / "saved.sqlite")
    for version in range(14):
        ledger = Ledger.restore(tmp_path / "saved.sqlite", tmp_path / "ledger.sqlite")
        again = Curriculum(Posterior(refilter_every=3), ledger, groups=8, group_size=8, seed=0)
        assert take(again, policy, version) == uninterrupted[version]
        ledger.snapshot(tmp_path / "saved.sqlite")
        ledger.close()
    assert Ledger(tmp_path / "ledger.sqlite").dump() == whole.ledger.dump()


def test_a_second_stage_uses_the_estimates_of_the_first(tmp_path):
    policy = SimulatedPolicy(each=60)
    first = Curriculum(Posterior(), policy.ledger(), groups=8, group_size=8, seed=0)
    for version in range(20):
        take(first, policy, version)
    begin_stage(first.ledger)
    assert first.ledger.remembered(FIRST_VERSION, 0) == 20
    first.ledger.snapshot(tmp_path / "first.sqlite")
    fresh = policy.ledger()
    begin_stage(fresh)
    assert fresh.dump() == policy.ledger().dump()
    mixed = {"continued": 0.0, "fresh": 0.0}
    for name, seed in product(mixed, range(10)):
        continued = Ledger.restore(tmp_path / "first.sqlite", tmp_path / "ledger.sqlite")
        ledger, begin = (continued, 20) if name == "continued" else (policy.ledger(), 0)
        second = Curriculum(Posterior(), ledger, groups=8, group_size=8, seed=seed)
        assert second.accounting == RolloutAccounting() and second.empty == EmptySteps()
        taken = [take(second, policy, begin + step, seed) for step in range(2)]
        rollouts = sum(request.rollouts for _, asked in taken for request in asked)
        mixed[name] += sum(len(chosen.train) for chosen, _ in taken) / rollouts
    assert mixed["continued"] > 1.15 * mixed["fresh"]


def test_calibration_by_hand():
    calibration = Calibration()
    for probability, mixed in [(0.25, True), (0.25, False), (0.95, True), (1.0, True)]:
        calibration.record(probability, mixed)
    assert calibration.brier == pytest.approx((0.5625 + 0.0625 + 0.0025 + 0) / 4)
    assert calibration.expected_error == pytest.approx((0.5 + 0.05) / 4)
    assert [row["groups"] for row in calibration.curve()] == [2, 2]
    assert RolloutAccounting.from_json(RolloutAccounting().to_json()) == RolloutAccounting()


def test_shares_of_difficulty_add_up():
    shares = difficulty_shares([0.0, 0.1, 0.2, 0.5, 0.99, 1.0])
    assert list(shares.values()) == pytest.approx([2 / 6, 1 / 6, 1 / 6, 0, 2 / 6])


def test_every_token_is_counted_under_one_outcome():
    policy = SimulatedPolicy(each=50)
    curriculum = Curriculum(Posterior(), policy.ledger(), groups=8, group_size=8, seed=0)
    tokens = 0
    for version in range(22):
        chosen, asked = take(curriculum, policy, version)
        tokens += sum(10 * request.rollouts for request in asked)
    assert sum(curriculum.accounting.tokens.values()) == tokens
    shares = [value for name, value in chosen.metrics.items() if name.startswith("tokens/")]
    assert sum(shares) == pytest.approx(1)


def test_savings_are_relative_to_drawing_at_random():
    accounting = RolloutAccounting()
    accounting.record_saved(mixed=10, rollouts=100, tokens=1000, pool_rate=0.25, group_size=8)
    assert accounting.saved_rollouts == pytest.approx(10 * 8 / 0.25 - 100) == 220
    assert accounting.saved_tokens == pytest.approx(2200)
    saved = {}
    for config in (Uniform(), Posterior()):
        policy = SimulatedPolicy(each=100)
        curriculum = Curriculum(config, policy.ledger(), groups=16, group_size=8, seed=0, steps=40)
        rollouts = sum(
            request.rollouts
            for version in range(40)
            for request in take(curriculum, policy, version)[1]
        )
        saved[config.kind] = curriculum.accounting.saved_rollouts / rollouts
    assert abs(saved["uniform"]) < 0.1 and saved["posterior"] > 0.4

"""The benchmark of stages, without its runs: chains, pools, cuts, paired differences."""

from dataclasses import replace
from fractions import Fraction

import pytest

from benchmarks import stage_claims, stage_pools, stage_steps
from builders.evaluations import prompt
from common.artifacts import CHECKPOINT, GROUPS, PROMPTS
from prompts.schema import write_prompts
from stages.dpo.config import DpoStage
from stages.rl.config import RlStage
from stages.sft.config import SftStage


def asked(number, family, capability="c", **item):
    metadata = {"family": family, "item": item}
    return replace(prompt(number, capability=capability), metadata=metadata)


def test_a_chain_is_run_from_its_first_step_on():
    found = stage_claims.beginnings("pool/sft/rl/dpo")
    assert found == ["pool/sft", "pool/sft/rl", "pool/sft/rl/dpo"]


def test_the_arms_of_every_claim_are_run():
    arms = {arm for chain in stage_claims.CHAINS for arm in stage_claims.beginnings(chain)}
    for _, arm, against, _ in stage_claims.claims():
        assert {arm, against} <= arms


def test_every_step_of_a_chain_is_known():
    steps = {step for chain in stage_claims.CHAINS for step in chain.split("/")[1:]}
    known = {*stage_steps.SFTS, *stage_steps.DPOS, *stage_steps.STEPS, *stage_claims.CUTS}
    assert steps <= known
    for name in stage_steps.STEPS:
        assert isinstance(stage_steps.rl_config(name), RlStage)
    for name, settings in stage_steps.SFTS.items():
        SftStage.model_validate({"id": name, "kind": "sft", "on": "filter", **settings})
    for name, settings in stage_steps.DPOS.items():
        DpoStage.model_validate({"id": name, "kind": "dpo", "from": "rl", **settings})


def test_pools_mix_difficulties():
    solved = [asked(n, "gcd") for n in range(60)]
    medium = [asked(100 + n, "spell_backward") for n in range(40)]
    medium += [asked(150 + n, "chain_sum", num_terms=2) for n in range(20)]
    hard = [asked(200 + n, "letter_jumble") for n in range(30)]
    hard += [asked(250 + n, "chain_sum", num_terms=3) for n in range(30)]
    pool = stage_pools.mixed([*hard, *solved, *medium], stage_pools.ASKED, 100)
    counts = [sum(one in kind for one in pool) for kind in (solved, medium, hard)]
    assert counts == [25, 50, 25] and len({one.id for one in pool}) == 100
    with pytest.raises(ValueError, match="80 prompts out of reach"):
        stage_pools.mixed([*solved, *medium], stage_pools.MIXES["mostly_out_of_reach"], 100)


def test_a_cut_drops_the_easiest_share_of_every_capability(monkeypatch):
    prompts = [asked(n, "gcd", capability="ab"[n % 2]) for n in range(20)]
    monkeypatch.setattr(stage_pools, "pool", lambda *_: prompts)
    ease = {one.id: -float(n) for n, one in enumerate(prompts)}
    monkeypatch.setattr(stage_steps, "eases", lambda *_: ease)
    kept = stage_steps.cut("pool", "judge", Fraction(80, 100), seed=1)
    assert sorted(one.id for one in kept) == sorted(one.id for one in prompts[16:])


def test_a_step_reads_what_the_nearest_step_before_it_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_steps, "WORK", tmp_path)
    monkeypatch.setattr(stage_pools, "start", lambda: tmp_path / "start")
    rl = stage_steps.folder("pool/cut/rl", 3)
    target = rl / "dpo"
    target.mkdir(parents=True)
    inputs = stage_steps.Inputs(target, "pool")
    assert inputs.trained == tmp_path / "start"
    kept = [asked(1, "gcd")]
    write_prompts(PROMPTS.path(rl.parent), kept)
    CHECKPOINT.path(rl).mkdir()
    GROUPS.path(rl).touch()
    # Its own folder is no step before it, nor is what lies above the arm.
    CHECKPOINT.path(target).mkdir()
    CHECKPOINT.path(tmp_path).mkdir()
    assert inputs.trained == inputs.grouped == rl
    assert [one.id for one in inputs.prompts()] == [one.id for one in kept]


def test_arms_are_compared_at_equal_tokens_and_paired_by_seed():
    cut, whole = "mostly_solved/cut-judge-50/rl", "mostly_solved/rl"
    found = {}
    for seed in (0, 1):
        gain = 0.1 * (seed + 1)
        slow = [{"tokens": 0, "score": 0.2}, {"tokens": 100, "score": 0.4}]
        fast = [{"tokens": 0, "score": 0.2}, {"tokens": 50, "score": 0.3 + gain}]
        found[whole, seed] = {"curve": slow, "score": 0.4}
        found[cut, seed] = {"curve": fast, "score": 0.3 + gain}
    (line,) = stage_claims.summary(found)["claims"]
    # At 50 tokens the whole pool's arm stands at 0.3.
    assert line["arm"] == cut and line["against"] == whole and line["seeds"] == 2
    assert line["mean"] == pytest.approx(0.15)
    assert line["low"] == pytest.approx(0.1) and line["high"] == pytest.approx(0.2)
    assert stage_claims.summary(found)["arms"][whole]["score"]["mean"] == pytest.approx(0.4)

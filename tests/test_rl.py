"""RL without an engine: groups and advantages, practice on a scripted engine."""

import json
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput, Interrupted, RunFailed
from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG
from curriculum.curriculum import begin_stage
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.rows import Entry
from prompts.schema import Prompt
from rewards.grade import Grade
from rollouts.engine import Rollout
from stages.rl import practice as practice_module
from stages.rl.config import RlStage
from stages.rl.groups import Group, Member
from stages.rl.notes import Notes
from stages.rl.practice import Practice
from stages.rl.run import open_ledger

KINDS = ["uniform", "drop_zero_variance", "dynamic_sampling", "refilter", "posterior"]
RIGHT, WRONG, CUT, CRASH = "right", "wrong", "cut", "crash"


def member(reward, fault=None, length=2):
    return Member(Rollout([5] * length, [-0.5] * length, "x", "stop"), reward, fault)


def group_of(*members):
    return Group("p", "words", [1, 2, 3], list(members), probe=False)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16).filter(lambda rewards: len(set(rewards)) > 1))
def test_advantages_are_rewards_in_units_of_their_spread(rewards):
    advantages = group_of(*map(member, rewards)).advantages()
    assert sum(advantages) == pytest.approx(0, abs=1e-9)
    scale = statistics.stdev(rewards) + 1e-4
    for reward, advantage in zip(rewards, advantages, strict=True):
        assert advantage == pytest.approx((reward - statistics.fmean(rewards)) / scale)


def test_a_fault_is_neither_right_nor_wrong():
    plain = group_of(member(1.0), member(0.0), member(0.0))
    faulty = group_of(member(0.0, "timeout"), member(1.0), member(0.0), member(0.0, CUT_OFF, 9), member(0.0))
    assert faulty.mixed and faulty.passes == 1 and len(faulty.usable) == 3
    assert faulty.advantages() == plain.advantages()
    assert faulty.faults == {"timeout": 1, CUT_OFF: 1}
    assert (faulty.tokens, faulty.loss_tokens) == (17, 6)


def test_faults_make_no_group_mixed():
    assert not group_of(member(1.0), member(0.0, CUT_OFF), member(1.0)).mixed
    assert not group_of(member(0.0, CUT_OFF), member(0.0, "timeout")).mixed
    assert not group_of(member(0.0), member(0.0)).mixed


def test_a_line_of_groups_holds_what_dpo_reads():
    line = group_of(member(1.0), member(0.0, CUT_OFF)).to_json(step=4, system_prompts=())
    assert json.loads(json.dumps(line)) == line
    assert (line["step"], line["prompt_id"], line["probe"], line["system"]) == (4, "p", False, None)
    assert line["members"][1] == {"token_ids": [5, 5], "text": "x", "finish": "stop", "reward": 0.0, "fault": CUT_OFF}


class ScriptedEngine:
    """Rolls out what the script says for a prompt; repeats the script to fill a group."""

    max_model_len = 512

    def __init__(self, script):
        self.script, self.asked = script, []

    def encode(self, messages):
        return [ord(c) for c in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p):
        names = ["".join(map(chr, prompt)) for prompt in prompts]
        self.asked.append((names, samples, list(seeds)))
        assert temperature > 0 and max_tokens > 0 and top_p == 1
        return [[self._rollout(self.script[name], i) for i in range(samples)] for name in names]

    def _rollout(self, words, place):
        word = words[place % len(words)]
        return Rollout([7, 8], [-1.0, -2.0], word, "length" if word == CUT else "stop")


def graded(prompt, text):
    return Grade(0.0, "verifier_crash", None) if text == CRASH else Grade(float(text == RIGHT), None, text)


def practice(script, prior=None, **settings):
    """Practice on a scripted engine, its ledger and its engine. What was seen stays whole, to be counted."""
    curriculum = {"pilot": 0, "trained_decay": 1.0, **settings.pop("curriculum", {})}
    if curriculum.get("kind", "posterior") != "posterior":
        del curriculum["pilot"]
    values = {"id": "rl", "kind": "rl", "from": "sft", "on": "filter", "steps": 9, "learning_rate": 1e-4}
    values |= {"group_size": 4, "prompts_per_step": 2, "curriculum": curriculum, **settings}
    config = RlStage.model_validate(values)
    prompts = {n: Prompt(n, [{"role": "user", "content": n}], "a", "exact", "words", "s", None, {}) for n in script}
    ledger, engine = Ledger(None), ScriptedEngine(script)
    ledger.add(Entry(name, "words", "s", prior or Beta(1.0, 1.0)) for name in script)
    return Practice(config, prompts, ledger, engine, graded, seed=1), ledger, engine


MIXED, SOLVED, HOPELESS = [RIGHT, WRONG], [RIGHT], [WRONG]


def test_prompts_without_room_are_refused_by_name_where_there_are_no_others():
    practising, _, engine = practice({"endless" * 72: MIXED, "endless" * 73: MIXED}, max_tokens=9)
    with pytest.raises(BadInput, match=r"endless.* \(511 tokens\), .* \(504 tokens\)"):
        practising.fitting(4)
    practising, _, engine = practice({"endless" * 72: MIXED, "endless" * 71: MIXED, "a": MIXED}, max_tokens=9)
    assert practising.fitting(4) == ["endless" * 71, "a"] and practising.fitting(1) == ["endless" * 71]
    assert not engine.asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pilot", [0, 2])
def test_a_drawn_prompt_without_room_is_booked_retired_and_never_sampled(kind, pilot):
    long = {f"{n}" * 300: MIXED for n in range(6)}
    settings = {"prompts_per_step": 8, "max_tokens": 300, "curriculum": {"kind": kind, "pilot": pilot}}
    practising, ledger, engine = practice(long | {f"m{n}": MIXED for n in range(6)}, **settings)
    told = []
    notes = Notes(practising.prompts, practising.room, told.append)
    for step in range(12):
        done = practising.step(step)
        notes.step(step, done)
        assert {group.prompt_id for group in done.everything} <= {f"m{n}" for n in range(6)}
    assert not any(name in long for names, _, _ in engine.asked for name in names)
    for row in (row for row in ledger.rows() if row.id in long):
        assert row.resting and row.faults == {TOO_LONG: 1} and (row.passes, row.fails) == (0, 0)
    told = [text for text in told if "too few useful prompts" not in text]
    text = " ".join(told)
    assert text.count("longer than 212 tokens (rollouts.max_model_len less max_tokens): ") == len(told) >= 1
    assert len(told) > 1 or "of s and 3 more" in text
    begin_stage(ledger)
    assert not any(row.resting for row in ledger.rows() if row.id in long)


def test_a_prompt_that_the_chat_template_refuses_ends_no_run():
    practising, ledger, engine = practice({f"m{n}": MIXED for n in range(6)}, prompts_per_step=6)
    encode = engine.encode

    def refusing(messages):
        if messages[-1]["content"] == "m3":
            raise KeyError("role")
        return encode(messages)

    engine.encode = refusing
    done, told = practising.step(0), []
    Notes(practising.prompts, practising.room, told.append).step(0, done)
    assert done.unfit == {"m3": NOT_ENCODED} and len(done.chosen) == 5
    assert ledger.row("m3").resting and "m3 of s" in told[0] and "chat template" in told[0]
    practising.prompts = {"m3": practising.prompts["m3"]}
    with pytest.raises(BadInput, match="not one of 1 prompts can be encoded"):
        practising.fitting(4)


def test_prompts_are_tokenised_when_they_are_drawn():
    practising, _, engine = practice({f"m{n}": MIXED for n in range(500)}, system_prompts=("a", "b"))
    encoded, encode = [], engine.encode
    engine.encode = lambda messages: encoded.append(messages) or encode(messages)
    done = practising.step(0)
    assert len(encoded) == 2 * len(done.everything) <= 16


def test_groups_without_a_spread_are_booked_and_replaced():
    script = {f"s{i}": SOLVED for i in range(6)} | {f"m{i}": MIXED for i in range(6)}
    practising, ledger, _ = practice(script, curriculum={"max_rounds": 12})
    done = practising.step(0)
    assert len(done.chosen) == 2 and all(group.mixed for group in done.chosen)
    ids = [group.prompt_id for group in done.everything]
    assert len(set(ids)) == len(ids)
    booked = {row.id: row for row in ledger.rows() if row.drawn}
    assert set(booked) == set(ids)
    for group in done.everything:
        row = booked[group.prompt_id]
        assert (row.passes, row.fails, row.seen_version) == ((4, 0, 0) if row.id.startswith("s") else (2, 2, 0))
    assert (done.tokens, done.counted_tokens) == (8 * len(ids), 16)


def test_a_later_stages_first_step_is_of_a_later_policy():
    practising, ledger, _ = practice({f"m{i}": MIXED for i in range(6)})
    for step in range(3):
        practising.step(step)
    begin_stage(ledger)
    practising.step(0)
    assert max(row.seen_version for row in ledger.rows() if row.drawn) == 3


def test_a_step_asks_only_for_what_is_missing():
    script = {f"s{i}": SOLVED for i in range(20)} | {"m": MIXED}
    practising, _, engine = practice(script, prompts_per_step=3, curriculum={"max_rounds": 7})
    done = practising.step(0)
    missing = 3
    for names, samples, _ in engine.asked:
        assert len(names) == missing and samples == 4
        missing -= sum(name == "m" for name in names)
    assert len(engine.asked) == 7 and len(done.chosen) == 3 - missing


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_step_ends_after_its_rounds(rounds):
    practising, _, engine = practice({f"s{i}": SOLVED for i in range(40)}, curriculum={"max_rounds": rounds})
    done = practising.step(0)
    assert done.chosen == [] and len(engine.asked) == rounds and len(done.everything) == 2 * rounds


def test_a_small_pool_ends_a_step_early():
    practising, _, engine = practice({"s1": SOLVED, "s2": SOLVED, "s3": SOLVED}, curriculum={"max_rounds": 5})
    assert len(practising.step(0).everything) == 3 and len(engine.asked) == 2


def test_a_pilot_and_the_rest_are_one_group_with_seeds_of_their_own():
    script = {f"m{i}": MIXED for i in range(4)} | {f"s{i}": SOLVED for i in range(4)}
    practising, ledger, engine = practice(script, group_size=6, curriculum={"pilot": 2, "sure": 1.0})
    done = practising.step(0)
    assert [samples for _, samples, _ in engine.asked][:2] == [2, 4]
    assert not set(engine.asked[0][2]) & set(engine.asked[1][2])
    for group in done.chosen:
        assert len(group.members) == 6 and group.passes == 3
        row = ledger.row(group.prompt_id)
        assert (row.passes, row.fails, row.drawn) == (3, 3, 1)
    assert all(len(group.members) in (2, 6) for group in done.everything)


def test_uniform_counts_groups_without_a_spread_in_the_loss_and_trains_on_none():
    script = {f"s{i}": SOLVED for i in range(3)} | {"m": MIXED}
    practising, _, _ = practice(script, prompts_per_step=4, curriculum={"kind": "uniform"})
    done = practising.step(0)
    assert [group.prompt_id for group in done.chosen] == ["m"]
    assert (done.counted_tokens, done.chosen[0].tokens) == (32, 8)


def test_system_prompts_vary_by_step_and_are_measured():
    practising, _, _ = practice(
        {f"m{i}": MIXED for i in range(6)}, system_prompts=("be brief", "be kind"), prompts_per_step=4
    )
    asked = Counter()
    for step in range(8):
        done = practising.step(step)
        for group in done.everything:
            asked[group.system] += 1
            assert group.prompt_ids == practising.encoded(group.prompt_id)[group.system]
            assert group.to_json(step, ("be brief", "be kind"))["system"] == ("be brief", "be kind")[group.system]
    assert min(asked.values()) > 8 and set(asked) == {0, 1}
    assert done.metrics["system/0/pass_rate"] == done.metrics["system/1/pass_rate"] == 0.5


def test_the_same_step_draws_and_rolls_the_same_and_another_step_does_not():
    script = {f"m{i}": MIXED for i in range(30)}
    asked = []
    for step in (3, 3, 4):
        practising, _, engine = practice(script)
        practising.step(step)
        asked.append(engine.asked)
    assert asked[0] == asked[1] and asked[0][0][2] != asked[2][0][2]


@pytest.mark.parametrize(("cut_off", "evidence", "mixed"), [("mask", (4, 0), False), ("zero", (4, 4), True)])
def test_what_a_cut_off_completion_means_is_the_recipes_choice(cut_off, evidence, mixed):
    practising, ledger, _ = practice({"a": [RIGHT, CUT]}, cut_off=cut_off, group_size=8, prompts_per_step=1)
    done = practising.step(0)
    row = ledger.row("a")
    assert (row.passes, row.fails) == evidence and bool(done.chosen) == mixed
    assert row.faults == ({} if mixed else {CUT_OFF: 4}) == dict(done.everything[0].faults)
    assert {member.fault for member in done.everything[0].members} == ({None} if mixed else {None, CUT_OFF})


def test_a_verifiers_crash_is_no_evidence():
    practising, ledger, _ = practice({"a": [RIGHT, CRASH, WRONG, CRASH]}, prompts_per_step=1)
    done = practising.step(0)
    row = ledger.row("a")
    assert (row.passes, row.fails, row.faults) == (1, 1, {"verifier_crash": 2})
    assert len(done.chosen) == 1 and done.chosen[0].passes == 1


def test_the_policy_refilters_the_pool_every_so_often():
    script = {f"s{i}": SOLVED for i in range(4)} | {f"m{i}": MIXED for i in range(4)}
    settings = {"refilter_every": 2, "probe_share": 0.9, "probe_attempts": 6, "retire_above": 0.8}
    practising, ledger, engine = practice(script, curriculum=settings)
    probed = {}
    for step in range(13):
        before = len(engine.asked)
        done = practising.step(step)
        probes = [group for group in done.everything if group.probe]
        probed[step] = len(probes)
        assert all(len(group.members) == 6 for group in probes)
        assert not probes or engine.asked[before][1] == 6
    assert [step for step, count in probed.items() if count] == [2, 4, 6, 8, 10, 12]
    assert {row.id[0] for row in ledger.rows() if row.resting} == {"s"}


def test_probes_are_never_trained_on():
    practising, _, _ = practice(
        {f"m{i}": MIXED for i in range(6)}, curriculum={"refilter_every": 1, "probe_share": 0.9}
    )
    done = practising.step(1)
    assert any(group.probe and group.mixed for group in done.everything)
    assert not any(group.probe for group in done.chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_rollouts_come_in_chunks_between_which_a_stop_is_heeded_and_the_result_is_the_same(kind, monkeypatch):
    script = {f"m{n}": MIXED for n in range(40)} | {f"s{n}": SOLVED for n in range(40)}
    seen = {}
    for chunk in (10_000, 12):
        monkeypatch.setattr(practice_module, "CHUNK", chunk)
        practising, ledger, engine = practice(script, prompts_per_step=8, curriculum={"kind": kind})
        looks = []
        practising.between = looks.append
        done = [practising.step(step) for step in range(2)]
        lines = [group.to_json(step) for step, one in enumerate(done) for group in one.everything]
        seen[chunk] = lines, ledger.dump(), [one.metrics for one in done], len(engine.asked)
        assert len(looks) == len(engine.asked) and looks[0] is False
        assert all(samples * len(names) <= chunk for names, samples, _ in engine.asked)
    assert seen[12][:3] == seen[10_000][:3] and seen[12][3] > seen[10_000][3]


def test_a_stop_within_a_long_probe_ends_the_step_before_anything_is_booked(monkeypatch):
    monkeypatch.setattr(practice_module, "CHUNK", 12)
    practising, ledger, engine = practice({f"m{n}": MIXED for n in range(40)}, curriculum={"kind": "refilter"})
    before = ledger.dump()

    def stop(booked):
        if len(engine.asked) == 2:
            raise Interrupted("stopped", "")

    practising.between = stop
    with pytest.raises(Interrupted):
        practising.step(0)
    assert len(engine.asked) == 2 and ledger.dump() == before


def test_what_the_grader_calls_cut_off_is_treated_as_the_engines():
    thinking = Grade(0.0, CUT_OFF, None)
    for cut_off, expected in (("mask", (0.0, CUT_OFF, True)), ("zero", (0.0, None, True))):
        practising, _, _ = practice({"m": MIXED}, cut_off=cut_off)
        practising.grade = lambda prompt, text: thinking
        member = practising._member(practising.prompts["m"], Rollout([1], [0.0], "<think>", "stop"))
        assert (member.reward, member.fault, member.cut_off) == expected


def test_plain_prompts_start_from_a_flat_prior_and_a_judges_from_its_own(tmp_path):
    prompts = [Prompt(n, [{"role": "user", "content": n}], "a", "exact", "words", "s", None, {}) for n in "ab"]
    (tmp_path / "held_out.parquet").touch()
    ledger = open_ledger(prompts, tmp_path, tmp_path / "mine.sqlite", fresh=True)
    assert [(row.id, row.prior.a, row.prior.b, row.state) for row in ledger.rows()] == [
        ("a", 1, 1, "active"), ("b", 1, 1, "active")
    ]  # fmt: skip
    judged = tmp_path / "filter"
    judged.mkdir()
    with pytest.raises(RunFailed, match="there is no ledger at"):
        open_ledger(prompts, judged, tmp_path / "mine.sqlite", fresh=True)
    with Ledger(judged / "ledger.sqlite") as theirs:
        theirs.add([Entry("a", "words", "s", Beta(1.5, 0.5))])
    assert open_ledger(prompts, judged, tmp_path / "mine.sqlite", fresh=True).row("a").prior == Beta(1.5, 0.5)

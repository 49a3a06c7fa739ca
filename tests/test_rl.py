"""RL without an engine: groups and advantages, practice on a scripted engine, what a killed stage goes on from."""

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput, RunFailed
from common.files import append_json_line, read_json_lines, write_json
from common.stage import StageContext
from curriculum.config import CurriculumConfig
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.rows import Entry
from prompts.schema import Prompt
from rewards.grade import Grade
from rollouts.engine import Rollout
from stages.resume import MARKER, CompleteCheckpoints, latest, resume_folder, step_of, take_back
from stages.rl.config import RlStage
from stages.rl.groups import CUT_OFF, Group, Member
from stages.rl.practice import EMPTY_STEPS, Practice

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
    assert [a for a in faulty.advantages() if a] == plain.advantages()
    assert faulty.advantages()[0] == faulty.advantages()[3] == 0.0
    assert faulty.faults == {"timeout": 1, CUT_OFF: 1}
    assert (faulty.tokens, faulty.longest) == (17, 12)


def test_faults_make_no_group_mixed():
    assert not group_of(member(1.0), member(0.0, CUT_OFF), member(1.0)).mixed
    assert not group_of(member(0.0, CUT_OFF), member(0.0, "timeout")).mixed
    assert not group_of(member(0.0), member(0.0)).mixed


def test_a_line_of_groups_holds_what_dpo_reads():
    line = group_of(member(1.0), member(0.0, CUT_OFF)).to_json(step=4)
    assert json.loads(json.dumps(line)) == line
    assert (line["step"], line["prompt_id"], line["probe"]) == (4, "p", False)
    assert line["members"][1] == {"token_ids": [5, 5], "text": "x", "finish": "stop", "reward": 0.0, "fault": CUT_OFF}


class ScriptedEngine:
    """Rolls out what the script says for a prompt; repeats the script to fill a group."""

    max_model_len = 512

    def __init__(self, script):
        self.script, self.asked = script, []

    def encode(self, messages):
        return [ord(c) for c in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds):
        names = ["".join(map(chr, prompt)) for prompt in prompts]
        self.asked.append((names, samples, list(seeds)))
        return [[self._rollout(self.script[name], i) for i in range(samples)] for name in names]

    def _rollout(self, words, place):
        word = words[place % len(words)]
        return Rollout([7, 8], [-1.0, -2.0], word, "length" if word == CUT else "stop")


def graded(prompt, text):
    return Grade(0.0, "verifier_crash", None) if text == CRASH else Grade(float(text == RIGHT), None, text)


def practice(script, prior=None, **settings):
    """Practice on a scripted engine, its ledger and its engine."""
    curriculum = CurriculumConfig(**settings.pop("curriculum", {}))
    values = {"id": "rl", "kind": "rl", "from": "sft", "on": "filter", "steps": 9, "learning_rate": 1e-4}
    config = RlStage(**{**values, "group_size": 4, "prompts_per_step": 2, **settings}, curriculum=curriculum)
    prompts = {n: Prompt(n, [{"role": "user", "content": n}], "a", "exact", "words", "s", None, {}) for n in script}
    ledger, engine = Ledger(None), ScriptedEngine(script)
    ledger.add(Entry(name, "words", "s", prior or Beta(1.0, 1.0)) for name in script)
    return Practice(config, prompts, ledger, engine, graded, seed=1), ledger, engine


MIXED, SOLVED, HOPELESS = [RIGHT, WRONG], [RIGHT], [WRONG]


def test_a_prompt_without_room_is_refused_by_name_before_anything_is_sampled():
    with pytest.raises(BadInput, match=r"endless.* \(504 tokens\)"):
        practice({"endless" * 72: MIXED}, max_tokens=9)
    practice({"endless" * 71: MIXED}, max_tokens=9)


def test_groups_without_a_spread_are_booked_and_replaced():
    script = {f"s{i}": SOLVED for i in range(6)} | {f"m{i}": MIXED for i in range(6)}
    practising, ledger, engine = practice(script, curriculum={"max_rounds": 12})
    chosen, everything, tally = practising.step(0)
    assert len(chosen) == 2 and all(group.mixed for group in chosen)
    ids = [group.prompt_id for group in everything]
    assert len(set(ids)) == len(ids) == tally.groups
    assert len(engine.asked[0][0]) == 2
    booked = {row.id: row for row in ledger.rows() if row.drawn}
    assert set(booked) == set(ids)
    for group in everything:
        row = booked[group.prompt_id]
        assert (row.passes, row.fails, row.seen_version) == ((4, 0, 0) if row.id.startswith("s") else (2, 2, 0))
    assert (tally.rollouts, tally.tokens, tally.mixed) == (4 * len(ids), 8 * len(ids), 2)


def test_a_step_asks_only_for_what_is_missing():
    script = {f"s{i}": SOLVED for i in range(20)} | {"m": MIXED}
    practising, _, engine = practice(script, prompts_per_step=3, curriculum={"max_rounds": 7})
    chosen, _, tally = practising.step(0)
    missing, sizes = 3, []
    for names, samples, _ in engine.asked:
        sizes.append(len(names))
        assert len(names) == missing and samples == 4
        missing -= sum(name == "m" for name in names)
    assert len(sizes) == tally.rounds == 7 and len(chosen) == 3 - missing


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_step_ends_after_its_rounds(rounds):
    practising, _, engine = practice({f"s{i}": SOLVED for i in range(40)}, curriculum={"max_rounds": rounds})
    chosen, everything, tally = practising.step(0)
    assert chosen == [] and len(engine.asked) == rounds == tally.rounds and len(everything) == 2 * rounds


def test_a_small_pool_ends_a_step_early():
    practising, _, engine = practice({"s1": SOLVED, "s2": SOLVED, "s3": SOLVED}, curriculum={"max_rounds": 5})
    assert len(practising.step(0)[1]) == 3 and len(engine.asked) == 2


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
    chosen, everything, tally = practising.step(0)
    row = ledger.row("a")
    assert (row.passes, row.fails) == evidence and bool(chosen) == mixed
    assert row.faults == ({} if mixed else {CUT_OFF: 4}) and tally.faults == row.faults
    assert {member.fault for member in everything[0].members} == ({None} if mixed else {None, CUT_OFF})


def test_a_verifiers_crash_is_no_evidence():
    practising, ledger, _ = practice({"a": [RIGHT, CRASH, WRONG, CRASH]}, prompts_per_step=1)
    chosen, _, tally = practising.step(0)
    row = ledger.row("a")
    assert (row.passes, row.fails, row.faults) == (1, 1, {"verifier_crash": 2})
    assert len(chosen) == 1 and tally.passes == 1


def test_the_policy_refilters_the_pool_every_so_often():
    script = {f"s{i}": SOLVED for i in range(4)} | {f"m{i}": MIXED for i in range(4)}
    settings = {"refilter_every": 2, "probes": 8, "probe_attempts": 6, "max_rounds": 4}
    practising, ledger, engine = practice(script, curriculum=settings)
    probed, states = {}, {}
    for step in range(7):
        before = len(engine.asked)
        _, everything, tally = practising.step(step)
        probes = [group for group in everything if group.probe]
        probed[step] = len(probes)
        assert tally.probed == len(probes) and all(len(group.members) == 6 for group in probes)
        assert not probes or engine.asked[before][1] == 6
        states[step] = ledger.counts()["retired"]
    assert [step for step, count in probed.items() if count] == [2, 4, 6]
    assert states[1] == 0 and {row.id[0] for row in ledger.rows() if row.resting} == {"s"}


def test_probes_are_never_trained_on():
    practising, _, _ = practice({f"m{i}": MIXED for i in range(6)}, curriculum={"refilter_every": 1})
    chosen, everything, _ = practising.step(1)
    assert any(group.probe and group.mixed for group in everything) and not any(group.probe for group in chosen)


@pytest.mark.parametrize(("script", "words"), [(SOLVED, "20 look solved and 0"), (HOPELESS, "0 look solved and 20")])
def test_a_run_that_finds_nothing_to_learn_from_stops_and_says_why(script, words):
    practising, _, _ = practice(
        {f"p{i}": script for i in range(20)}, curriculum={"max_rounds": 20, "retire_above": 0.99}
    )
    for step in range(EMPTY_STEPS - 1):
        assert practising.step(step)[0] == []
    with pytest.raises(RunFailed, match=words) as caught:
        practising.step(EMPTY_STEPS - 1)
    assert "medium difficulty" in caught.value.remedy


def test_one_good_step_ends_a_bad_stretch():
    script = {f"p{i}": SOLVED for i in range(20)}
    practising, _, engine = practice(script)
    for step in range(3 * EMPTY_STEPS):
        engine.script = dict.fromkeys(script, MIXED if step % EMPTY_STEPS == EMPTY_STEPS - 1 else SOLVED)
        practising.step(step)


@pytest.fixture
def context(tmp_path):
    return StageContext(tmp_path, 0, lambda *_, **__: None, lambda: False, 1)


def checkpoint(context, step):
    """A complete checkpoint, as the trainer and the callback leave it."""
    folder = resume_folder(context) / f"checkpoint-{step}"
    (folder / "below").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "below" / "rng.pth").write_bytes(b"rng")
    state = type("State", (), {"global_step": step})()
    CompleteCheckpoints(context, lambda f: (f / "ledger.sqlite").write_bytes(b"rows")).on_save(None, state, None)
    return folder


def test_a_stage_goes_on_from_its_newest_complete_checkpoint(context):
    assert latest(context) is None and step_of(None) == 0
    newest = [checkpoint(context, step) for step in (8, 100, 20)][1]
    assert latest(context) == newest and step_of(newest) == 100
    assert set(json.loads((newest / MARKER).read_text())) == {"model.safetensors", "below/rng.pth", "ledger.sqlite"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MARKER).unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weigh"),
        lambda folder: (folder / "below" / "rng.pth").unlink(),
        lambda folder: (folder / "more").write_bytes(b""),
    ],
    ids=["no marker", "shorter", "missing", "more"],
)
def test_an_incomplete_checkpoint_is_deleted(context, damage):
    whole, broken = checkpoint(context, 4), checkpoint(context, 6)
    damage(broken)
    assert latest(context) == whole
    assert not broken.exists() and whole.exists()


def test_lines_after_the_checkpoint_are_taken_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3, 3, 4):
        append_json_line(path, {"step": step, "word": "é"})
    with path.open("a") as handle:
        handle.write('{"step": 2, "wo')
    take_back(path, 3)
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3, 3]
    assert path.read_text().endswith('"é"}\n')
    take_back(path, 0)
    assert path.read_text() == ""


def test_a_stop_saves_once_and_not_at_the_end(context, tmp_path):
    asked = StageContext(tmp_path, 0, context.progress, lambda: True, 1)
    for step, stopped in ((3, True), (9, False)):
        callback, control = CompleteCheckpoints(asked), type("Control", (), {})()
        callback.on_step_end(None, type("State", (), {"global_step": step, "max_steps": 9})(), control)
        assert callback.stopped == stopped == hasattr(control, "should_training_stop")
    write_json(tmp_path / "unrelated.json", {})
    assert latest(asked) is None

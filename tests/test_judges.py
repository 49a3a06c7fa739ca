"""The judge: attempts of an engine, resuming, and the cut."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scripted_judge import JUDGE, PROMPTS, Rollout, ScriptedEngine, ask, grade, prompt

from common.errors import BadInput, Interrupted, RunFailed
from common.files import read_json_lines
from judges.config import AttemptsJudge
from judges.cut import cut_easiest, drop_counts
from judges.engine import EngineSource
from judges.verdict import Attempt, Verdict
from rewards.grade import Grade


def test_config_names_one_origin_and_survives_json():
    for given_ in ({}, {"model": "m", "url": "http://x"}, {"url": "http://x"}, {"model": "m", "model_name": "n"}):
        with pytest.raises(ValidationError):
            AttemptsJudge(kind="attempts", **given_)
    with pytest.raises(ValidationError, match="rollouts only apply to model"):
        AttemptsJudge(kind="attempts", url="http://x", model_name="n", rollouts={"max_model_len": 99})
    assert AttemptsJudge.model_validate_json(JUDGE.model_dump_json()) == JUDGE


def test_verdicts_do_not_depend_on_chunks_or_order(tmp_path):
    whole = ask(tmp_path / "a", chunk=100)
    assert ask(tmp_path / "b", chunk=3) == whole
    assert sorted(ask(tmp_path / "c", PROMPTS[::-1]), key=lambda verdict: verdict.id) == whole
    assert len({tuple(attempt.text for attempt in verdict.attempts) for verdict in whole}) > 3
    assert [Verdict.from_json(value) for value in read_json_lines(tmp_path / "b")] == whole


def test_a_killed_run_asks_only_for_what_is_missing(tmp_path):
    path, whole = tmp_path / "verdicts.jsonl", ask(tmp_path / "whole")
    polls = iter([False, False, True])
    with pytest.raises(Interrupted):
        ask(path, stop=lambda: next(polls))
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 8
    path.write_text("".join(lines[:6]) + lines[6][:40])
    engine = ScriptedEngine()
    assert ask(path, source=EngineSource(engine, JUDGE)) == whole
    assert engine.asked == ["say p6", "say p7", "say p8", "say p9"]
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_crashed_verifier_is_a_fault_and_a_cut_off_attempt_is_graded(tmp_path):
    class CutOff(ScriptedEngine):
        def generate(self, prompts, **settings):
            return [[Rollout([1, 2], text, "length") for text in ("7", "crash", "")] for _ in prompts]

    def crashing(prompt, completion):
        return Grade(0.0, "verifier_crash", None) if completion == "crash" else grade(prompt, completion)

    verdict = ask(tmp_path / "v", PROMPTS[:1], EngineSource(CutOff(), JUDGE), crashing)[0]
    assert (verdict.passed, verdict.graded, verdict.faults) == (1, 2, {"verifier_crash": 1})
    assert (verdict.cut_off, verdict.unreadable, verdict.pass_rate) == (3, 1, 0.5)
    assert verdict.attempts[1].reward is None


def test_a_prompt_without_room_is_a_fault_and_likelihoods_are_means(tmp_path):
    long, wordy = prompt("x" * 21), prompt("wordy", answer="7" * 30)
    verdicts = {v.id[:5]: v for v in ask(tmp_path / "v", [long, wordy, prompt("fits", answer="77")])}
    assert verdicts["xxxxx"].faults == {"too_long": 4} and verdicts["xxxxx"].pass_rate is None
    assert verdicts["wordy"].graded == 4
    assert (verdicts["wordy"].reference_logprob, verdicts["wordy"].reference_note) == (None, "too_long")
    assert verdicts["fits"].reference_logprob == -len("say fits")


def test_nothing_graded_ends_the_run(tmp_path):
    with pytest.raises(RunFailed, match="verifier_crash 40 times"):
        ask(tmp_path / "v", grade=lambda *_: Grade(0.0, "verifier_crash", None))


def verdict(id, passed, graded=4, logprob=None):
    attempts = [Attempt("t", "stop", 1, 1.0, n < passed, "t", None) for n in range(graded)]
    faults = [Attempt("", "none", 0, None, False, None, "timeout")] * (4 - graded)
    return Verdict(id, attempts + faults, logprob, None)


pools = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 4), st.none() | st.floats(-9, 0)),
    min_size=1,
    max_size=40,
).map(
    lambda items: (
        [
            verdict(f"p{n}", min(passed, graded), graded, logprob)
            for n, (_, passed, graded, logprob) in enumerate(items)
        ],
        {f"p{n}": item[0] for n, item in enumerate(items)},
    )
)


@settings(max_examples=200, deadline=None)
@given(pools, st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_cut_is_exact_spares_every_capability_and_is_blind_to_order(pool, percent, shuffler):
    verdicts, capabilities = pool
    judged = [v for v in verdicts if v.graded]
    try:
        kept, out = cut_easiest(verdicts, capabilities, percent / 100, 3)
    except RunFailed:
        assert {capabilities[v.id] for v in judged} < set(capabilities.values())
        return
    except BadInput:
        assert (percent * len(judged) + 50) // 100 > len(judged) - len(set(capabilities.values()))
        return
    assert sum(d.decision == "dropped" for d in out) == (percent * len(judged) + 50) // 100
    assert {d.id for d in out if d.decision == "unjudged"} == {v.id for v in verdicts if not v.graded}
    assert sorted(d.id for d in [*kept, *out]) == sorted(capabilities)
    assert {d.capability for d in kept} == set(capabilities.values())
    assert cut_easiest(shuffler.sample(verdicts, len(verdicts)), capabilities, percent / 100, 3) == (kept, out)


@settings(max_examples=200, deadline=None)
@given(pools, st.floats(0, 0.7))
def test_a_dropped_prompt_is_never_harder_than_a_kept_one(pool, share):
    verdicts, capabilities = pool
    try:
        kept, out = cut_easiest(verdicts, capabilities, share, 3)
    except (RunFailed, BadInput):
        return
    for dropped in (d for d in out if d.decision == "dropped"):
        for other in (d for d in kept if d.capability == dropped.capability):
            assert dropped.pass_rate >= other.pass_rate and dropped.rank < other.rank
            if dropped.pass_rate == other.pass_rate and dropped.reference_logprob is not None:
                assert other.reference_logprob is None or dropped.reference_logprob >= other.reference_logprob


def test_all_failing_prompts_rank_by_likelihood_and_then_by_seed():
    verdicts = [verdict("a", 0, logprob=-3.0), verdict("b", 0, logprob=-1.0), verdict("c", 0, logprob=-2.0)]
    kept, out = cut_easiest(verdicts, dict.fromkeys("abc", "x"), 0.34, 0)
    assert [d.id for d in out] == ["b"] and [d.id for d in kept] == ["c", "a"]
    blind = [verdict(name, 4) for name in "abcdef"]
    dropped = {cut_easiest(blind, dict.fromkeys("abcdef", "x"), 0.2, seed)[1][0].id for seed in range(60)}
    assert dropped == set("abcdef")


def test_the_share_is_rounded_as_it_is_written():
    assert sum(drop_counts({"a": 60, "b": 40}, 0.145).values()) == 15
    assert drop_counts({"a": 60, "b": 40}, 0.5) == {"a": 30, "b": 20}
    with pytest.raises(BadInput, match=r"drop_easiest 0\.9 drops 4 of 4"):
        drop_counts({"a": 2, "b": 2}, 0.9)


def test_a_capability_that_nobody_could_judge_ends_the_run():
    verdicts = [verdict("a", 2), replace(verdict("b", 0, graded=0))]
    with pytest.raises(RunFailed, match="no prompt of capability 'y' could be judged: timeout"):
        cut_easiest(verdicts, {"a": "x", "b": "y"}, 0.0, 0)

"""Judges: their config, what is asked and cached, and what a stop or a kill leaves."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from builders.scripted_judge import (
    JUDGE,
    PROMPTS,
    ScriptedEngine,
    ask,
    judge_session,
)
from common.errors import Interrupted, RunFailed
from common.reply_cache import ReplyCache
from judges.ask import likelihoods
from judges.config import AttemptsJudge, JudgeConfig, PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from rollouts.config import RolloutConfig


def test_a_config_names_one_origin_and_round_trips_through_json():
    for origin in (
        {},
        {"model": "m", "url": "http://x"},
        {"url": "http://x"},
        {"model": "m", "model_name": "n"},
    ):
        with pytest.raises(ValidationError):
            AttemptsJudge.model_validate({"kind": "attempts", **origin})
    with pytest.raises(ValidationError, match="rollouts only apply to model"):
        AttemptsJudge(
            kind="attempts",
            url="http://x",
            model_name="n",
            rollouts=RolloutConfig(max_model_len=99),
        )
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        AttemptsJudge(kind="attempts", model="m", attempts=0)
    kinds = (
        JUDGE,
        RubricJudge(kind="rubric", model="m"),
        PairwiseJudge(kind="pairwise", model="m"),
    )
    for config in kinds:
        assert TypeAdapter(JudgeConfig).validate_json(config.model_dump_json()) == config


def test_verdicts_do_not_depend_on_chunks_or_order(tmp_path):
    whole = ask(tmp_path / "a", chunk=100).verdicts
    assert ask(tmp_path / "b", chunk=3).verdicts == whole
    assert (
        sorted(ask(tmp_path / "c", PROMPTS[::-1]).verdicts, key=lambda verdict: verdict.id) == whole
    )
    assert len({tuple(reply.text for reply in verdict.replies) for verdict in whole}) > 3


def test_examples_come_before_the_prompts_of_their_capability_and_are_part_of_the_key(tmp_path):
    examples = {"examples": {"saying": [{"question": "say one", "answer": "one"}]}}
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | examples)
    system, user = {"role": "system", "content": "s"}, {"role": "user", "content": "say two"}
    turns = [{"role": "user", "content": "say one"}, {"role": "assistant", "content": "one"}]
    assert config.shown("saying", [system, user]) == [system, *turns, user]
    assert config.shown("saying", [user]) == [*turns, user]
    assert config.shown("singing", [system, user]) == [system, user]
    engine, cache = ScriptedEngine(), ReplyCache(None)
    ask(tmp_path / "a", cache=cache)
    assert ask(
        tmp_path / "b", PROMPTS, EngineBackend(engine), cache=cache, config=config
    ).asked == len(PROMPTS)


def test_a_second_run_asks_only_about_new_prompts(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    with ReplyCache(path) as cache:
        first = ask(tmp_path / "a", PROMPTS[:8], cache=cache)
    with ReplyCache(path) as cache:
        engine = ScriptedEngine()
        again = ask(tmp_path / "b", PROMPTS, EngineBackend(engine), cache=cache)
    assert engine.asked == ["say p8", "say p9"]
    assert again.verdicts[:8] == first.verdicts
    assert (first.asked, first.known, again.asked, again.known) == (8, 0, 2, 8)
    assert again.tokens < first.tokens


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.5},
        {"attempts": 3},
        {"seed": 1},
        {"max_tokens": 9},
        {"rollouts": {"dtype": "bfloat16"}},
    ],
)
def test_another_setting_or_judge_asks_again(tmp_path, other):
    cache = ReplyCache(None)
    ask(tmp_path / "a", cache=cache)
    changed = AttemptsJudge.model_validate(JUDGE.model_dump() | other)
    assert ask(tmp_path / "b", cache=cache, config=changed).asked == len(PROMPTS)
    assert ask(tmp_path / "c", cache=cache, identity="another").asked == len(PROMPTS)
    renamed = AttemptsJudge.model_validate(JUDGE.model_dump() | {"model": "elsewhere"})
    assert ask(tmp_path / "d", cache=cache, config=renamed).asked == 0


def test_a_killed_run_continues_and_counts_like_an_uninterrupted_one(tmp_path):
    cache, whole = ReplyCache(None), ask(tmp_path / "whole")
    polls = iter([False, False, True])
    with pytest.raises(Interrupted):
        ask(tmp_path / "v", cache=cache, stop_requested=lambda: next(polls))
    engine = ScriptedEngine()
    assert ask(tmp_path / "v", backend=EngineBackend(engine), cache=cache) == whole
    assert engine.asked == ["say p8", "say p9"]


def test_a_damaged_cache_is_refused_by_name(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    with ReplyCache(path) as cache:
        cache.put({"k": {"replies": [{"text": "seven", "fault": None}]}})
    path.write_bytes(path.read_bytes().replace(b"seven", b"eight"))
    with ReplyCache(path) as cache, pytest.raises(RunFailed, match="the entry k is damaged"):
        cache.get(["k"])
    path.write_bytes(b"no database at all, but long enough to be looked at")
    with pytest.raises(RunFailed, match="cannot be used"):
        ReplyCache(path)


def test_a_judge_is_identified_by_its_files_which_are_read_once(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"one")
    monkeypatch.setattr("common.checksums.SETTLED_NS", 0)
    cache = ReplyCache(None)
    before = cache.folder_sum(tmp_path)
    monkeypatch.setattr("common.reply_cache.checksum", lambda path: pytest.fail("read again"))
    assert cache.folder_sum(tmp_path) == before
    monkeypatch.undo()
    (tmp_path / "weights").write_bytes(b"other")
    assert cache.folder_sum(tmp_path) != before


def test_another_verifier_asks_again(tmp_path):
    cache = ReplyCache(None)
    ask(tmp_path / "a", cache=cache)
    numbers = [replace(one, verifier="number") for one in PROMPTS]
    assert ask(tmp_path / "b", numbers, cache=cache).asked == len(PROMPTS)


def test_likelihoods_are_those_of_one_judge(tmp_path):
    cache, backend = ReplyCache(None), EngineBackend(ScriptedEngine())
    likelihoods(PROMPTS, backend, JUDGE.origin(), judge_session(tmp_path / "a", cache=cache))
    asked = []

    class Counting(EngineBackend):
        def likelihoods(self, prompts):
            asked.extend(prompts)
            return super().likelihoods(prompts)

    other = AttemptsJudge.model_validate(JUDGE.model_dump() | {"rollouts": {"max_model_len": 99}})
    for config, count in ((JUDGE, 0), (other, len(PROMPTS))):
        likelihoods(
            PROMPTS,
            Counting(ScriptedEngine()),
            config.origin(),
            judge_session(tmp_path / f"{count}", cache=cache),
        )
        assert len(asked) == count


def test_a_question_reworded_between_kill_and_resume_is_asked_again(tmp_path, monkeypatch):
    cache, polls = ReplyCache(None), iter([False, True])
    with pytest.raises(Interrupted):
        ask(tmp_path / "v", cache=cache, stop_requested=lambda: next(polls))
    monkeypatch.setattr("judges.ask.texts_checksum", lambda: "other words")
    again = ask(tmp_path / "v", cache=cache)
    assert (again.asked, again.known) == (10, 0)

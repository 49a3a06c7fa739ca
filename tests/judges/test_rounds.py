"""Attempts in rounds: an attempt is the same in every division, and a killed filter goes on."""

from functools import partial

import pytest

from builders.given_grades import GivenGrades
from builders.scripted_judge import (
    JUDGE,
    PROMPTS,
    ScriptedEngine,
    ask,
    grade,
    judge_session,
    rollout,
)
from common.errors import Interrupted, RunFailed
from common.reply_cache import ReplyCache
from judges.attempts import Attempts
from judges.backend import Completion
from judges.config import AttemptsJudge
from judges.engine import EngineBackend
from judges.rounds import judge_in_rounds

EIGHT = AttemptsJudge.model_validate(JUDGE.model_dump() | {"attempts": 8, "retries": 0})
ROUNDS = [range(0, 5), range(5, 6), range(6, 7), range(7, 8)]


class SeededEngine(ScriptedEngine):
    """Answers by prompt and by the seed of each sample, as vLLM seeds the samples of a request."""

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self.asked += [bytes(ids).decode() for ids in prompts]
        return [
            [rollout("7" if (seed + n) % 3 else f"no {(seed + n) % 100}") for n in range(samples)]
            for seed in seeds
        ]


def everyone(verdicts):
    return {verdict.id for verdict in verdicts}


def only(*ids):
    return lambda verdicts: set(ids)


def in_rounds(folder, undecided, config=EIGHT, backend=None, **session):
    folder.mkdir(exist_ok=True)
    judge = Attempts(config, backend or EngineBackend(SeededEngine()), GivenGrades(grade))
    return judge_in_rounds(PROMPTS, judge, judge_session(folder, **session), undecided)


def test_attempts_are_the_same_in_rounds_at_once_and_where_others_stopped(tmp_path):
    whole = ask(tmp_path, backend=EngineBackend(SeededEngine()), config=EIGHT)
    assert in_rounds(tmp_path / "all", everyone).verdicts == whole.verdicts
    some = in_rounds(tmp_path / "some", only("p3", "p7"))
    for verdict, full in zip(some.verdicts, whole.verdicts, strict=True):
        made = 8 if verdict.id in ("p3", "p7") else 5
        assert verdict.replies == full.replies[:made] and verdict.left == 8 - made
    assert some.verdicts[3] == whole.verdicts[3]
    assert (some.asked, some.known) == (10 + 3 * 2, 0)
    assert some.tokens == sum(reply.tokens for one in some.verdicts for reply in one.replies)


def test_a_prompt_that_was_decided_is_not_asked_again(tmp_path):
    still_open = iter([{"p1", "p2"}, {"p1"}, {one.id for one in PROMPTS}, set()])
    engine = SeededEngine()
    result = in_rounds(tmp_path, lambda verdicts: next(still_open), backend=EngineBackend(engine))
    assert engine.asked[10:] == ["say p1", "say p2", "say p1", "say p1"]
    assert [one.left for one in result.verdicts[:4]] == [3, 0, 2, 3]


def test_a_killed_filter_goes_on_and_counts_like_an_uninterrupted_one(tmp_path):
    undecided = only("p1", "p5", "p9")
    whole = in_rounds(tmp_path / "whole", undecided)
    for stop in range(1, 6):
        folder, cache, polls = tmp_path / str(stop), ReplyCache(None), iter([False] * stop + [True])
        run = partial(in_rounds, folder, undecided, cache=cache)
        with pytest.raises(Interrupted):
            run(stop_requested=lambda polls=polls: next(polls))
        assert run() == whole
    again = in_rounds(tmp_path / "again", undecided, cache=cache)
    assert (again.asked, again.known, again.verdicts) == (0, 19, whole.verdicts)


class Losing:
    """A backend that loses every question about the prompts with these ids in transport."""

    def __init__(self, *ids):
        self._ids = [f"say {id}" for id in ids]

    def sample(self, requests):
        lost = Completion("", "none", fault="endpoint_error")
        return [
            [lost if one.messages[-1]["content"] in self._ids else Completion("7", "stop", 1)]
            * one.samples
            for one in requests
        ]


def test_prompts_that_need_no_answer_count_as_answered_by_a_reachable_judge(tmp_path):
    lost = in_rounds(tmp_path / "a", only("p1", "p2", "p3"), backend=Losing("p1", "p2"), chunk=9)
    assert [one.ease is None for one in lost.verdicts[:4]] == [False, True, True, False]
    with pytest.raises(RunFailed, match="gave no answer to 3 of 9 questions"):
        in_rounds(tmp_path / "b", everyone, backend=Losing("p1", "p2", "p3"), chunk=9)


def test_without_any_verdict_the_filter_ends(tmp_path):
    with pytest.raises(RunFailed, match="not one of 10 prompts could be judged: cut_off 80 times"):
        in_rounds(tmp_path, everyone, backend=CutOff())


class CutOff:
    def sample(self, requests):
        return [[Completion("7", "length", 8)] * one.samples for one in requests]

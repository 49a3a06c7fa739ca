"""Judges that try: what they ask, what counts, what is kept, what a stop and a kill leave."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from builders.scripted_judge import (
    JUDGE,
    PROMPTS,
    ScriptedEngine,
    ask,
    grade,
    judge_session,
    prompt,
)
from common.errors import Interrupted, RunFailed
from judges.ask import _require_some, likelihoods
from judges.attempts import beta_interval, ease_of
from judges.backend import Choice, Completion
from judges.cache import Cache
from judges.config import AttemptsJudge, JudgeConfig, PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from judges.verdict import Reply, Verdict
from rewards.grade import Grade


def test_config_names_one_origin_and_survives_json():
    for given_ in (
        {},
        {"model": "m", "url": "http://x"},
        {"url": "http://x"},
        {"model": "m", "model_name": "n"},
    ):
        with pytest.raises(ValidationError):
            AttemptsJudge(kind="attempts", **given_)
    with pytest.raises(ValidationError, match="rollouts only apply to model"):
        AttemptsJudge(
            kind="attempts", url="http://x", model_name="n", rollouts={"max_model_len": 99}
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
    told = {"examples": {"saying": [{"question": "say one", "answer": "one"}]}}
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | told)
    system, user = {"role": "system", "content": "s"}, {"role": "user", "content": "say two"}
    turns = [{"role": "user", "content": "say one"}, {"role": "assistant", "content": "one"}]
    assert config.shown("saying", [system, user]) == [system, *turns, user]
    assert config.shown("saying", [user]) == [*turns, user]
    assert config.shown("singing", [system, user]) == [system, user]
    engine, cache = ScriptedEngine(), Cache(None)
    ask(tmp_path / "a", cache=cache)
    assert ask(
        tmp_path / "b", PROMPTS, EngineBackend(engine), cache=cache, config=config
    ).asked == len(PROMPTS)


def test_a_second_run_asks_nothing_and_new_prompts_alone_are_asked(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    with Cache(path) as cache:
        first = ask(tmp_path / "a", PROMPTS[:8], cache=cache)
    with Cache(path) as cache:
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
def test_another_setting_or_judge_asks_anew(tmp_path, other):
    cache = Cache(None)
    ask(tmp_path / "a", cache=cache)
    changed = AttemptsJudge.model_validate(JUDGE.model_dump() | other)
    assert ask(tmp_path / "b", cache=cache, config=changed).asked == len(PROMPTS)
    assert ask(tmp_path / "c", cache=cache, identity="another").asked == len(PROMPTS)
    renamed = AttemptsJudge.model_validate(JUDGE.model_dump() | {"model": "elsewhere"})
    assert ask(tmp_path / "d", cache=cache, config=renamed).asked == 0


def test_a_killed_run_goes_on_and_counts_as_a_whole_one(tmp_path):
    cache, whole = Cache(None), ask(tmp_path / "whole")
    polls = iter([False, False, True])
    with pytest.raises(Interrupted):
        ask(tmp_path / "v", cache=cache, stop_requested=lambda: next(polls))
    engine = ScriptedEngine()
    assert ask(tmp_path / "v", source=EngineBackend(engine), cache=cache) == whole
    assert engine.asked == ["say p8", "say p9"]


def test_a_damaged_cache_is_named_and_not_believed(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    with Cache(path) as cache:
        cache.put({"k": {"replies": [{"text": "seven", "fault": None}]}})
    path.write_bytes(path.read_bytes().replace(b"seven", b"eight"))
    with Cache(path) as cache, pytest.raises(RunFailed, match="the entry k is damaged"):
        cache.get(["k"])
    path.write_bytes(b"no database at all, but long enough to be looked at")
    with pytest.raises(RunFailed, match="cannot be used"):
        Cache(path)


def test_a_judge_is_its_files_and_they_are_read_once(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"one")
    monkeypatch.setattr("common.checksums.SETTLED_NS", 0)
    cache = Cache(None)
    before = cache.folder_sum(tmp_path)
    monkeypatch.setattr("judges.cache.checksum", lambda path: pytest.fail("read again"))
    assert cache.folder_sum(tmp_path) == before
    monkeypatch.undo()
    (tmp_path / "weights").write_bytes(b"other")
    assert cache.folder_sum(tmp_path) != before


class Says:
    """A source with given completions: those of the first asking, then those of the next."""

    def __init__(self, *rounds):
        self.rounds, self.requests = list(rounds), []

    def sample(self, requests):
        self.requests += requests
        texts = self.rounds.pop(0)
        return [[Completion(*text) for text in texts[: request.samples]] for request in requests]

    def choose(self, questions):
        return [Choice({"yes": 0.9, "no": 0.1}, "yes", 1) for _ in questions]


def strict_grade(prompt, text):
    return Grade(0.0, "verifier_crash", None) if text == "crash" else grade(prompt, text)


def test_what_is_no_answer_is_a_fault_and_asked_again_by_rule(tmp_path):
    first = [("7", "stop", 1), ("I'm sorry, no", "stop", 4), ("", "stop", 1), ("7", "length", 8)]
    source = Says(first, [("7", "stop", 1), ("no", "stop", 1), ("", "stop", 1)])
    (verdict,) = ask(tmp_path, PROMPTS[:1], source).verdicts
    assert [reply.fault for reply in verdict.replies[:4]] == [
        None,
        "refused",
        "unreadable",
        "cut_off",
    ]
    assert (verdict.passed, verdict.graded) == (2, 3)
    assert verdict.faults == {"cut_off": 1, "refused": 1, "unreadable": 2}
    one, two = source.requests
    assert (one.samples, two.samples, two.max_tokens) == (
        4,
        3,
        2 * one.max_tokens,
    ) and one.seed != two.seed


def test_a_second_try_looks_at_the_first_ones_faults_only_and_needs_room(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"retries": 2, "attempts": 2})
    cut, right, unread = ("7", "length", 8), ("7", "stop", 1), ("", "stop", 1)
    source = Says([cut, right], [unread], [("", "none", 0, "too_long")])
    (verdict, other) = ask(
        tmp_path, [PROMPTS[0], PROMPTS[1]], source, config=config, grade=fair
    ).verdicts
    assert [request.max_tokens for request in source.requests[::2]] == [8, 16, 8]
    assert verdict.faults == other.faults == {"cut_off": 1, "unreadable": 1}


def fair(prompt, text):
    return Grade(1.0, None, text)


def test_another_verifier_asks_anew(tmp_path):
    cache = Cache(None)
    ask(tmp_path / "a", cache=cache)
    numbers = [replace(one, verifier="number") for one in PROMPTS]
    assert ask(tmp_path / "b", numbers, cache=cache).asked == len(PROMPTS)


def test_likelihoods_are_those_of_one_judge(tmp_path):
    cache, source = Cache(None), EngineBackend(ScriptedEngine())
    likelihoods(PROMPTS, source, JUDGE.origin(), judge_session(tmp_path / "a", cache=cache))
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


def test_a_question_reworded_between_kill_and_resume_is_asked_anew(tmp_path, monkeypatch):
    cache, polls = Cache(None), iter([False, True])
    with pytest.raises(Interrupted):
        ask(tmp_path / "v", cache=cache, stop_requested=lambda: next(polls))
    monkeypatch.setattr("judges.ask.texts_checksum", lambda: "other words")
    again = ask(tmp_path / "v", cache=cache)
    assert (again.asked, again.known) == (10, 0)


def test_a_crashed_verifier_is_a_fault_and_not_asked_again(tmp_path):
    source = Says([("7", "stop", 1), ("crash", "stop", 1), ("no", "stop", 1), ("no", "stop", 1)])
    (verdict,) = ask(tmp_path, PROMPTS[:1], source, strict_grade).verdicts
    assert (verdict.passed, verdict.graded, verdict.faults) == (1, 3, {"verifier_crash": 1})
    assert verdict.ease == pytest.approx(
        7 / 18
    )  # as if the fourth had gone like the three: (4/3 + 1) / (4 + 2)
    assert verdict.low < verdict.ease < verdict.high


def test_the_judge_itself_may_grade_against_the_reference(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"graded_by": "judge"})
    source = Says([("seven", "stop", 1)] * 4)
    (verdict,) = ask(
        tmp_path, PROMPTS[:1], source, lambda *_: pytest.fail("no verifier"), config
    ).verdicts
    assert (verdict.passed, verdict.graded) == (4, 4)


def test_a_grader_that_is_lost_or_asked_about_a_refusal_makes_no_score(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"graded_by": "judge", "retries": 0})

    class Lost(Says):
        def choose(self, questions):
            return [Choice(None, "", 0, "endpoint_error") for _ in questions]

    with pytest.raises(
        RunFailed, match=r"(?m)gave no answer to 1 of 1 questions: endpoint_error 4 times$"
    ):
        ask(
            tmp_path / "a",
            PROMPTS[:1],
            Lost([("seven", "stop", 1)] * 4, [("seven", "stop", 1)] * 4),
            config=config,
        )

    class Strict(Says):
        def choose(self, questions):
            return [Choice({"yes": 0.1, "no": 0.9}, "no", 1) for _ in questions]

    texts = [
        ("I\u2019m sorry, I can\u2019t.", "stop", 5),
        ("  ", "stop", 1),
        ("six", "stop", 1),
        ("six", "stop", 1),
    ]
    (verdict,) = ask(tmp_path / "b", PROMPTS[:1], Strict(texts), config=config).verdicts
    assert (verdict.graded, verdict.passed, verdict.faults) == (
        2,
        0,
        {"refused": 1, "unreadable": 1},
    )


@given(st.integers(1, 9), st.data())
def test_missing_attempts_never_make_a_prompt_easier(asked, data):
    graded = data.draw(st.integers(1, asked))
    passed = data.draw(st.integers(0, graded))
    ease = ease_of(passed, graded, asked)
    assert 0 < ease <= (passed + 1) / (graded + 2) and ease_of(asked, asked, asked) == (
        asked + 1
    ) / (asked + 2)
    assert ease_of(0, graded, asked) == 1 / (
        asked + 2
    )  # none passed: as hard as when all had been graded
    assert graded == asked or ease_of(graded, graded, asked) < ease_of(asked, asked, asked)


def test_the_interval_of_a_pass_rate_by_hand():
    assert beta_interval(0, 0) == (pytest.approx(0.05), pytest.approx(0.95))  # Beta(1, 1)
    low, high = beta_interval(1, 0)  # Beta(2, 1): P(rate <= x) = x squared
    assert (low, high) == (pytest.approx(0.05**0.5), pytest.approx(0.95**0.5))


def test_a_prompt_without_room_is_a_fault_and_likelihoods_are_means(tmp_path):
    long, wordy = prompt("x" * 21), prompt("wordy", answer="7" * 30)
    source = EngineBackend(ScriptedEngine())
    verdicts = {v.id[:5]: v for v in ask(tmp_path, [long, prompt("fits")], source).verdicts}
    assert verdicts["xxxxx"].faults == {"too_long": 4} and verdicts["xxxxx"].ease is None
    found = likelihoods(
        [wordy, prompt("fits", answer="77")],
        source,
        JUDGE.origin(),
        judge_session(tmp_path / "ties"),
    )
    assert found == {"wordy": (None, "too_long"), "fits": (-len("say fits"), None)}


def test_nothing_graded_ends_the_run(tmp_path):
    with pytest.raises(RunFailed, match="verifier_crash 40 times"):
        ask(tmp_path, grade=lambda *_: Grade(0.0, "verifier_crash", None))


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("cut_off", "max_tokens"), ("verifier_crash", "verifier"), ("endpoint_refuses", "lengths")],
)
def test_a_judge_without_a_single_verdict_is_told_the_setting(fault, remedy):
    verdict = Verdict("p", "attempts", [Reply("", "none", 0, None, None, fault)] * 3, None)
    with pytest.raises(
        RunFailed, match=f"not one of 2 prompts could be judged: {fault} 6 times"
    ) as caught:
        _require_some([verdict, verdict])
    assert remedy in caught.value.remedy

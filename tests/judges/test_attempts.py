"""Attempts: what counts as an answer, what is retried, and the ease that follows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scripted_judge import (
    JUDGE,
    PROMPTS,
    ScriptedEngine,
    ask,
    grade,
    judge_session,
    prompt,
)
from common.errors import RunFailed
from judges.ask import likelihoods, require_some
from judges.attempts import beta_interval, ease_of
from judges.backend import Choice, Completion
from judges.config import AttemptsJudge
from judges.engine import EngineBackend
from judges.verdict import Reply, Verdict
from rewards.grader import Grade, Grader


class ScriptedBackend:
    """A backend with given completions: a list for each call of `sample`."""

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


def test_no_answer_is_a_fault_and_retried_by_its_kind(tmp_path):
    first = [("7", "stop", 1), ("I'm sorry, no", "stop", 4), ("", "stop", 1), ("7", "length", 8)]
    backend = ScriptedBackend(first, [("7", "stop", 1), ("no", "stop", 1), ("", "stop", 1)])
    (verdict,) = ask(tmp_path, PROMPTS[:1], backend).verdicts
    assert [reply.fault for reply in verdict.replies[:4]] == [
        None,
        "refused",
        "unreadable",
        "cut_off",
    ]
    assert (verdict.passed, verdict.graded) == (2, 3)
    assert verdict.faults == {"cut_off": 1, "refused": 1, "unreadable": 2}
    one, two = backend.requests
    assert (one.samples, two.samples, two.max_tokens) == (
        4,
        3,
        2 * one.max_tokens,
    ) and one.seed != two.seed


def test_a_retry_depends_on_the_latest_faults_and_needs_room(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"retries": 2, "attempts": 2})
    cut, right, unread = ("7", "length", 8), ("7", "stop", 1), ("", "stop", 1)
    backend = ScriptedBackend([cut, right], [unread], [("", "none", 0, "too_long")])
    (verdict, other) = ask(
        tmp_path, [PROMPTS[0], PROMPTS[1]], backend, config=config, grade=always_right
    ).verdicts
    assert [request.max_tokens for request in backend.requests[::2]] == [8, 16, 8]
    assert verdict.faults == other.faults == {"cut_off": 1, "unreadable": 1}


def always_right(prompt, text):
    return Grade(1.0, None, text)


def test_a_crashed_verifier_is_a_fault_and_not_asked_again(tmp_path):
    backend = ScriptedBackend(
        [("7", "stop", 1), ("crash", "stop", 1), ("no", "stop", 1), ("no", "stop", 1)]
    )
    (verdict,) = ask(tmp_path, PROMPTS[:1], backend, strict_grade).verdicts
    assert (verdict.passed, verdict.graded, verdict.faults) == (1, 3, {"verifier_crash": 1})
    # The fourth counts with the pass rate of the other three: (4/3 + 1) / (4 + 2).
    assert verdict.ease == pytest.approx(7 / 18)
    assert verdict.low < verdict.ease < verdict.high


def test_attempts_are_right_by_the_first_part_of_the_reward(tmp_path):
    parts = ({"verifier": "exact"}, {"verifier": "length", "limit": 1, "cut_off": 2})
    asked = replace(PROMPTS[0], rewards=parts)
    backend = ScriptedBackend([("7", "stop", 9), ("8", "stop", 1)] * 2)
    (verdict,) = ask(tmp_path, [asked], backend, Grader()).verdicts
    assert (verdict.passed, verdict.graded) == (2, 4)


def test_the_judge_itself_may_grade_against_the_reference(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"graded_by": "judge"})
    backend = ScriptedBackend([("seven", "stop", 1)] * 4)
    (verdict,) = ask(
        tmp_path, PROMPTS[:1], backend, lambda *_: pytest.fail("no verifier"), config
    ).verdicts
    assert (verdict.passed, verdict.graded) == (4, 4)


def test_an_unreachable_grader_or_a_refusal_gives_no_score(tmp_path):
    config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"graded_by": "judge", "retries": 0})

    class UnreachableGrader(ScriptedBackend):
        def choose(self, questions):
            return [Choice(None, "", 0, "endpoint_error") for _ in questions]

    with pytest.raises(
        RunFailed, match=r"(?m)gave no answer to 1 of 1 questions: endpoint_error 4 times$"
    ):
        ask(
            tmp_path / "a",
            PROMPTS[:1],
            UnreachableGrader([("seven", "stop", 1)] * 4, [("seven", "stop", 1)] * 4),
            config=config,
        )

    class StrictGrader(ScriptedBackend):
        def choose(self, questions):
            return [Choice({"yes": 0.1, "no": 0.9}, "no", 1) for _ in questions]

    texts = [
        ("I\u2019m sorry, I can\u2019t.", "stop", 5),
        ("  ", "stop", 1),
        ("six", "stop", 1),
        ("six", "stop", 1),
    ]
    (verdict,) = ask(tmp_path / "b", PROMPTS[:1], StrictGrader(texts), config=config).verdicts
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
    assert 0 < ease <= (passed + 1) / (graded + 2)
    assert ease_of(asked, asked, asked) == (asked + 1) / (asked + 2)
    # If none passed, the prompt is as hard as if all had been graded.
    assert ease_of(0, graded, asked) == 1 / (asked + 2)
    assert graded == asked or ease_of(graded, graded, asked) < ease_of(asked, asked, asked)


def test_the_interval_of_a_pass_rate_by_hand():
    assert beta_interval(0, 0) == pytest.approx((0.05, 0.95))  # Beta(1, 1)
    # Beta(2, 1): P(rate <= x) = x squared
    assert beta_interval(1, 0) == pytest.approx((0.05**0.5, 0.95**0.5))


def test_a_prompt_without_room_is_a_fault_and_likelihoods_are_means(tmp_path):
    long, wordy = prompt("x" * 21), prompt("wordy", answer="7" * 30)
    backend = EngineBackend(ScriptedEngine())
    verdicts = {v.id[:5]: v for v in ask(tmp_path, [long, prompt("fits")], backend).verdicts}
    assert verdicts["xxxxx"].faults == {"too_long": 4} and verdicts["xxxxx"].ease is None
    by_id = likelihoods(
        [wordy, prompt("fits", answer="77")],
        backend,
        JUDGE.origin(),
        judge_session(tmp_path / "ties"),
    )
    assert by_id == {"wordy": (None, "too_long"), "fits": (-len("say fits"), None)}


def test_nothing_graded_ends_the_run(tmp_path):
    with pytest.raises(RunFailed, match="verifier_crash 40 times"):
        ask(tmp_path, grade=lambda *_: Grade(0.0, "verifier_crash", None))


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("cut_off", "max_tokens"), ("verifier_crash", "verifier"), ("endpoint_refuses", "lengths")],
)
def test_without_any_verdict_the_error_names_the_setting(fault, remedy):
    verdict = Verdict("p", "attempts", [Reply("", "none", 0, None, None, fault)] * 3, None)
    with pytest.raises(
        RunFailed, match=f"not one of 2 prompts could be judged: {fault} 6 times"
    ) as caught:
        require_some([verdict, verdict])
    assert remedy in caught.value.remedy

"""Rewards of several parts, and the grader that keeps verifiers open."""

import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.part import RewardPart
from prompts.parts import LengthPart, Rewards
from rewards.grade import check_prompt
from rewards.grader import Grader, first_part
from rewards.interface import BadPrompt, OpenVerifier, Result, Verifier
from rewards.kinds import KINDS
from rewards.length import Length

PARTS = ({"verifier": "math", "weight": 3.0}, {"verifier": "given", "name": "style"})


class Given(Verifier, OpenVerifier):
    """Gives each answer the number that it consists of; `crash` raises, `fault` is one."""

    def __init__(self, slow=False, missing=False):
        self.slow, self.missing = slow, missing
        self.opened = self.closed = 0
        self.threads = set()

    def check(self, prompt, part):
        """Any prompt will do."""

    def open(self, part, resources):
        if self.missing:
            raise BadInput("no tool", "install it")
        self.opened += 1
        return self

    def close(self):
        self.closed += 1

    def grade(self, prompt, answers):
        self.threads.add(threading.current_thread() is threading.main_thread())
        if any(answer.text == "crash" for answer in answers):
            raise RuntimeError("a mistake")
        return [
            Result(fault="timeout") if answer.text == "fault" else Result(float(answer.text))
            for answer in answers
        ]


def prompt(*parts, answer="1"):
    chosen = parts or PARTS
    one = prompt_of("p", "q", answer, verifier=chosen[0]["verifier"])
    return replace(one, rewards=tuple(chosen))


def grader_of(**settings):
    given_ = Given(**settings)
    return Grader({**KINDS, "given": given_}), given_


def test_a_reward_is_the_weighted_mean_of_its_parts():
    grader, _ = grader_of()
    right, wrong = grader.group(prompt(), ["1", "0.2"])
    assert right.reward == 1.0 and right.parts == {"math": 1.0, "style": 1.0} and right.correct
    assert wrong.reward == pytest.approx(0.05) and wrong.parts == {"math": 0.0, "style": 0.2}
    assert not wrong.correct


@given(st.lists(st.floats(0.01, 9), min_size=1, max_size=5))
def test_a_full_score_is_exactly_1_whatever_the_weights(weights):
    grader, _ = grader_of()
    parts = [
        {"verifier": "given", "name": f"n{n}", "weight": weight} for n, weight in enumerate(weights)
    ]
    assert grader(prompt(*parts), "1").reward == 1.0


def test_a_part_of_weight_0_is_logged_and_counts_nothing():
    grader, _ = grader_of()
    parts = ({"verifier": "number", "weight": 0}, {"verifier": "given"})
    right, wrong = grader.group(prompt(*parts, answer="0.5"), ["0.5", "1"])
    assert (right.reward, right.parts, right.correct) == (0.5, {"number": 1.0, "given": 0.5}, True)
    assert (wrong.reward, wrong.parts, wrong.correct) == (1.0, {"number": 0.0, "given": 1.0}, False)
    assert grader(first_part(prompt(*parts, answer="0.5")), "0.5").reward == 1.0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("exact", "math"), "all parts have weight 0"),
        (("exact", "exact"), "two parts are named 'exact'"),
    ],
)
def test_parts_of_which_nothing_could_follow_are_refused(parts, message):
    given = [{"verifier": name, "weight": 0} for name in parts]
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Rewards).validate_python(given)


def test_an_answer_is_correct_when_the_first_part_is_full():
    grader, _ = grader_of()
    parts = ({"verifier": "number"}, {"verifier": "given"})
    half = grader(prompt(*parts, answer="0.5"), "0.5")
    assert half.correct and half.reward == 0.75
    assert grader(first_part(prompt(*parts, answer="0.5")), "0.5").parts == {}


@pytest.mark.parametrize(("text", "fault"), [("fault", "timeout"), ("crash", "verifier_crash")])
def test_a_fault_of_any_part_is_a_fault_of_the_grade(text, fault):
    for slow in (False, True):
        grader, _ = grader_of(slow=slow)
        grade = grader(prompt(), text)
        assert (grade.fault, grade.correct) == (fault, False)
        grader.close()


@pytest.mark.parametrize("text", ["nan", "inf", "2", "-0.1"])
def test_what_is_no_reward_is_a_fault_and_never_a_0(text):
    grader, _ = grader_of()
    assert grader(prompt({"verifier": "given"}), text).fault == "verifier_crash"


def test_thinking_without_an_end_is_cut_off_and_the_others_keep_their_places():
    grader, _ = grader_of()
    one = prompt({"verifier": "given"})
    grades = grader.group(one, ["0.5", "<think>hm", "<think>hm</think>0.25"])
    assert [(g.reward, g.fault) for g in grades] == [(0.5, None), (0.0, "cut_off"), (0.25, None)]


def test_slow_verifiers_grade_beside_the_caller_and_the_others_in_its_thread():
    grader, slow = grader_of(slow=True)
    release = threading.Event()
    inner = slow.grade
    slow.grade = lambda *given_: (release.wait(5), inner(*given_))[1]
    begun = time.perf_counter()
    waiting = [grader.submit(prompt(), ["1"]) for _ in range(3)]
    assert time.perf_counter() - begun < 4
    release.set()
    assert [grades()[0].reward for grades in waiting] == [1.0] * 3
    assert slow.threads == {False}
    grader.close()
    fast, plain = grader_of()
    fast.group(prompt(), ["1"])
    assert plain.threads == {True}


def test_a_verifier_is_opened_once_for_equal_settings_and_closed():
    grader, one = grader_of()
    with grader:
        grader.prepare([prompt(), prompt(answer="2")])
        assert one.opened == 1
        grader(prompt({"verifier": "given", "name": "other"}), "1")
        assert (one.opened, one.closed) == (2, 0)
    assert one.closed == 2
    with pytest.raises(RuntimeError, match="closed"):
        grader(prompt(), "1")


def test_what_is_missing_is_known_before_anything_is_graded():
    grader, _ = grader_of(missing=True)
    with pytest.raises(BadInput, match="no tool"):
        grader.prepare([prompt()])


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 600))
def test_the_penalty_of_length_falls_from_1_to_0_between_its_limits(limit, more, tokens):
    part = LengthPart(verifier="length", limit=limit, cut_off=limit + more)
    one = prompt(part.stored())
    (grade,) = Grader().group(one, ["any"], [tokens])
    assert 0 <= grade.reward <= 1
    if tokens <= limit:
        assert grade.reward == 1
    elif tokens >= limit + more:
        assert grade.reward == 0
    else:
        assert grade.reward == pytest.approx(1 - (tokens - limit) / more)


def test_the_penalty_counts_thinking_and_spares_what_has_no_length():
    part = {"verifier": "length", "limit": 10, "cut_off": 20}
    check_prompt(prompt(part))
    (thought,) = Grader().group(prompt(part), ["<think>long</think>1"], [15])
    assert thought.reward == 0.5 and thought.answer == "15"
    assert Grader()(prompt(part), "1").reward == 1
    Length().require(RewardPart(verifier="length"))


def test_dapo_of_weight_2_to_1_is_the_published_reward():
    """Rewards of -1 and 1 and a penalty of -1 to 0 (arXiv:2503.14476): equal but for scale and a
    constant, which advantages do not show."""
    parts = (
        {"verifier": "number", "weight": 2.0},
        {"verifier": "length", "limit": 8, "cut_off": 16},
    )
    answers = [("1", 4), ("1", 12), ("0", 4), ("0", 16)]
    grades = Grader().group(prompt(*parts), [a for a, _ in answers], [n for _, n in answers])
    published = [1.0, 1.0 - 0.5, -1.0, -1.0 - 1.0]
    for grade, reward in zip(grades, published, strict=True):
        assert 3 * grade.reward - 2 == pytest.approx(reward)


def test_a_row_cannot_name_a_verifier_that_needs_settings():
    with pytest.raises(BadInput, match="needs settings, 'limit' among them"):
        check_prompt(prompt_of("p", "q", verifier="length"))


class Selective(Given):
    """Cannot use some prompts."""

    def grade(self, prompt, answers):
        raise BadPrompt("has no tests", "give it some")


def test_a_prompt_that_a_verifier_cannot_use_is_its_own_fault():
    grader = Grader({**KINDS, "given": Selective()})
    assert grader(prompt({"verifier": "given"}), "1").fault == "bad_reference"


def test_every_verifier_is_closed_where_one_of_them_cannot_be():
    class Stuck(Given):
        def close(self):
            super().close()
            raise OSError("it hangs")

    stuck, other = Stuck(), Given()
    grader = Grader({"stuck": stuck, "given": other})
    for name in ("stuck", "given"):
        grader(prompt({"verifier": name}), "1")
    with pytest.raises(OSError, match="it hangs"):
        grader.close()
    assert (stuck.closed, other.closed) == (1, 1)


def test_a_verifier_that_a_background_step_opens_during_the_end_is_closed():
    begun, go_on = threading.Event(), threading.Event()

    class Slowly(Given):
        def open(self, part, resources):
            begun.set()
            assert go_on.wait(5)
            return super().open(part, resources)

    slowly = Slowly(slow=True)
    grader = Grader({"given": slowly})
    step = threading.Thread(target=lambda: suppressed(grader, prompt({"verifier": "given"})))
    end = threading.Thread(target=grader.close)
    for thread in (step, end):
        thread.start()
        assert begun.wait(5)
    time.sleep(0.1)
    go_on.set()
    for thread in (step, end):
        thread.join(5)
    assert (slowly.opened, slowly.closed) == (1, 1)


def suppressed(grader, one):
    """Grade in a thread; the end of the grader is no error of this test's."""
    with suppress(RuntimeError, CancelledError):
        grader(one, "1")


def test_sub_checks_and_a_judges_tokens_come_with_the_grade():
    class Checking(Given):
        def grade(self, prompt, answers):
            fault = {"fault": "timeout"} if answers[0].text == "fault" else {}
            return [Result(0.5, checks={"short": 0.5}, judge_tokens=3, **fault) for _ in answers]

    grader = Grader({"given": Checking()})
    parts = {"verifier": "given"}, {"verifier": "given", "name": "style"}
    one, two, fault = (
        grader(prompt(*chosen), text)
        for chosen, text in ((parts[:1], "1"), (parts, "1"), (parts, "fault"))
    )
    assert (one.checks, one.judge_tokens, one.parts) == ({"given/short": 0.5}, 3, {})
    assert (two.checks, two.judge_tokens) == ({"given/short": 0.5, "style/short": 0.5}, 6)
    assert (fault.fault, fault.checks, fault.judge_tokens) == ("timeout", {}, 6)


@pytest.mark.parametrize(
    ("verifier", "answer", "message"),
    [
        ("instructions", "", "verifier instructions cannot grade it: it has no `instructions` in"),
        ("code", "5", "verifier code cannot grade it: it has no usable tests"),
        ("number", "many", "does not accept its reference answer 'many': it is not one number"),
        ("reasoning_gym", "5", "'5': it answers no task that reasoning-gym made"),
    ],
)
def test_what_a_prompt_lacks_is_not_said_of_its_reference_answer(verifier, answer, message):
    with pytest.raises(BadInput, match=message):
        check_prompt(prompt_of("p", "q", answer, verifier=verifier))

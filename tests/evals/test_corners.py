"""The suite of corner cases: what is correct, what counts once, what is left out, what is told."""

from dataclasses import replace

import pytest

from builders.corner_evaluations import LOOP, NO, asked, of_case, question
from builders.evaluations import suite
from common.intervals import wilson
from corner_cases.registry import CASES
from evals.corners import graded_prompts
from evals.figures import summary
from evals.protocol import protocol, remarks
from evals.suites import load_suite

GERMAN = "language_change:sum-01:de"


def test_the_rate_of_a_case_is_the_share_of_replies_that_show_it():
    prompts = [*of_case("repetition", 4), *of_case("refusal", 2)]
    shown = {prompts[0].id: LOOP, prompts[4].id: NO, prompts[5].id: NO}
    result = summary(asked(prompts, shown))
    cases = result["by_capability"]
    assert (cases["repetition"]["rate"], cases["refusal"]["rate"]) == (0.25, 1.0)
    assert (cases["repetition"]["rate_low"], cases["repetition"]["rate_high"]) == wilson(1, 4)
    assert (cases["repetition"]["score"], cases["repetition"]["n"]) == (0.75, 4)
    assert (result["rate"], result["score"], result["n"]) == (0.5, 0.5, 6)
    assert (result["rate_low"], result["rate_high"]) == wilson(3, 6)


def test_a_finding_says_what_was_found_and_where():
    prompts = of_case("refusal", 2)
    shown, clean = asked(prompts, {prompts[0].id: f"{NO} Good luck."})
    assert not shown.correct and clean.correct
    assert shown.to_json()["finding"] == {"reason": "refuses", "evidence": NO, "start": 0}
    assert shown.to_json()["group"] == "pair:kill-process"
    assert "finding" not in clean.to_json() and not shown.graded


def test_a_question_in_eight_languages_counts_once():
    right, wrong = question("sum-01"), question("sum-02")
    answers = asked([*right, *wrong], {wrong[1].id: "The answer is 99."})
    assert [answer.correct for answer in answers] == [True] * 8 + [False] * 8
    assert {a.finding["reason"] for a in answers[8:]} == {"wrong in some languages (de)"}
    result = summary(answers)["by_capability"]["language_change"]
    assert (result["rate"], result["n"], result["faults"]) == (0.5, 2, 0)
    assert (result["rate_low"], result["rate_high"]) == wilson(1, 2)
    assert answers[9].answer == "99" and answers[9].reference == wrong[1].answer


def test_wrong_in_every_language_alike_is_no_change_of_language():
    prompts = question()
    assert all(a.correct for a in asked(prompts, {p.id: "8" for p in prompts}))


def test_a_question_with_a_fault_is_left_out_in_all_languages():
    prompts = [*question(), *question("sum-02")]
    answers = asked(prompts, {GERMAN: "<think>never ending", prompts[2].id: "8"})
    faults = [answer.fault for answer in answers]
    assert faults[1] == "cut_off" and faults[8:] == [None] * 8
    assert faults[:8].count("incomplete_question") == 7
    assert not any(answer.finding for answer in answers)
    result = summary(answers)
    assert (result["n"], result["faults"], result["rate"]) == (1, 1, 0.0)


def test_what_has_no_reply_shows_nothing_and_is_left_out():
    loop, *_ = prompts = of_case("repetition", 3)
    answers = asked(prompts, {loop.id: f"<think>{LOOP}", prompts[1].id: LOOP})
    assert [answer.fault for answer in answers] == ["cut_off", None, None]
    result = summary(answers)
    assert (result["rate"], result["n"], result["faults"], result["cut_off"]) == (0.5, 2, 1, 1)
    told = remarks(suite("corner_cases"), answers, 2048)
    assert told[0].startswith(
        "corner_cases: 1 of 3 answers never ended their thinking and are left"
    )


def test_a_prompt_without_room_is_left_out_of_the_rates():
    prompts = of_case("repetition", 2)
    long = replace(prompts[0], messages=[{"role": "user", "content": "x" * 200}])
    answers = asked([long, prompts[1]], {}, max_tokens=20, room=200)
    result = summary(answers)
    assert (result["n"], result["too_long"], result["faults"], result["rate"]) == (1, 1, 1, 0.0)
    assert "and are left out of the rates" in remarks(suite("corner_cases"), answers, 200)[0]


@pytest.mark.parametrize(
    ("error", "fault"), [(TimeoutError, "timeout"), (ZeroDivisionError, "verifier_crash")]
)
def test_a_detector_that_raises_is_a_fault(monkeypatch, error, fault):
    def broken(prompt, reply):
        raise error

    monkeypatch.setitem(CASES, "gushing", replace(CASES["gushing"], detect=broken))
    answers = asked([*of_case("gushing", 1), *of_case("repetition", 1)], {})
    assert [answer.fault for answer in answers] == [fault, None]
    assert "1 of 2 answers could not be judged" in remarks(suite("corner_cases"), answers, 99)[0]


def test_a_limit_that_ends_most_replies_is_told():
    prompts = [*of_case("cut_off", 3), *of_case("repetition", 5)]
    few, most = ({p.id: "A red fox ran." for p in prompts[:n]} for n in (1, 2))
    config = suite("corner_cases", max_tokens=10)
    answers = asked(prompts, few, max_tokens=10)
    assert remarks(config, answers, 2048) == []
    assert [answer.finding["reason"] for answer in answers[:1]] == ["limit of tokens"]
    (told,) = remarks(config, asked(prompts, most, max_tokens=10), 2048)
    assert "2 of 3 replies to the prompts of cut_off reached the limit of 10 tokens" in told


def test_many_empty_replies_are_told():
    prompts = of_case("repetition", 11)
    one, two = ({p.id: "" for p in prompts[:n]} for n in (1, 2))
    config = suite("corner_cases")
    assert remarks(config, asked(prompts, one), 2048) == []
    assert "2 of 11 replies are empty" in remarks(config, asked(prompts, two), 2048)[0]


def test_verifiers_are_opened_for_compared_questions_alone():
    prompts = load_suite(suite("corner_cases"), None)
    graded = graded_prompts("corner_cases", prompts)
    assert {prompt.capability for prompt in graded} == {"language_change"} and len(graded) == 400
    assert graded_prompts("held_out", prompts) == prompts


def test_results_name_the_cases():
    config = suite("corner_cases", cases=["refusal", "repetition"])
    assert protocol([config])["suites"]["corner_cases"]["cases"] == ["repetition", "refusal"]
    assert "cases" not in protocol([suite("gsm8k")])["suites"]["gsm8k"]

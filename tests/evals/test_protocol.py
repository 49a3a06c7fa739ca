"""The evaluation protocol: who is asked, what counts, what is told."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from builders.evaluations import ScriptedAnswers, prompt, suite
from builders.single_prompts import prompt_of
from common.intervals import wilson
from evals.config import SuiteConfig
from evals.figures import summary
from evals.protocol import ask, protocol, remarks
from prompts.schema import Prompt
from rewards.grader import Grader
from rewards.kinds import KINDS
from rewards.plain import Plain
from rewards.verifiers import VERIFIERS


def break_down(monkeypatch):
    """A verifier named `broken` that raises."""
    monkeypatch.setitem(VERIFIERS, "broken", lambda *a: 1 / 0)
    monkeypatch.setitem(KINDS, "broken", Plain("broken"))


def test_every_prompt_is_asked_once_and_counted(monkeypatch):
    break_down(monkeypatch)
    prompts = [prompt(1), prompt(2), prompt("far too long for this context"), prompt(4, "d")]
    prompts.append(Prompt("p5", prompts[0].messages, "a", "broken", "c", "s", None, {}))
    engine = ScriptedAnswers({"q 1": "a1", "q 2": "a" * 8, "q 4": "a4"})
    asked: list[int] = []
    answers = ask(engine, suite(max_tokens=8), prompts, 2, asked.append, Grader())
    assert asked == [2, 2, 1]
    assert [a.correct for a in answers] == [True, False, False, True, False]
    assert [a.fault for a in answers] == [None, None, "too_long", None, "verifier_crash"]
    result = summary(answers)
    assert (result["score"], result["n"], result["faults"]) == (0.5, 4, 1)
    assert (result["too_long"], result["cut_off"]) == (1, 1)
    assert (result["low"], result["high"]) == wilson(2, 4)
    assert result["by_capability"]["d"]["score"] == 1.0 and result["by_capability"]["c"]["n"] == 3


@pytest.mark.parametrize(
    ("length", "fault"), [(13, None), (14, "too_long"), (19, "too_long"), (99, "too_long")]
)
def test_a_prompt_counts_as_wrong_unless_the_longest_answer_fits_behind_it(length, fault):
    text = "q" * length
    long = prompt_of("long", text)
    answers = ask(
        ScriptedAnswers({text: "a", "q 1": "a1"}),
        suite(max_tokens=7),
        [prompt(1), long],
        8,
        lambda n: None,
        Grader(),
    )
    assert [a.fault for a in answers] == [None, fault] and all(a.counts for a in answers)
    assert summary(answers)["score"] == (0.5 if fault else 1.0)
    told = (
        "held_out: 1 of 2 prompts leave no room for answers of 7 tokens in max_model_len (20)"
        " and count as wrong"
    )
    assert remarks(suite(max_tokens=7), answers, 20) == ([told] if fault else [])


def test_nothing_about_one_prompt_ends_an_evaluation(monkeypatch):
    break_down(monkeypatch)
    bad = [replace(prompt(2), verifier="broken"), replace(prompt(3), verifier="gone")]
    bad += [
        replace(prompt(4), messages=[{"role": "system", "content": "q 4"}]),
        replace(prompt(5), messages=[]),
    ]
    engine = ScriptedAnswers({f"q {n}": f"a{n}" for n in range(6)})
    answers = ask(engine, suite(max_tokens=8), [prompt(1), *bad], 8, lambda n: None, Grader())
    faults = ["verifier_crash", "unknown_verifier", "not_encoded", "not_encoded"]
    assert [a.fault for a in answers] == [None, *faults]
    result = summary(answers)
    assert (result["score"], result["n"], result["faults"]) == (1.0, 1, 4)
    assert "4 of 5 answers could not be judged (not_encoded 2, " in remarks(suite(), answers, 20)[0]


def test_a_suite_without_a_single_grade_has_no_score_and_says_so(monkeypatch):
    monkeypatch.setitem(VERIFIERS, "exact", lambda *a: 1 / 0)
    answers = ask(
        ScriptedAnswers({"q 1": "a1"}),
        suite(max_tokens=8),
        [prompt(1)],
        8,
        lambda n: None,
        Grader(),
    )
    result = summary(answers)
    assert (result["score"], result["low"], result["high"]) == (None, 0.0, 1.0)
    assert (result["n"], result["faults"]) == (0, 1)
    assert "it has no score" in remarks(suite(), answers, 20)[0]
    assert summary([])["score"] is None and "no prompts" in remarks(suite(), [], 20)[0]


def test_parts_and_mean_reward_are_reported_and_the_first_part_decides():
    parts = (
        {"verifier": "exact", "weight": 3.0},
        {"verifier": "length", "limit": 2, "cut_off": 4},
    )
    prompts = [replace(prompt(n), answer=f"a{n}", rewards=parts) for n in (1, 2)]
    engine = ScriptedAnswers({"q 1": "a1", "q 2": "b  "})
    right, wrong = ask(engine, suite(max_tokens=8), prompts, 8, lambda n: None, Grader())
    assert (right.correct, right.parts) == (True, {"exact": 1.0, "length": 1.0})
    assert (wrong.correct, wrong.parts) == (False, {"exact": 0.0, "length": 0.5})
    assert (right.reward, wrong.reward) == (1.0, 0.125)
    result = summary([right, wrong])
    assert (result["score"], result["reward"]) == (0.5, 0.5625)
    assert result["rewards"] == {"exact": 0.5, "length": 0.75}
    assert right.to_json()["parts"] == right.parts


def test_an_answer_of_one_part_is_written_as_before():
    (answer,) = ask(
        ScriptedAnswers({"q 1": "a1"}),
        suite(max_tokens=8),
        [prompt(1)],
        8,
        lambda n: None,
        Grader(),
    )
    assert not {"reward", "parts"} & answer.to_json().keys()
    assert not {"reward", "rewards"} & summary([answer]).keys()


def test_a_suites_threshold_decides_what_is_correct():
    half = replace(prompt(1), rewards=({"verifier": "length", "limit": 1, "cut_off": 3},))
    for pass_at, correct in ((1.0, False), (0.5, True)):
        given = suite(pass_at=pass_at, max_tokens=8)
        engine = ScriptedAnswers({"q 1": "a1"})
        (answer,) = ask(engine, given, [half], 8, lambda n: None, Grader())
        assert (answer.reward, answer.correct) == (0.5, correct)


def test_several_samples_of_a_prompt_are_one_unit_and_told_apart():
    class Sampled(ScriptedAnswers):
        def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
            assert (samples, temperature) == (4, 0.7) and len(set(seeds)) == len(prompts)
            texts = [self.replies["".join(map(chr, tokens))] for tokens in prompts]
            return [[self._rollout(one, max_tokens) for one in text.split()] for text in texts]

    engine = Sampled({"q 1": "a1 a1 no a1", "q 2": "no no no no"})
    config = suite(max_tokens=8, samples=4, temperature=0.7)
    answers = ask(engine, config, [prompt(1), prompt(2)], 2, lambda n: None, Grader(), seed=3)
    assert [(a.id, a.sample, a.correct) for a in answers[:4]] == [
        ("p1", 0, True),
        ("p1", 1, True),
        ("p1", 2, False),
        ("p1", 3, True),
    ]
    result = summary(answers)
    assert (result["score"], result["n"]) == (0.375, 2) and result["low"] > 0
    assert [one.to_json().get("sample") for one in answers[:3]] == [None, 1, 2]
    assert protocol([config])["suites"]["held_out"]["samples"] == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"samples": 4}, "4 answers at temperature 0 are all the same"),
        ({"temperature": 0.7}, "one answer at temperature 0.7 is a matter of chance"),
        ({"name": "corner_cases", "samples": 4, "temperature": 1}, "corner_cases samples no"),
        ({"name": "sciq_likelihood", "samples": 4, "temperature": 1}, "likelihood samples no"),
    ],
)
def test_sampling_that_says_nothing_is_refused(fields, reason):
    with pytest.raises(ValidationError, match=reason):
        SuiteConfig(**{"name": "held_out", **fields})

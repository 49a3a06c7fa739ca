"""The evaluation protocol: who is asked, what counts, what is told."""

from dataclasses import replace

import pytest

from builders.evaluations import ScriptedAnswers, prompt, suite
from builders.single_prompts import prompt_of
from common.intervals import wilson
from evals.protocol import ask, remarks, summary
from prompts.schema import Prompt
from rewards.grade import VERIFIERS
from rewards.grader import Grader
from rewards.kinds import KINDS
from rewards.plain import Plain


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

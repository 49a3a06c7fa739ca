"""What is found in a policy's answers to the prompts of corner cases, on texts that a person
judged."""

from dataclasses import replace

import pytest

from benchmarks.corner_cases import prompt_of, rows
from corner_cases.registry import CASES
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import Rollout
from stages.dpo.case_answers import Answers, examined, graded
from stages.dpo.case_pairs import CaseFigures, matches

SINGLE = [case for case in CASES.values() if case.detect is not None]


def rollout(text, finish="stop"):
    tokens = list(range(max(1, len(text))))
    return Rollout(tokens, [0.0] * len(tokens), text, finish)


def answers(prompt, *texts, grades=None):
    return Answers(prompt, [rollout(text) for text in texts], grades or [None] * len(texts))


def only(found):
    """The one pair that was found."""
    assert not isinstance(found, str)
    (match,) = found
    return match


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_texts_that_a_person_judged_are_on_the_side_where_they_belong(case):
    chosen = rejected = 0
    for row in rows(case.name):
        one = Answers(prompt_of(row), [rollout(row["answer"], row.get("finish", "stop"))], [None])
        ((_, (sample,)),) = examined(case, [one], CaseFigures())
        chosen += sample.clean
        rejected += sample.finding is not None
        assert (sample.finding is not None) == row["expected"], row
        assert not (sample.clean and row["expected"]), row
    # Some without this case show another one, and are on neither side.
    assert rejected >= 4 and chosen >= 4


def test_a_right_and_clean_answer_is_preferred_to_a_gushing_one():
    prompt = prompt_of({"prompt": "Why is the sky blue?"})
    gushing = "What a fantastic question! You are amazing!!! The air scatters blue light."
    calm = "The air scatters blue light more than red light."
    one = answers(prompt, gushing, calm, "I'm sorry, but I can't help with that.")
    figures = CaseFigures()
    ((_, samples),) = examined(CASES["gushing"], [one], figures)
    pair = only(matches("gushing", "p", samples, 4.0, 3))
    assert (pair.chosen.text, pair.rejected.text) == (calm, gushing)
    row = pair.as_pair(None, None)
    assert row.evidence and row.evidence in gushing and row.reason
    assert (figures.rated, figures.shown, figures.answers) == (3, 1, 3)


def test_an_answer_with_another_case_is_on_neither_side():
    prompt = prompt_of({"prompt": "Tell me about rivers."})
    loop = "A river flows. " + "It goes on. " * 30
    one = answers(
        prompt, loop, "I'm sorry, but I can't help with that.", "A river is water, and then the"
    )
    ((_, samples),) = examined(CASES["gushing"], [one], CaseFigures())
    assert [(sample.clean, sample.finding) for sample in samples] == [(False, None)] * 3


def test_a_wrong_answer_is_not_chosen_and_a_fault_is_neither():
    prompt = replace(prompt_of({"prompt": "Is ice cold?"}), answer="yes", verifier="exact")
    grades = [Grade(1.0, None, "yes"), Grade(0.0, None, "no"), Grade(0.0, "timeout", None)]
    one = answers(prompt, "yes", "no", "what " * 20, grades=grades)
    figures = CaseFigures()
    ((_, samples),) = examined(CASES["repetition"], [one], figures)
    assert [sample.clean for sample in samples] == [True, False, False]
    assert [sample.finding for sample in samples] == [None] * 3
    assert figures.faults == {"timeout": 1} and figures.rated == 2


def test_thinking_without_an_end_is_a_fault_and_closed_thinking_is_not_looked_at():
    prompt = prompt_of({"prompt": "Tell me about rivers."})
    loop = "no " * 40
    one = answers(prompt, f"<think>{loop}", f"<think>{loop}</think>A river flows into the sea.")
    ((_, (open_, closed)),) = examined(CASES["repetition"], [one], CaseFigures())
    assert (open_.fault, open_.finding) == ("cut_off", None)
    assert closed.clean and closed.fault is None


def question(language, text, answer):
    messages = [{"role": "user", "content": text}]
    metadata = {"group": "sum", "language": language, "asked_in": language}
    case = "language_change"
    return Prompt(language, messages, answer, "number", case, "s", None, metadata)


ASKED = {"en": "What is 4 plus 5?", "de": "Wie viel ist 4 plus 5?", "fr": "Combien font 4 et 5 ?"}


def by_language(**texts):
    """The samples by language, whose verdicts are those of the verifier."""
    with Grader() as grader:
        given = [
            graded(question(name, ASKED[name], "9"), [rollout(t) for t in of], grader)
            for name, of in texts.items()
        ]
    figures = CaseFigures()
    found = examined(CASES["language_change"], given, figures)
    return {prompt.id: samples for prompt, samples in found}, figures


def test_a_wrong_answer_is_rejected_for_a_right_one_in_the_same_language():
    found, figures = by_language(
        en=["4 plus 5 is 9.", "4 plus 5 is 9."], de=["Das ist 8.", "Das ist 9."]
    )
    pair = only(matches("language_change", "de", found["de"], 2.0, 2))
    assert (pair.chosen.text, pair.rejected.text) == ("Das ist 9.", "Das ist 8.")
    assert pair.as_pair(None, None).evidence == "de: Das ist 8; en: 4 plus 5 is 9"
    assert matches("language_change", "en", found["en"], 2.0, 2) == "without_the_case"
    assert (figures.rated, figures.shown) == (2, 1)


def test_answers_that_are_wrong_alike_in_all_languages_show_no_change():
    found, figures = by_language(en=["It is 8.", "It is 9."], de=["Das ist 8.", "Das ist 9."])
    assert all(sample.finding is None for of in found.values() for sample in of)
    assert figures.shown == 0


def test_an_answer_that_was_cut_off_shows_no_change():
    de = question("de", ASKED["de"], "9")
    with Grader() as grader:
        given = [
            graded(de, [rollout("Das ist 8", "length"), rollout("Das ist 9.")], grader),
            graded(question("en", ASKED["en"], "9"), [rollout("It is 9.")] * 2, grader),
        ]
    figures = CaseFigures()
    found = examined(CASES["language_change"], given, figures)
    assert all(sample.finding is None for _, of in found for sample in of)
    assert (figures.rated, figures.shown) == (1, 0)

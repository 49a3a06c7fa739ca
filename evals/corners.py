"""The suite `corner_cases`: an answer is correct when it is clean, which means that the detector of
its prompt's case finds nothing in it.

A question in several languages is one unit: all of its answers are clean, or none is."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from common.faults import CUT_OFF, INCOMPLETE_QUESTION
from corner_cases.examine import examine, examine_question, graded_reply, is_compared, reply_of
from corner_cases.interface import CUT_OFF as AT_LIMIT
from corner_cases.interface import Finding
from corner_cases.sets import group_of
from evals.answer import Answer
from evals.config import SuiteConfig
from evals.suite_file import CORNER_CASES
from prompts.schema import Prompt
from rewards.grader import Grade
from rollouts.interface import Rollout

EMPTY_SHARE = 0.1
"""Share of empty replies from which that is told: they show hardly any case."""
_log = logging.getLogger(__name__)


def is_graded(suite: str, prompt: Prompt) -> bool:
    """Whether a verifier grades the answers to a prompt of a suite: of `corner_cases` those to
    questions in several languages."""
    return suite != CORNER_CASES or is_compared(prompt)


def graded_prompts(suite: str, prompts: Iterable[Prompt]) -> list[Prompt]:
    """The prompts of a suite whose answers a verifier grades."""
    return [prompt for prompt in prompts if is_graded(suite, prompt)]


def examined(prompt: Prompt, rollout: Rollout, grade: Grade | None) -> Answer:
    """An answer that was examined, or, with a grade, one to a question in several languages: it is
    correct when it is right, until `compared` compares them."""
    return _alone(prompt, rollout) if grade is None else _answer(prompt, rollout, grade)


def compared(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Answer]:
    """The answers, given in the order of their prompts, those to each question in several languages
    compared. A question of which one answer has a fault is left out in all languages: what is left
    of it would show its case more seldom."""
    questions: dict[str, list[int]] = defaultdict(list)
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        if answer.suite == CORNER_CASES and is_compared(prompt):
            questions[answer.unit].append(number)
    done = list(answers)
    for numbers in questions.values():
        whole = all(answers[number].counts for number in numbers)
        found = _difference([(prompts[n], answers[n]) for n in numbers]) if whole else None
        for number in numbers:
            one = answers[number]
            fault = one.fault if whole or one.fault is not None else INCOMPLETE_QUESTION
            done[number] = _shown(replace(one, fault=fault), found)
    return done


def _difference(asked: Sequence[tuple[Prompt, Answer]]) -> Finding | None:
    return examine_question(
        [
            (prompt, graded_reply(one.text, Grade(float(one.correct), one.fault, one.answer)))
            for prompt, one in asked
        ]
    )


def _alone(prompt: Prompt, rollout: Rollout) -> Answer:
    """An answer that is examined alone. What a detector raises is a fault of the answer."""
    reply = reply_of(prompt, rollout.text, rollout.finish)
    if reply is None:
        return _answer(prompt, rollout, Grade(0.0, CUT_OFF, None))
    try:
        found = examine(prompt, reply)
    except Exception as error:  # as of a verifier: a mistake in a detector ends no evaluation
        _log.warning("the detector of %s raised on %s", prompt.capability, prompt.id, exc_info=True)
        fault = "timeout" if isinstance(error, TimeoutError) else "verifier_crash"
        return _answer(prompt, rollout, Grade(0.0, fault, None))
    return _shown(_answer(prompt, rollout, Grade(1.0, None, None)), found)


def _answer(prompt: Prompt, rollout: Rollout, grade: Grade) -> Answer:
    return Answer(
        suite=CORNER_CASES,
        id=prompt.id,
        capability=prompt.capability,
        correct=grade.correct,
        fault=grade.fault,
        answer=grade.answer,
        reference=prompt.answer,
        text=rollout.text,
        tokens=len(rollout.token_ids),
        finish=rollout.finish,
        reward=float(grade.correct),
        group=group_of(prompt),
    )


def _shown(answer: Answer, found: Finding | None) -> Answer:
    """The answer with what was found in it, or in its question."""
    clean = answer.fault is None and found is None
    told: dict[str, Any] | None = None
    if found is not None:
        told = {"reason": found.reason, "evidence": found.evidence}
        told |= {} if found.start is None else {"start": found.start}
    return replace(answer, correct=clean, reward=float(clean), finding=told)


def corner_remarks(suite: SuiteConfig, answers: Sequence[Answer]) -> list[str]:
    """What the limit of tokens and empty replies do to the rates, one sentence per fact."""
    replies = [answer for answer in answers if answer.counts]
    sentences = []
    long = [answer for answer in replies if answer.capability == "cut_off"]
    ended = sum(answer.finish == AT_LIMIT for answer in long)
    if 2 * ended > len(long):
        sentences.append(
            f"{suite.name}: {ended} of {len(long)} replies to the prompts of cut_off reached the"
            f" limit of {suite.answer_length()} tokens: its rate is likely that of the limit and"
            " not of the model; raise the suite's max_tokens, or leave the case out of `cases`"
        )
    empty = sum(not answer.text.strip() for answer in replies)
    if empty and empty >= EMPTY_SHARE * len(replies):
        sentences.append(
            f"{suite.name}: {empty} of {len(replies)} replies are empty, and an empty reply shows"
            " hardly any case: low rates do not mean a good model here"
        )
    return sentences

"""Grades a finished run's stored answers again with the current verifiers, and counts the
changes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, GROUPS, PROMPTS
from common.errors import BadInput
from common.faults import INCOMPLETE_QUESTION
from corner_cases.examine import is_compared
from evals.config import SuiteConfig
from evals.corners import compared, examined
from evals.suite_file import CORNER_CASES
from evals.suites import load_suite
from prompts.schema import Prompt, read_prompts
from rewards.grader import Grade, Grader
from rollouts.interface import Rollout

EXAMPLES = 10
"""Changed answers of a stage that are shown."""


@dataclass(frozen=True)
class StoredAnswer:
    """One answer with the grade that the stage gave it."""

    prompt: Prompt
    text: str
    tokens: int
    right: bool
    fault: str | None
    reward: float | None = None
    """None where only right or wrong was stored."""
    group: int = 0
    """Answers of one group were graded together: a verifier may compare them."""
    examined_as: str | None = None
    """How an answer to a prompt of `corner_cases` finished; None for one that a verifier graded."""


def rollouts(folder: Path) -> Iterator[StoredAnswer]:
    """The graded rollouts in an RL stage's folder. Those that were cut off have no grade."""
    prompts = {prompt.id: prompt for prompt in read_prompts(PROMPTS.path(folder))}
    for number, group in enumerate(GROUPS.read(folder)):
        prompt = prompts[group["prompt_id"]]
        for member in group["members"]:
            if member["finish"] != "length":
                yield _stored(prompt, member, len(member["token_ids"]), number)


def answers(
    folder: Path, suites: Sequence[SuiteConfig], prompts_folder: Path | None
) -> Iterator[StoredAnswer]:
    """The graded answers to `suites` in an evaluation's folder. Prompts without room have no
    answer, and what is left of a question in several languages is compared with nothing."""
    rows = [
        row
        for row in ANSWERS.read(folder)
        if row["finish"] is not None and row["fault"] != INCOMPLETE_QUESTION
    ]
    for suite in suites:
        prompts = {prompt.id: prompt for prompt in load_suite(suite, prompts_folder)}
        for number, row in enumerate(rows):
            if row["suite"] == suite.name:
                one = _stored(prompts[row["id"]], row, row["tokens"], number)
                examined = suite.name == CORNER_CASES
                yield replace(one, examined_as=row["finish"]) if examined else one


def _stored(prompt: Prompt, row: Mapping[str, Any], tokens: int, group: int) -> StoredAnswer:
    """A line of a file; one without a reward says only whether the answer was correct."""
    text, fault, reward = row["text"], row["fault"], row.get("reward")
    if reward is None:
        return StoredAnswer(prompt, text, tokens, row["correct"], fault, group=group)
    first = row.get("parts", {}).get(prompt.parts[0].label, reward)
    return StoredAnswer(prompt, text, tokens, first >= 1.0, fault, reward, group)


def regrade(stage: str, stored: Sequence[StoredAnswer], grader: Grader) -> dict[str, Any]:
    """How many of a stage's answers have another grade now, and the first of them."""
    graded = [*_graded(stored, grader), *_examined(stored, grader)]
    changed = [(one, now) for one, now in graded if _differs(one, now)]
    return {
        "stage": stage,
        "answers": len(stored),
        "changed": len(changed),
        "right_to_wrong": sum(one.right and now.fault is None for one, now in changed),
        "wrong_to_right": sum(one.fault is None and now.correct for one, now in changed),
        "fault_to_graded": sum(one.fault is not None and now.fault is None for one, now in changed),
        "graded_to_fault": sum(one.fault is None and now.fault is not None for one, now in changed),
        "other_reward": sum(_another_reward(one, now) for one, now in graded),
        "examples": [_example(one, now) for one, now in changed[:EXAMPLES]],
    }


def _graded(stored: Sequence[StoredAnswer], grader: Grader) -> Iterator[tuple[StoredAnswer, Grade]]:
    """The answers that verifiers graded, with their present grades."""
    by_verifier = [one for one in stored if one.examined_as is None]
    groups = [list(members) for _, members in groupby(by_verifier, key=lambda one: one.group)]
    begun = [
        grader.submit(one[0].prompt, [a.text for a in one], [a.tokens for a in one])
        for one in groups
    ]
    grades = [grade for waiting in begun for grade in waiting()]
    return zip(by_verifier, grades, strict=True)


def _examined(
    stored: Sequence[StoredAnswer], grader: Grader
) -> Iterator[tuple[StoredAnswer, Grade]]:
    """The answers to prompts of corner cases, with what the detectors say now."""
    ours = [one for one in stored if one.examined_as is not None]
    begun = [
        grader.submit(one.prompt, [one.text], [one.tokens]) if is_compared(one.prompt) else None
        for one in ours
    ]
    answers = [
        examined(
            one.prompt,
            Rollout([0] * one.tokens, [], one.text, one.examined_as or ""),
            grades()[0] if grades else None,
        )
        for one, grades in zip(ours, begun, strict=True)
    ]
    answers = compared([one.prompt for one in ours], answers)
    for one, now in zip(ours, answers, strict=True):
        read = now.finding["reason"] if now.finding else now.answer
        yield one, Grade(now.reward, now.fault, read)


def regrade_table(regraded: dict[str, Any]) -> list[list[str]]:
    """The rows as a table of texts, the header first."""
    columns = [
        "stage",
        "answers",
        "changed",
        "right_to_wrong",
        "wrong_to_right",
        "fault_to_graded",
        "graded_to_fault",
        "other_reward",
    ]
    rows = [[str(row[column]) for column in columns] for row in regraded["stages"]]
    return [[column.replace("_", " ") for column in columns], *rows]


def require_answers(stages: Sequence[Any], name: str) -> None:
    """Raise BadInput if the run `name` has no stage with answers."""
    if not stages:
        raise BadInput(
            f"{name}: no finished RL stage or evaluation",
            "name a run that has one, as RUN or RUN:STAGE",
        )


def _differs(one: StoredAnswer, now: Grade) -> bool:
    return (one.right, one.fault) != (now.correct, now.fault)


def _another_reward(one: StoredAnswer, now: Grade) -> bool:
    """Whether a stored reward is another one now."""
    known = one.reward is not None and one.fault is None and now.fault is None
    return known and not math.isclose(one.reward or 0.0, now.reward, abs_tol=1e-6)


def _example(one: StoredAnswer, now: Grade) -> dict[str, Any]:
    return {
        "id": one.prompt.id,
        "verifier": one.prompt.verifier if one.examined_as is None else one.prompt.capability,
        "reference": one.prompt.answer,
        "text": one.text[-500:],
        "was": one.fault or ("right" if one.right else "wrong"),
        "read": now.answer,
        "is": now.fault or ("right" if now.correct else "wrong"),
    }

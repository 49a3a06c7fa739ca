"""The evaluation protocol: every prompt zero-shot, once at temperature 0 or as often as its suite
says.

No single prompt ends an evaluation. A fault (a verifier that crashed, a chat template that raised)
is counted and left out of the score. A prompt that leaves no room for the longest answer in the
context is counted and scores as wrong. An answer cut off at the length limit is counted and graded
as it stands; thinking without an end is wrong. In `corner_cases` a prompt without a reply shows
nothing: it is left out of the score."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from common.faults import CUT_OFF, TOO_LONG
from common.seeds import derive
from corner_cases.sets import group_of
from evals.agreement import agreement
from evals.answer import Answer
from evals.asking import Asked, Sampling, ask_all
from evals.config import SuiteConfig
from evals.corners import compared, corner_remarks, examined, is_graded
from evals.likelihood import ask_likelihood
from evals.parts import FINAL, PART_SEED
from evals.suite_file import CORNER_CASES
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import AnsweringEngine

SHOTS = 0


def ask(
    engine: AnsweringEngine,
    suite: SuiteConfig,
    prompts: Sequence[Prompt],
    batch: int,
    asked: Callable[[int], None],
    grader: Grader,
    seed: int = 0,
) -> list[Answer]:
    """The answers to each prompt, or its most likely option, in the prompts' order;
    `evals.asking.ask_all` says how. `seed` is that of sampled answers."""
    if suite.header.ask == "likelihood":
        return ask_likelihood(engine, suite, prompts, batch, asked)
    samples, temperature = suite.sampling
    answered = ask_all(
        engine,
        prompts,
        suite.answer_length(),
        batch,
        asked,
        grader,
        Sampling(samples, temperature, lambda prompt: derive(seed, "evaluation", prompt.id)),
        graded=partial(is_graded, suite.name),
    )
    return [
        replace(answer, sample=number)
        for answers in answers_of(suite, answered, samples)
        for number, answer in enumerate(answers)
    ]


def answers_of(suite: SuiteConfig, asked: Sequence[Asked], samples: int) -> list[list[Answer]]:
    """By prompt, the `samples` answers to it; as many without a text if it could not be asked. The
    n-th answers to a question in several languages are compared with each other."""
    prompts = [one.prompt for one in asked]
    of_prompts = [_answers(suite, one, samples) for one in asked]
    rounds = [compared(prompts, answers) for answers in zip(*of_prompts, strict=True)]
    return [list(answers) for answers in zip(*rounds, strict=True)]


def _answers(suite: SuiteConfig, asked: Asked, samples: int) -> list[Answer]:
    prompt = asked.prompt
    if asked.fault is not None:
        return [_unasked(suite.name, prompt, asked.fault)] * samples
    if suite.name == CORNER_CASES:
        grades: Sequence[Grade | None] = asked.grades or [None] * len(asked.rollouts)
        pairs = zip(asked.rollouts, grades, strict=True)
        return [examined(prompt, rollout, grade) for rollout, grade in pairs]
    return [
        Answer(
            suite=suite.name,
            id=prompt.id,
            capability=prompt.capability,
            correct=grade.passes(suite.pass_at),
            fault=grade.fault,
            answer=grade.answer,
            reference=prompt.answer,
            text=rollout.text,
            tokens=len(rollout.token_ids),
            finish=rollout.finish,
            reward=grade.reward,
            parts=grade.parts,
            group=group_of(prompt),
        )
        for rollout, grade in zip(asked.rollouts, asked.grades, strict=True)
    ]


def _unasked(suite: str, prompt: Prompt, fault: str) -> Answer:
    return Answer(
        suite=suite,
        id=prompt.id,
        capability=prompt.capability,
        correct=False,
        fault=fault,
        answer=None,
        reference=prompt.answer,
        text="",
        tokens=0,
        finish=None,
        group=group_of(prompt),
    )


def remarks(suite: SuiteConfig, answers: Sequence[Answer], max_model_len: int) -> list[str]:
    """What to know about a suite's answers before reading its score, one sentence per fact."""
    count = len(answers)
    if not count:
        return [f"{suite.name} has no prompts, and so no score"]
    faults = Counter(answer.fault for answer in answers if answer.fault)
    long, thinking = faults.pop(TOO_LONG, 0), faults.pop(CUT_OFF, 0)
    sentences = []
    so = "are left out of the rates" if suite.name == CORNER_CASES else "count as wrong"
    if long:
        sentences.append(
            f"{suite.name}: {long} of {count} prompts leave no room for answers of"
            f" {suite.answer_length()} tokens in max_model_len ({max_model_len}) and {so}"
        )
    if thinking:
        sentences.append(
            f"{suite.name}: {thinking} of {count} answers never ended their thinking and {so};"
            f" raise the suite's max_tokens ({suite.answer_length()})"
        )
    if faults:
        named = ", ".join(f"{fault} {number}" for fault, number in sorted(faults.items()))
        rest = "it has no score" if faults.total() == count else "they are left out of the score"
        sentences.append(
            f"{suite.name}: {faults.total()} of {count} answers could not be judged ({named});"
            f" {rest}"
        )
    if suite.header.agreement:
        sentences.append(f"{suite.name}: {_agreement(answers)}")
    return sentences + (corner_remarks(suite, answers) if suite.name == CORNER_CASES else [])


def _agreement(answers: Sequence[Answer]) -> str:
    found = agreement([answer for answer in answers if answer.part == FINAL])
    if found["pairs"] is None:
        return "no questions whose answers could be compared"
    return (
        f"the answers to {100 * found['all_equal']:.1f} % of {found['groups']} questions are all"
        f" the same, right or wrong ({100 * found['pairs']:.1f} % of their pairs); final part"
    )


def protocol(suites: Sequence[SuiteConfig]) -> dict[str, Any]:
    """How the figures were measured, for the results file."""
    return {
        "shots": SHOTS,
        "temperature": 0.0,
        "samples": 1,
        "interval": "Wilson, 95 %; over clusters where answers or prompts belong together",
        "parts": {"seed": PART_SEED, "by": "prompt id"},
        "suites": {
            suite.name: {
                "version": suite.header.version,
                "ask": suite.header.ask,
                "limit": suite.limit,
                "max_tokens": suite.answer_length(),
                "system": suite.system,
                **_sampled(suite),
                **({} if suite.cases is None else {"cases": list(suite.cases)}),
                **({} if suite.dev else {"dev": False}),
                **({} if suite.pass_at == 1.0 else {"pass_at": suite.pass_at}),
            }
            for suite in suites
        },
    }


def _sampled(suite: SuiteConfig) -> dict[str, Any]:
    """How a suite's answers are sampled, where that is not the rule."""
    samples, temperature = suite.sampling
    return {} if samples == 1 else {"samples": samples, "temperature": temperature}

"""The evaluation protocol: every prompt once, zero-shot, at temperature 0.

No single prompt ends an evaluation. A fault (a verifier that crashed, a chat template that raised)
is counted and left out of the score. A prompt that leaves no room for the longest answer in the
context is counted and scores as wrong. An answer cut off at the length limit is counted and graded
as it stands; thinking without an end is wrong. In `corner_cases` a prompt without a reply shows
nothing: it is left out of the score."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from common.errors import BadInput
from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG
from corner_cases.sets import group_of
from evals.answer import Answer
from evals.config import CORNER_CASES, SuiteConfig
from evals.corners import compared, corner_remarks, examined
from evals.parts import PART_SEED
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import Rollout, RolloutEngine

UNKNOWN_VERIFIER = "unknown_verifier"
SHOTS, TEMPERATURE = 0, 0.0
_log = logging.getLogger(__name__)


def ask(
    engine: RolloutEngine,
    suite: SuiteConfig,
    prompts: Sequence[Prompt],
    batch: int,
    asked: Callable[[int], None],
    grader: Grader,
) -> list[Answer]:
    """One answer per prompt, in the prompts' order.

    The engine gets `batch` prompts at a time; `asked(count)` is called after each batch. What it
    raises ends the evaluation. Slow verifiers grade a batch while the next one is sampled.
    """
    answers: list[Answer] = []
    graded: list[Callable[[], Answer]] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        new = list(_ask_batch(engine, suite, part, grader))
        answers += [answer() for answer in graded]
        graded = new
        asked(len(part))
    return compared(prompts, answers + [answer() for answer in graded])


def _ask_batch(
    engine: RolloutEngine, suite: SuiteConfig, prompts: Sequence[Prompt], grader: Grader
) -> Iterator[Callable[[], Answer]]:
    encoded = [_encoded(engine, prompt) for prompt in prompts]
    room = engine.max_model_len - suite.answer_length()
    askable = [tokens for tokens in encoded if tokens and len(tokens) <= room]
    groups: list[list[Rollout]] = []
    if askable:
        groups = engine.generate(
            askable,
            samples=1,
            temperature=TEMPERATURE,
            max_tokens=suite.answer_length(),
            seeds=[0] * len(askable),
        )
    rollouts = iter(groups)
    for prompt, tokens in zip(prompts, encoded, strict=True):
        if not tokens:
            yield partial(_unasked, suite.name, prompt, NOT_ENCODED)
        elif len(tokens) > room:
            yield partial(_unasked, suite.name, prompt, TOO_LONG)
        else:
            rollout = next(rollouts)[0]
            if suite.name == CORNER_CASES:
                yield examined(prompt, rollout, grader)
                continue
            grade = _begun(grader, prompt, rollout)
            yield partial(_graded, suite, prompt, rollout, grade)


def _encoded(engine: RolloutEngine, prompt: Prompt) -> list[int]:
    """The prompt's tokens; none when the tokenizer or the chat template raises."""
    try:
        return engine.encode(prompt.messages)
    # A chat template is a program that came with the checkpoint: it may raise anything.
    except Exception as error:
        _log.warning("prompt %s cannot be encoded: %s: %s", prompt.id, type(error).__name__, error)
        return []


def _begun(grader: Grader, prompt: Prompt, rollout: Rollout) -> Callable[[], list[Grade]]:
    """Begin to grade an answer."""
    try:
        return grader.submit(prompt, [rollout.text], [len(rollout.token_ids)])
    except BadInput as error:
        _log.warning("prompt %s cannot be graded: %s", prompt.id, error.message)
        return lambda: [Grade(0.0, UNKNOWN_VERIFIER, None)]


def _graded(
    suite: SuiteConfig, prompt: Prompt, rollout: Rollout, grades: Callable[[], list[Grade]]
) -> Answer:
    (grade,) = grades()
    return Answer(
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
    return sentences + (corner_remarks(suite, answers) if suite.name == CORNER_CASES else [])


def protocol(suites: Sequence[SuiteConfig]) -> dict[str, Any]:
    """How the figures were measured, for the results file."""
    return {
        "shots": SHOTS,
        "temperature": TEMPERATURE,
        "samples": 1,
        "interval": "Wilson, 95 %",
        "parts": {"seed": PART_SEED, "by": "prompt id"},
        "suites": {
            suite.name: {
                "limit": suite.limit,
                "max_tokens": suite.answer_length(),
                "system": suite.system,
                **({} if suite.cases is None else {"cases": list(suite.cases)}),
                **({} if suite.pass_at == 1.0 else {"pass_at": suite.pass_at}),
            }
            for suite in suites
        },
    }

"""Asks a policy prompts and grades what it says, with one answer to each or several.

No single prompt ends this: what cannot be encoded, does not fit or cannot be graded has a fault."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from common.errors import BadInput
from common.faults import NOT_ENCODED, TOO_LONG
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import AnsweringEngine, Rollout

UNKNOWN_VERIFIER = "unknown_verifier"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled."""

    samples: int = 1
    """Answers to each prompt."""
    temperature: float = 0.0
    seed: Callable[[Prompt], int] = lambda prompt: 0
    """The seed of a prompt's answers."""


GREEDY = Sampling()


@dataclass(frozen=True)
class Asked:
    """A prompt and the graded answers to it."""

    prompt: Prompt
    fault: str | None
    """Why it was not asked: `not_encoded` or `too_long`."""
    rollouts: Sequence[Rollout] = ()
    grades: Sequence[Grade] = ()
    """One of each rollout; none where answers are not graded."""


def ask_all(
    engine: AnsweringEngine,
    prompts: Sequence[Prompt],
    length: int,
    batch: int,
    asked: Callable[[int], None],
    grader: Grader,
    sampling: Sampling = GREEDY,
    graded: Callable[[Prompt], bool] = lambda prompt: True,
) -> list[Asked]:
    """The prompts with answers of at most `length` tokens, in the prompts' order.

    `graded` says of which prompts the answers are graded; those of the others have no grades. The
    engine gets `batch` prompts at a time; `asked(count)` is called after each batch. What it
    raises ends the asking. Slow verifiers grade a batch while the next one is sampled.
    """
    done: list[Asked] = []
    waiting: list[Callable[[], Asked]] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        new = list(_ask_batch(engine, part, length, grader, sampling, graded))
        done += [answers() for answers in waiting]
        waiting = new
        asked(len(part))
    return done + [answers() for answers in waiting]


def _ask_batch(
    engine: AnsweringEngine,
    prompts: Sequence[Prompt],
    length: int,
    grader: Grader,
    sampling: Sampling,
    graded: Callable[[Prompt], bool],
) -> Iterator[Callable[[], Asked]]:
    encoded = [encoded_chat(engine, prompt) for prompt in prompts]
    room = engine.max_model_len - length
    pairs = list(zip(prompts, encoded, strict=True))
    askable = [(prompt, tokens) for prompt, tokens in pairs if tokens and len(tokens) <= room]
    groups: list[list[Rollout]] = []
    if askable:
        groups = engine.generate(
            [tokens for _, tokens in askable],
            samples=sampling.samples,
            temperature=sampling.temperature,
            max_tokens=length,
            seeds=[sampling.seed(prompt) for prompt, _ in askable],
        )
    answered = iter(groups)
    for prompt, tokens in pairs:
        if not tokens:
            yield partial(Asked, prompt, NOT_ENCODED)
        elif len(tokens) > room:
            yield partial(Asked, prompt, TOO_LONG)
        else:
            rollouts = next(answered)
            grades = _begun(grader, prompt, rollouts) if graded(prompt) else _none
            yield partial(_graded, prompt, rollouts, grades)


def encoded_chat(engine: AnsweringEngine, prompt: Prompt) -> list[int]:
    """The prompt's tokens; none when the tokenizer or the chat template raises."""
    try:
        return engine.encode(prompt.messages)
    # A chat template is a program that came with the checkpoint: it may raise anything.
    except Exception as error:
        _log.warning("prompt %s cannot be encoded: %s: %s", prompt.id, type(error).__name__, error)
        return []


def _begun(
    grader: Grader, prompt: Prompt, rollouts: Sequence[Rollout]
) -> Callable[[], list[Grade]]:
    """Begin to grade the answers to a prompt."""
    texts = [rollout.text for rollout in rollouts]
    try:
        return grader.submit(prompt, texts, [len(rollout.token_ids) for rollout in rollouts])
    except BadInput as error:
        _log.warning("prompt %s cannot be graded: %s", prompt.id, error.message)
        return lambda: [Grade(0.0, UNKNOWN_VERIFIER, None)] * len(texts)


def _none() -> list[Grade]:
    """The grades of answers that are not graded."""
    return []


def _graded(
    prompt: Prompt, rollouts: Sequence[Rollout], grades: Callable[[], list[Grade]]
) -> Asked:
    return Asked(prompt, None, rollouts, grades())

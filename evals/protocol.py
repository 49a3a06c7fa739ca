"""The one way a checkpoint is asked: every prompt once, without examples, at temperature 0.

A verifier's fault is left out of the score and counted. A prompt that does not fit the context counts as wrong and is
counted, and so are answers cut off at the length limit, which are graded as they stand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.errors import RunFailed
from common.intervals import wilson
from evals.config import SuiteConfig
from prompts.schema import Prompt
from rewards.grade import grade

TOO_LONG = "too_long"
SHOTS, TEMPERATURE = 0, 0.0


class Sampled(Protocol):
    """What is read of a rollout."""

    @property
    def token_ids(self) -> list[int]: ...
    @property
    def text(self) -> str: ...
    @property
    def finish(self) -> str: ...


class Asker(Protocol):
    """What is needed of an engine."""

    @property
    def max_model_len(self) -> int: ...
    def encode(self, messages: list[dict[str, str]]) -> list[int]: ...
    def generate(
        self, prompts: list[list[int]], *, samples: int, temperature: float, max_tokens: int, seeds: list[int]
    ) -> Sequence[Sequence[Sampled]]: ...


@dataclass(frozen=True)
class Answer:
    """One line of `answers.jsonl`."""

    suite: str
    id: str
    capability: str
    correct: bool
    fault: str | None
    """`too_long`, `verifier_crash` or `timeout`."""
    answer: str | None
    """What was read out of the text."""
    reference: str
    text: str
    tokens: int
    """Tokens generated."""
    finish: str | None
    """`stop` or `length`; None if the prompt was too long to ask."""

    @property
    def counts(self) -> bool:
        """Whether it is part of the score: not if a verifier could not tell."""
        return self.fault in (None, TOO_LONG)


def ask(
    engine: Asker, suite: SuiteConfig, prompts: Sequence[Prompt], batch: int, asked: Callable[[int], None]
) -> list[Answer]:
    """Ask `prompts` in batches of `batch`; `asked(count)` is called after each. Answers are in the prompts' order."""
    answers: list[Answer] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        answers += _ask_batch(engine, suite, part)
        asked(len(part))
    return answers


def _ask_batch(engine: Asker, suite: SuiteConfig, prompts: Sequence[Prompt]) -> Iterator[Answer]:
    encoded = [engine.encode(prompt.messages) for prompt in prompts]
    fits = [len(tokens) < engine.max_model_len for tokens in encoded]
    askable = [tokens for tokens, fit in zip(encoded, fits, strict=True) if fit]
    groups: Sequence[Sequence[Sampled]] = []
    if askable:
        groups = engine.generate(
            askable, samples=1, temperature=TEMPERATURE, max_tokens=suite.answer_length(), seeds=[0] * len(askable)
        )
    rollouts = iter(groups)
    for prompt, fit in zip(prompts, fits, strict=True):
        yield _graded(suite.name, prompt, next(rollouts)[0]) if fit else _too_long(suite.name, prompt)


def _graded(suite: str, prompt: Prompt, rollout: Sampled) -> Answer:
    result = grade(prompt, rollout.text)
    return Answer(
        suite=suite,
        id=prompt.id,
        capability=prompt.capability,
        correct=result.correct,
        fault=result.fault,
        answer=result.answer,
        reference=prompt.answer,
        text=rollout.text,
        tokens=len(rollout.token_ids),
        finish=rollout.finish,
    )


def _too_long(suite: str, prompt: Prompt) -> Answer:
    return Answer(suite, prompt.id, prompt.capability, False, TOO_LONG, None, prompt.answer, "", 0, None)


def summary(suite: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """Score with its 95 % interval and counts, in all and by capability. Raises RunFailed if none could be graded."""
    if not any(answer.counts for answer in answers):
        raise RunFailed(
            f"suite {suite}: the verifier could grade none of {len(answers)} answers",
            "look at `fault` in answers.jsonl and at the stage's log",
        )
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.capability, []).append(answer)
    return {**_counts(answers), "by_capability": {name: _counts(groups[name]) for name in sorted(groups)}}


def _counts(answers: Sequence[Answer]) -> dict[str, Any]:
    graded = [answer for answer in answers if answer.counts]
    n, correct = len(graded), sum(answer.correct for answer in graded)
    low, high = wilson(correct, n) if n else (0.0, 1.0)
    return {
        "score": correct / n if n else None,
        "low": low,
        "high": high,
        "n": n,
        "faults": len(answers) - n,
        "too_long": sum(answer.fault == TOO_LONG for answer in answers),
        "cut_off": sum(answer.finish == "length" for answer in answers),
    }


def protocol(suites: Sequence[SuiteConfig]) -> dict[str, Any]:
    """How the figures came about, for the results file."""
    return {
        "shots": SHOTS,
        "temperature": TEMPERATURE,
        "samples": 1,
        "interval": "Wilson, 95 %",
        "suites": {
            suite.name: {"limit": suite.limit, "max_tokens": suite.answer_length(), "system": suite.system}
            for suite in suites
        },
    }

"""The one way a checkpoint is asked: every prompt once, without examples, at temperature 0.

Nothing about a single prompt ends an evaluation. A fault (a verifier that crashed, a chat template
that raised) is left out of the score and counted. A prompt that leaves no room for the longest
answer in the context counts as wrong and is counted, and so are answers cut off at the length
limit, which are graded as they stand (unended thinking as wrong)."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.errors import BadInput
from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG
from common.intervals import wilson
from evals.config import SuiteConfig
from prompts.schema import Prompt
from rewards.grade import grade

UNKNOWN_VERIFIER = "unknown_verifier"
COUNTED = (None, TOO_LONG, CUT_OFF)
"""The faults of answers that are part of the score, as wrong ones."""
SHOTS, TEMPERATURE = 0, 0.0
_log = logging.getLogger(__name__)


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
        self,
        prompts: list[list[int]],
        *,
        samples: int,
        temperature: float,
        max_tokens: int,
        seeds: list[int],
    ) -> Sequence[Sequence[Sampled]]: ...


@dataclass(frozen=True)
class Answer:
    """One line of `answers.jsonl`."""

    suite: str
    id: str
    capability: str
    correct: bool
    fault: str | None
    """`too_long`, `not_encoded`, `unknown_verifier`, `cut_off` (thinking without an end), or the
    verifier's `verifier_crash` or `timeout`."""
    answer: str | None
    """What was read out of the text."""
    reference: str
    text: str
    tokens: int
    """Tokens generated."""
    finish: str | None
    """`stop` or `length`; None if the prompt was not asked."""

    @property
    def counts(self) -> bool:
        """Whether it is part of the score: not if it could not be asked or graded."""
        return self.fault in COUNTED


def ask(
    engine: Asker,
    suite: SuiteConfig,
    prompts: Sequence[Prompt],
    batch: int,
    asked: Callable[[int], None],
) -> list[Answer]:
    """Ask `prompts` in batches of `batch`; `asked(count)` is called after each. Answers are in the
    prompts' order."""
    answers: list[Answer] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        answers += _ask_batch(engine, suite, part)
        asked(len(part))
    return answers


def _ask_batch(engine: Asker, suite: SuiteConfig, prompts: Sequence[Prompt]) -> Iterator[Answer]:
    encoded = [_encoded(engine, prompt) for prompt in prompts]
    room = engine.max_model_len - suite.answer_length()
    askable = [tokens for tokens in encoded if tokens and len(tokens) <= room]
    groups: Sequence[Sequence[Sampled]] = []
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
            yield _unasked(suite.name, prompt, NOT_ENCODED)
        elif len(tokens) > room:
            yield _unasked(suite.name, prompt, TOO_LONG)
        else:
            yield _graded(suite.name, prompt, next(rollouts)[0])


def _encoded(engine: Asker, prompt: Prompt) -> list[int]:
    """The prompt's tokens; none where tokenizer or chat template raise on it."""
    try:
        return engine.encode(prompt.messages)
    except (
        Exception
    ) as error:  # a template is a program that came with the checkpoint: it may raise anything
        _log.warning("prompt %s cannot be encoded: %s: %s", prompt.id, type(error).__name__, error)
        return []


def _graded(suite: str, prompt: Prompt, rollout: Sampled) -> Answer:
    correct, fault, answer = _grade(prompt, rollout.text)
    return Answer(
        suite=suite,
        id=prompt.id,
        capability=prompt.capability,
        correct=correct,
        fault=fault,
        answer=answer,
        reference=prompt.answer,
        text=rollout.text,
        tokens=len(rollout.token_ids),
        finish=rollout.finish,
    )


def _grade(prompt: Prompt, text: str) -> tuple[bool, str | None, str | None]:
    """(correct, fault, what was read)."""
    try:
        result = grade(prompt, text)
    except BadInput as error:
        _log.warning("prompt %s cannot be graded: %s", prompt.id, error.message)
        return False, UNKNOWN_VERIFIER, None
    return result.correct, result.fault, result.answer


def _unasked(suite: str, prompt: Prompt, fault: str) -> Answer:
    return Answer(
        suite, prompt.id, prompt.capability, False, fault, None, prompt.answer, "", 0, None
    )


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """Score with its 95 % interval and counts, in all and by capability. A score is None where
    nothing was graded."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.capability, []).append(answer)
    return {
        **_counts(answers),
        "by_capability": {name: _counts(groups[name]) for name in sorted(groups)},
    }


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
        "cut_off": sum(answer.finish == "length" or answer.fault == CUT_OFF for answer in answers),
    }


def remarks(suite: SuiteConfig, answers: Sequence[Answer], max_model_len: int) -> list[str]:
    """What a person should know of a suite's answers before they read its score, a sentence
    each."""
    count = len(answers)
    if not count:
        return [f"{suite.name} has no prompts, and so no score"]
    faults = Counter(answer.fault for answer in answers if answer.fault)
    long, thinking, said = faults.pop(TOO_LONG, 0), faults.pop(CUT_OFF, 0), []
    if long:
        said.append(
            f"{suite.name}: {long} of {count} prompts leave no room for answers of"
            f" {suite.answer_length()} tokens in max_model_len ({max_model_len}) and count as wrong"
        )
    if thinking:
        said.append(
            f"{suite.name}: {thinking} of {count} answers never ended their thinking and count as"
            f" wrong; raise the suite's max_tokens ({suite.answer_length()})"
        )
    if faults:
        named = ", ".join(f"{fault} {number}" for fault, number in sorted(faults.items()))
        left = "it has no score" if faults.total() == count else "they are left out of the score"
        said.append(
            f"{suite.name}: {faults.total()} of {count} answers could not be judged ({named});"
            f" {left}"
        )
    return said


def protocol(suites: Sequence[SuiteConfig]) -> dict[str, Any]:
    """How the figures came about, for the results file."""
    return {
        "shots": SHOTS,
        "temperature": TEMPERATURE,
        "samples": 1,
        "interval": "Wilson, 95 %",
        "suites": {
            suite.name: {
                "limit": suite.limit,
                "max_tokens": suite.answer_length(),
                "system": suite.system,
            }
            for suite in suites
        },
    }

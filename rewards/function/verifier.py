"""The verifier `function`: `score(prompt, answer)` of the user's own file.

The function runs in processes of its own, with the user's rights. Whatever it does wrong is a fault
of the answer, and the log says what: an exception, a value that is no number from 0 to 1, no result
within the time limit, the end of its process."""

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from common.errors import BadInput
from common.faults import NO_REWARD
from prompts.function_part import StoredFunction
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.function.source import EXAMPLE, PARAMETERS, problem_of
from rewards.interface import Answer, OpenVerifier, Resources, Result, Verifier
from rewards.workers.pool import Outcome, Pool
from rewards.workers.worker import LoadFailed, Program

LOGGED = 20
"""Faults of a kind that the log explains."""
SHOWN = 10_000
"""Characters of what the function prints that are shown."""
_log = logging.getLogger(__name__)


class Function(Verifier):
    """The verifier, for any file and function."""

    slow = True

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """Load the file, once for all prompts. The reference answer is not tried: a function need
        not give it the full reward."""
        part = _stored(part)
        problem = _load_problem(part.file, part.source, part.function)
        if problem is not None:
            raise BadInput(*problem)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        part = _stored(part)
        program = Program(part.file, part.source, part.function, PARAMETERS)
        return OpenFunction(part, _opened(program, max(1, resources.threads)))


def _opened(program: Program, size: int) -> Pool:
    """Processes that have loaded the program. BadInput where it cannot be loaded."""
    problem = problem_of(program.name, program.source, program.function)
    if problem is not None:
        raise BadInput(*problem)
    pool = Pool(program, size)
    try:
        pool.open()
    except BaseException as error:
        pool.close()
        if not isinstance(error, LoadFailed):
            raise
        if error.trace:
            _log.warning("%s cannot be loaded\n%s", program.name, error.trace)
        place = f"{program.name}:{error.line}" if error.line else program.name
        raise BadInput(
            f"{place}: cannot be loaded: {error.reason}",
            f"correct the file; it has to define `{EXAMPLE.format(program.function)}`",
        ) from error
    return pool


@lru_cache(maxsize=16)  # every prompt of a source asks
def _load_problem(name: str, source: str, function: str) -> tuple[str, str] | None:
    """Why a file cannot be loaded, and the remedy; None if it can."""
    try:
        _opened(Program(name, source, function, PARAMETERS), 1).close()
    except BadInput as error:
        return error.message, error.remedy
    return None


class OpenFunction(OpenVerifier):
    """A function whose processes run."""

    def __init__(self, part: StoredFunction, pool: Pool) -> None:
        self._part, self._pool = part, pool
        self._explained, self._shown, self._lock = Counter[str](), 0, Lock()

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        given = fields_of(prompt)
        return [self._result(prompt, given, answer.text) for answer in answers]

    def close(self) -> None:
        self._pool.close()

    def _result(self, prompt: Prompt, given: dict[str, Any], text: str) -> Result:
        outcome = self._pool.call([given, text], self._part.time_limit_s)
        self._show(outcome.printed)
        if outcome.wrong is None and is_reward(outcome.value):
            return Result(float(outcome.value))
        fault, what = _fault(outcome)
        name = f"{self._part.function} of {self._part.file}"
        self._explain(fault, f"{name} on {prompt.named} and the answer {text!r:.200}: {what}")
        return Result(fault=fault)

    def _explain(self, fault: str, sentence: str) -> None:
        with self._lock:
            self._explained[fault] += 1
            count = self._explained[fault]
        if count <= LOGGED:
            _log.warning("%s", sentence)
        if count == LOGGED:
            _log.warning("further answers with the fault %s are counted only", fault)

    def _show(self, printed: str) -> None:
        """Pass on what the function prints, up to a limit: it is there to find mistakes."""
        if not printed:
            return
        with self._lock:
            room = SHOWN - self._shown
            self._shown += len(printed)
        if room > 0:
            print(printed[:room], file=sys.stderr, end="" if printed.endswith("\n") else "\n")
        if 0 < room <= len(printed):
            print("(what the function prints further is not shown)", file=sys.stderr)


def is_reward(value: Any) -> bool:
    """Whether the value is a number from 0 to 1; true and false are 1 and 0."""
    return isinstance(value, (bool, int, float)) and 0 <= value <= 1


def fields_of(prompt: Prompt) -> dict[str, Any]:
    """What the function gets of a prompt, as plain JSON values."""
    return {
        "id": prompt.id,
        "messages": prompt.messages,
        "answer": prompt.answer,
        "solution": prompt.solution,
        "capability": prompt.capability,
        "metadata": prompt.metadata,
    }


def _fault(outcome: Outcome) -> tuple[str, str]:
    """The fault's name, and what happened."""
    if outcome.wrong == "timeout":
        return "timeout", outcome.detail
    if outcome.wrong == "crash":
        return "verifier_crash", outcome.detail
    value = outcome.detail if outcome.wrong == "unfit" else repr(outcome.value)
    return NO_REWARD, f"it returned {value:.200}, which is no number from 0 to 1"


def _stored(part: RewardPart) -> StoredFunction:
    assert isinstance(part, StoredFunction), part
    return part

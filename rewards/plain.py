"""Verifiers that are a function of prompt and text, with a time limit.

In the main thread the verifier is called here, and a signal ends what takes too long. No signal
reaches another thread: there, as while rollouts are collected beside training, a process of its own
is asked, which is killed where a library holds on to it beyond its own limit."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock, current_thread, main_thread
from typing import Any

from prompts.part import RewardPart
from prompts.parts import ReasoningGymPart
from prompts.reasoning_gym_source import library_module
from prompts.schema import Prompt
from rewards.expressions import load_library
from rewards.interface import (
    BAD_REFERENCE,
    Answer,
    BadReference,
    OpenVerifier,
    Resources,
    Result,
    Verifier,
)
from rewards.limits import TimeLimit, time_limit
from rewards.verifiers import VERIFIERS
from rewards.workers.pool import Pool
from rewards.workers.worker import Program

SECONDS = 10.0
"""Time limit of a verifier for one answer."""
LONGER = 5.0
"""Seconds that a process has beyond the limit, to end what it does by itself."""
LIBRARIES: dict[str, Callable[[], object]] = {
    "math": load_library,
    "reasoning_gym": library_module,
}
"""What imports the library of a verifier, by its name. An import takes seconds, and more on a busy
machine: it is no part of the time of the first answer."""
_log = logging.getLogger(__name__)


def program(name: str) -> Program:
    """A process that grades with one verifier; its library is imported before it is asked."""
    return Program(
        "plain",
        f"from rewards.plain import in_process, load; load({name!r})",
        "in_process",
        ("verifier", "prompt", "text", "seconds"),
        (str(Path(__file__).parents[1]),),
    )


class Plain(Verifier):
    """One of `rewards.verifiers.VERIFIERS`."""

    slow = False

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        return OpenPlain(self.name, max(1, resources.threads))

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """In the main thread."""
        load(self.name)
        try:
            with time_limit(SECONDS):
                VERIFIERS[self.name](prompt, "")
        except TimeLimit:
            raise BadReference(
                f"is not read within {SECONDS:g} s",
                "write it more simply, or take another verifier",
            ) from None
        result = graded(self.name, prompt, prompt.answer, SECONDS)
        if result.fault is None and result.reward >= 1.0:
            return
        why = result.fault or f"reward {result.reward:g}"
        raise BadReference(
            f"is not accepted by its own verifier ({why}), so no attempt could be right",
            "correct the answer or take another verifier",
        )


class ReasoningGym(Plain):
    """The scorers of reasoning-gym, with partial credit if the part asks for it."""

    def __init__(self) -> None:
        super().__init__("reasoning_gym")

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        if "family" not in prompt.metadata:
            raise BadReference(
                "answers no task that reasoning-gym made, and others cannot be scored",
                "name another verifier",
            )
        super().check(prompt, part)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, ReasoningGymPart)
        verifier = super().open(part, resources)
        return verifier if part.partial else FullScores(verifier)


class FullScores(OpenVerifier):
    """A verifier whose partial credit counts for nothing."""

    def __init__(self, verifier: OpenVerifier) -> None:
        self._verifier = verifier

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        results = self._verifier.grade(prompt, answers)
        return [replace(result, reward=float(result.reward >= 1.0)) for result in results]

    def close(self) -> None:
        self._verifier.close()


class OpenPlain(OpenVerifier):
    """A verifier that can be called in any thread. Processes are started when they are needed."""

    def __init__(self, name: str, processes: int) -> None:
        self._name, self._processes = name, processes
        self._pool: Pool | None = None
        self._lock = Lock()

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        if current_thread() is main_thread():
            return [graded(self._name, prompt, answer.text, SECONDS) for answer in answers]
        with self._lock:
            self._pool = self._pool or Pool(program(self._name), self._processes)
        given = asdict(replace(prompt, rewards=()))
        return [self._elsewhere(self._pool, given, answer.text) for answer in answers]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def _elsewhere(self, pool: Pool, given: dict[str, Any], text: str) -> Result:
        outcome = pool.call([self._name, given, text, SECONDS], SECONDS + LONGER)
        if outcome.printed:  # the traceback of a crash
            print(outcome.printed, file=sys.stderr)
        if outcome.wrong is None:
            return Result(*outcome.value)
        if outcome.wrong == "timeout":
            return Result(fault="timeout")
        _log.warning("verifier %s crashed on %s: %s", self._name, given["id"], outcome.detail)
        return Result(fault="verifier_crash")


def in_process(name: str, given: dict[str, Any], text: str, seconds: float) -> list[Any]:
    """What `graded` says, as plain JSON; called in a process of its own."""
    result = graded(name, Prompt(**given), text, seconds)
    return [result.reward, result.read, result.fault]


def load(name: str) -> None:
    """Import the library of a verifier, if it has one and was not asked before."""
    if name in LIBRARIES:
        LIBRARIES[name]()


def graded(name: str, prompt: Prompt, text: str, seconds: float) -> Result:
    """What a verifier says of a text, or the fault that it came to."""
    try:
        load(name)
        with time_limit(seconds):
            reward, read = VERIFIERS[name](prompt, text)
        if not math.isfinite(reward):
            raise ValueError(f"its reward is {reward}")
    except TimeLimit:
        return Result(fault="timeout")
    except BadReference:
        return Result(fault=BAD_REFERENCE)
    except Exception:  # any crash of a verifier, ours or a library's, is a fault, no end
        _log.warning("verifier %s crashed on %s", name, prompt.named, exc_info=True)
        return Result(fault="verifier_crash")
    return Result(min(1.0, max(0.0, reward)), read)

"""Verifiers that are a function of prompt and text, in the calling thread and with a time limit."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from prompts.parts import ReasoningGymPart, RewardPart
from prompts.schema import Prompt
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

SECONDS = 10.0
"""Time limit of a verifier for one answer."""
_log = logging.getLogger(__name__)


class Plain(Verifier, OpenVerifier):
    """One of `rewards.verifiers.VERIFIERS`. It is always open."""

    slow = False

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        return self

    def close(self) -> None:
        """Nothing was started."""

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        VERIFIERS[self.name](prompt, "")
        result = self._graded(prompt, prompt.answer)
        if result.fault is None and result.reward >= 1.0:
            return
        why = result.fault or f"reward {result.reward:g}"
        raise BadReference(
            f"is not accepted by its own verifier ({why}), so no attempt could be right",
            "correct the answer or take another verifier",
        )

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        return [self._graded(prompt, answer.text) for answer in answers]

    def _graded(self, prompt: Prompt, text: str) -> Result:
        try:
            with time_limit(SECONDS):
                reward, read = VERIFIERS[self.name](prompt, text)
        except TimeLimit:
            return Result(fault="timeout")
        except BadReference:
            return Result(fault=BAD_REFERENCE)
        except Exception:  # any crash of a verifier, ours or a library's, is a fault, no end
            _log.warning("verifier %s crashed on %s", self.name, prompt.named, exc_info=True)
            return Result(fault="verifier_crash")
        return Result(min(1.0, max(0.0, reward)), read)


class ReasoningGym(Plain):
    """The scorers of reasoning-gym, with partial credit if the part asks for it."""

    def __init__(self, partial: bool = False) -> None:
        super().__init__("reasoning_gym")
        self.partial = partial

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, ReasoningGymPart)
        return ReasoningGym(part.partial)

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        results = super().grade(prompt, answers)
        if self.partial:
            return results
        return [replace(result, reward=float(result.reward >= 1.0)) for result in results]

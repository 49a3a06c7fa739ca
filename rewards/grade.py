"""Grading one completion. A fault (the verifier crashed or ran out of time) is never a reward of zero."""

import logging
from dataclasses import dataclass

from common.errors import BadInput
from prompts.schema import Prompt
from rewards.limits import TimeLimit, time_limit
from rewards.verifiers import VERIFIERS, check_verifier

__all__ = ["SECONDS", "VERIFIERS", "Grade", "check_prompt", "check_verifier", "grade"]

SECONDS = 10.0
"""Longest that a verifier may take for one completion."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a verifier said."""

    reward: float
    """0 to 1; meaningless when `fault` is set. Some reasoning-gym families give partial credit."""
    fault: str | None
    """`verifier_crash` or `timeout`; None if the verifier could tell."""
    answer: str | None
    """What was read out of the completion; None with a fault."""

    @property
    def correct(self) -> bool:
        """Full reward: partial credit is not correct."""
        return self.fault is None and self.reward >= 1.0


def grade(prompt: Prompt, completion: str) -> Grade:
    """Grade `completion` by the prompt's verifier. Raises BadInput on an unknown verifier, nothing else."""
    check_verifier(prompt.verifier)
    try:
        with time_limit(SECONDS):
            reward, answer = VERIFIERS[prompt.verifier](prompt, completion)
    except TimeLimit:
        return Grade(0.0, "timeout", None)
    except Exception:  # any crash of a grader, ours or a library's, is a fault to count, not a reason to stop
        _log.warning("verifier %s crashed on %s", prompt.verifier, prompt.named, exc_info=True)
        return Grade(0.0, "verifier_crash", None)
    return Grade(min(1.0, max(0.0, reward)), None, answer)


def check_prompt(prompt: Prompt) -> None:
    """Raise BadInput unless the prompt's verifier exists and accepts the prompt's own reference answer."""
    try:
        check_verifier(prompt.verifier)
    except BadInput as error:
        raise BadInput(f"{prompt.named}: {error.message}", error.remedy) from error
    result = grade(prompt, prompt.answer)
    if not result.correct:
        said = result.fault or f"reward {result.reward:g}"
        raise BadInput(
            f"{prompt.named}: verifier {prompt.verifier} does not accept its reference answer "
            f"{prompt.answer!r:.80} ({said}), so no attempt could be right",
            "correct the answer or take another verifier",
        )

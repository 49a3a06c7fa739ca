"""Grades one completion. A fault (the verifier crashed or exceeded its time limit) is not a reward
of zero."""

import logging
from dataclasses import dataclass

from common.errors import BadInput
from common.faults import CUT_OFF
from common.thinking import answer_part
from prompts.schema import Prompt
from rewards.limits import TimeLimit, time_limit
from rewards.verifiers import VERIFIERS, BadReference, check_verifier

__all__ = ["CUT_OFF", "SECONDS", "VERIFIERS", "Grade", "check_prompt", "check_verifier", "grade"]

BAD_REFERENCE = "bad_reference"
"""The fault of every completion whose verifier cannot use the reference answer."""

SECONDS = 10.0
"""Time limit of a verifier for one completion."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grade:
    """A verifier's result."""

    reward: float
    """0 to 1; meaningless when `fault` is set. Some reasoning-gym families give partial credit."""
    fault: str | None
    """`verifier_crash`, `timeout`, `bad_reference` or `cut_off` (unclosed thinking); None if it was
    graded."""
    answer: str | None
    """The answer found in the completion; None with a fault."""

    @property
    def correct(self) -> bool:
        """Full reward: partial credit is not correct."""
        return self.fault is None and self.reward >= 1.0


def grade(prompt: Prompt, completion: str) -> Grade:
    """Grade `completion` without its thinking by the prompt's verifier. Raises only BadInput, on an
    unknown verifier."""
    check_verifier(prompt.verifier)
    is_reference = completion.strip() == prompt.answer.strip()
    text = completion if is_reference else answer_part(completion)
    if text is None:
        return Grade(0.0, CUT_OFF, None)
    try:
        with time_limit(SECONDS):
            reward, answer = VERIFIERS[prompt.verifier](prompt, text)
    except TimeLimit:
        return Grade(0.0, "timeout", None)
    except BadReference:
        return Grade(0.0, BAD_REFERENCE, None)
    except Exception:  # any crash of a verifier, ours or a library's, is a fault and does not stop
        _log.warning("verifier %s crashed on %s", prompt.verifier, prompt.named, exc_info=True)
        return Grade(0.0, "verifier_crash", None)
    return Grade(min(1.0, max(0.0, reward)), None, answer)


def check_prompt(prompt: Prompt) -> None:
    """Raise BadInput unless the prompt's verifier exists and accepts the prompt's own reference
    answer."""
    try:
        check_verifier(prompt.verifier)
    except BadInput as error:
        raise BadInput(f"{prompt.named}: {error.message}", error.remedy) from error
    result = grade(prompt, prompt.answer)
    if result.correct:
        return
    message = (
        f"{prompt.named}: verifier {prompt.verifier} does not accept its reference answer"
        f" {prompt.answer!r:.80}"
    )
    remedy = "correct the answer or take another verifier"
    if result.fault == BAD_REFERENCE:
        reason, remedy = reference_problem(prompt)
        raise BadInput(f"{message}: it {reason}", remedy)
    raise BadInput(
        f"{message} ({result.fault or f'reward {result.reward:g}'}), so no attempt could be right",
        remedy,
    )


def reference_problem(prompt: Prompt) -> tuple[str, str]:
    """Why the prompt's verifier cannot use its reference answer, and what to do; empty texts if it
    can."""
    try:
        VERIFIERS[prompt.verifier](prompt, "")
    except BadReference as error:
        return error.reason, error.remedy
    return "", ""

"""Grades one completion by verifiers that need nothing open, and checks prompts.

A fault (the verifier crashed or exceeded its time limit) is not a reward of zero."""

from pydantic import ValidationError

from common.errors import BadInput
from common.faults import CUT_OFF
from prompts.parts import RewardPart
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rewards.interface import BAD_REFERENCE, BadReference
from rewards.kinds import KINDS, Kinds, kind_of
from rewards.plain import SECONDS
from rewards.verifiers import VERIFIERS

__all__ = ["BAD_REFERENCE", "CUT_OFF", "SECONDS", "VERIFIERS", "Grade", "check_prompt", "grade"]
_plain = Grader()


def grade(prompt: Prompt, completion: str) -> Grade:
    """Grade `completion` without its thinking. Raises only BadInput, on an unknown verifier."""
    return _plain(prompt, completion)


def check_verifier(name: str) -> None:
    """Raise BadInput unless `name` is a verifier."""
    kind_of(name)


def check_prompt(prompt: Prompt, kinds: Kinds = KINDS) -> None:
    """Raise BadInput unless the verifiers of the prompt exist and can grade it."""
    for part in _parts(prompt):
        try:
            kind_of(part.verifier, kinds).check(prompt, part)
        except BadInput as error:
            raise BadInput(f"{prompt.named}: {error.message}", error.remedy) from error
        except BadReference as error:
            message = (
                f"{prompt.named}: verifier {part.verifier} does not accept its reference answer"
                f" {prompt.answer!r:.80}: it {error.reason}"
            )
            raise BadInput(message, error.remedy) from error


def _parts(prompt: Prompt) -> list[RewardPart]:
    try:
        return prompt.parts
    except ValidationError as error:  # a recipe's own parts are valid: a row names the verifier
        raise BadInput(
            f"{prompt.named}: the verifier {prompt.verifier!r} needs settings, and a row has none",
            "leave the verifier out of the rows, and name it with its settings in the source's"
            " `rewards`",
        ) from error


def reference_problem(prompt: Prompt) -> tuple[str, str]:
    """Why the prompt's verifier cannot use its reference answer, and what to do; empty texts if it
    can."""
    try:
        VERIFIERS[prompt.verifier](prompt, "")
    except BadReference as error:
        return error.reason, error.remedy
    return "", ""

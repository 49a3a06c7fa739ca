"""Grades one completion by verifiers that need nothing open, and checks prompts.

A fault (the verifier crashed or exceeded its time limit) is not a reward of zero."""

from common.errors import BadInput
from common.faults import CUT_OFF
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rewards.interface import BAD_REFERENCE, BadReference
from rewards.kinds import KINDS, Kinds, kind_of
from rewards.plain import SECONDS, Plain
from rewards.verifiers import VERIFIERS

__all__ = ["BAD_REFERENCE", "CUT_OFF", "SECONDS", "VERIFIERS", "Grade", "check_prompt", "grade"]
_plain = Grader()


def grade(prompt: Prompt, completion: str) -> Grade:
    """Grade `completion` without its thinking. Raises only BadInput, on an unknown verifier."""
    return _plain(prompt, completion)


def check_prompt(prompt: Prompt, kinds: Kinds = KINDS) -> None:
    """Raise BadInput unless the verifiers of the prompt exist and can grade it."""
    try:
        for part in prompt.parts:
            check_part(prompt, part, kinds)
    except BadInput as error:
        raise BadInput(f"{prompt.named}: {error.message}", error.remedy) from error


def check_part(prompt: Prompt, part: RewardPart, kinds: Kinds = KINDS) -> None:
    """Raise BadInput, without the prompt's name, unless a part's verifier can grade the prompt."""
    kind = kind_of(part.verifier, kinds)
    try:
        kind.check(prompt, part)
    except BadReference as error:
        said = "cannot grade it"
        if isinstance(kind, Plain):  # the others say what the prompt lacks
            said = f"does not accept its reference answer {prompt.answer!r:.80}"
        message = f"verifier {part.verifier} {said}: it {error.reason}"
        raise BadInput(message, error.remedy) from error

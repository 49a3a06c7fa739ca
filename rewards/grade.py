"""Grades one completion by verifiers that need nothing open, and checks prompts.

A fault (the verifier crashed or exceeded its time limit) is not a reward of zero."""

from common.errors import BadInput
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rewards.interface import BadReference
from rewards.kinds import KINDS, Kinds, kind_of

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
    try:
        kind_of(part.verifier, kinds).check(prompt, part)
    except BadReference as error:
        raise BadInput(f"verifier {part.verifier} {error.about(prompt)}", error.remedy) from error

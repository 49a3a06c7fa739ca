"""The verifiers that this package knows, by the names that a recipe gives them.

`stages/grading.py` adds those that ask a judge."""

from collections.abc import Mapping

from common.errors import BadInput
from prompts.parts import NOT_GRADED
from rewards.code.verifier import Code
from rewards.format import Format
from rewards.function.verifier import Function
from rewards.instructions.verifier import Instructions
from rewards.interface import Verifier
from rewards.language import Language
from rewards.length import Length
from rewards.plain import Plain, ReasoningGym
from rewards.ungraded import Ungraded
from rewards.verifiers import VERIFIERS

Kinds = Mapping[str, Verifier]
KINDS: dict[str, Verifier] = {
    **{name: Plain(name) for name in VERIFIERS},
    "code": Code(),
    "format": Format(),
    "instructions": Instructions(),
    "language": Language(),
    "reasoning_gym": ReasoningGym(),
    "length": Length(),
    "function": Function(),
    NOT_GRADED: Ungraded(),
}


def kind_of(name: str, kinds: Kinds = KINDS) -> Verifier:
    """The verifier of a name. Raises BadInput where there is none."""
    if name not in kinds:
        raise BadInput(
            f"no verifier is named {name!r}", f"the verifiers are: {', '.join(sorted(kinds))}"
        )
    return kinds[name]

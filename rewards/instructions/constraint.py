"""What a constraint is: its id, its arguments, and whether a text follows it."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from common.config import Config, Text

Relation = Literal["less than", "at least", "at most", "more than", "exactly"]
"""How a count is compared. IFEval has the first two."""
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "less than": lambda given, wanted: given < wanted,
    "at least": lambda given, wanted: given >= wanted,
    "at most": lambda given, wanted: given <= wanted,
    "more than": lambda given, wanted: given > wanted,
    "exactly": lambda given, wanted: given == wanted,
}


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Count = Annotated[int, Field(ge=0)]
Position = Annotated[int, Field(ge=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_texts), Field(min_length=1)]


class Constraint(Config):
    """One constraint; the fields of a class derived from it are its arguments."""

    id: ClassVar[str]
    """Name, as IFEval or IFBench has it."""
    example: ClassVar[str] = ""
    """Its arguments as one would write them, in JSON; empty if it has none."""

    def followed(self, text: str) -> bool:
        """Whether `text`, which is not blank, follows it."""
        raise NotImplementedError


def holds(given: float, relation: Relation, wanted: float) -> bool:
    """Whether `given` is `relation` `wanted`: `holds(3, "at least", 2)`."""
    return _HOLDS[relation](given, wanted)

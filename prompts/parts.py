"""The parts of a reward, as a recipe names them; light, loads no verifier.

A reward is the weighted mean of its parts. Each part is a verifier with its settings: the verifier
`code` is described by `CodePart`, and so on. A verifier without settings is a `PlainPart`."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from common.config import Config, Text


class RewardPart(Config):
    """Fields of every part."""

    verifier: str
    weight: float = Field(default=1.0, gt=0)
    """Weight of the part in the reward, which is the weighted mean of all parts."""
    name: Text | None = Field(default=None, examples=["unit_tests"])
    """Name of the part in metrics and tables; not set: the verifier's. Needed where a verifier
    occurs twice."""

    @property
    def label(self) -> str:
        """Its name in metrics and tables."""
        return self.name or self.verifier

    def stored(self) -> dict[str, Any]:
        """The part as plain JSON values, without what has its default."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return {"verifier": self.verifier, **data}


class PlainPart(RewardPart):
    """A verifier without settings."""

    verifier: Literal["choice", "exact", "math", "number", "reasoning_gym"]


CLASSES: tuple[type[RewardPart], ...] = (PlainPart,)
"""The classes of all parts. A verifier with settings adds its class here and to `Part`."""
Part = PlainPart
"""One part of a reward, as a recipe gives it."""


def read_part(data: Mapping[str, Any]) -> RewardPart:
    """The part that `RewardPart.stored` wrote. A name that no class has is a part without
    settings."""
    for kind in CLASSES:
        if data["verifier"] in get_args(kind.model_fields["verifier"].annotation):
            return kind.model_validate(data)
    return RewardPart.model_validate(data)

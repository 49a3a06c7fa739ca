"""The parts of a reward, as a recipe names them; light, loads no verifier.

A reward is the weighted mean of its parts. Each part is a verifier with its settings: the verifier
`code` is described by `CodePart`, and so on. A verifier without settings is a `PlainPart`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from common.config import Config, InvalidValue, Text


class RewardPart(Config):
    """Fields of every part."""

    verifier: str
    """Name of the verifier."""
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

    verifier: Literal["choice", "exact", "math", "number"]


class ReasoningGymPart(RewardPart):
    """The family's own scorer."""

    verifier: Literal["reasoning_gym"]
    partial: bool = False
    """Whether the family's partial credit is the reward; else the reward is 1 for a full score and
    0 for any other."""


class LengthPart(RewardPart):
    """Soft penalty of long answers (DAPO): 1 up to `limit` tokens, from there falling linearly to 0
    at `cut_off`."""

    verifier: Literal["length"]
    limit: int = Field(ge=1, examples=[384])
    """Tokens up to which an answer, its thinking included, is not penalised."""
    cut_off: int = Field(ge=2, examples=[512])
    """Tokens from which the penalty is full."""

    @model_validator(mode="after")
    def _the_penalty_falls(self) -> "LengthPart":
        if self.limit >= self.cut_off:
            message = f"limit ({self.limit}) is not less than cut_off ({self.cut_off})"
            raise InvalidValue(message, f"write for example `cut_off: {self.limit + 128}`")
        return self


CLASSES: tuple[type[RewardPart], ...] = (PlainPart, ReasoningGymPart, LengthPart)
"""The classes of all parts. A verifier with settings adds its class here and to `Part`."""
Part = Annotated[PlainPart | ReasoningGymPart | LengthPart, Field(discriminator="verifier")]
"""One part of a reward, as a recipe gives it."""


def names_of(kind: type[RewardPart]) -> tuple[str, ...]:
    """The verifiers that a class of parts describes."""
    return get_args(kind.model_fields["verifier"].annotation)


NOT_GRADED = "none"
"""In place of a verifier: of a demonstration, whose `answer` is the assistant's last turn."""
NAMES = tuple(name for kind in CLASSES for name in names_of(kind))
"""The verifiers that a recipe can name."""


def needed_settings(verifier: str) -> list[str]:
    """The settings that a verifier cannot do without; `verifier` is one of NAMES."""
    fields = next(kind for kind in CLASSES if verifier in names_of(kind)).model_fields
    return [name for name, field in fields.items() if field.is_required() and name != "verifier"]


def read_part(data: Mapping[str, Any]) -> RewardPart:
    """The part that `RewardPart.stored` wrote. A name that no class has is a part without
    settings."""
    for kind in CLASSES:
        if data["verifier"] in names_of(kind):
            return kind.model_validate(data)
    return RewardPart.model_validate(data)

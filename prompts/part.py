"""What every part of a reward has in a recipe; light, loads no verifier."""

from typing import Any

from pydantic import Field

from common.config import Config, Text


class RewardPart(Config):
    """Fields of every part."""

    verifier: str
    """Name of the verifier."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the part in the reward, which is the weighted mean of all parts. A part of weight 0
    is logged, and trains nothing."""
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

"""Settings of the curriculum."""

from pydantic import Field, model_validator

from common.config import Config


class CurriculumConfig(Config):
    """Which prompts the policy practises on, and how its own results keep changing that."""

    band: tuple[float, float] = (0.2, 0.8)
    """Pass rates that count as medium difficulty (low, high)."""
    explore: float = Field(default=0.1, gt=0, le=1)
    """Share of draws taken at random from all active prompts, so that no estimate goes unchecked."""
    decay: float = Field(default=0.95, gt=0, le=1)
    """Factor on old evidence a policy version: 1 never forgets."""
    max_rounds: int = Field(default=3, ge=1)
    """Rounds of generation in one step before training goes on with fewer groups than asked."""
    refilter_every: int = Field(default=10, ge=1)
    """Steps between re-filterings of the pool by the policy."""
    probes: int = Field(default=32, ge=1)
    """Prompts that one re-filtering probes: those whose estimate is oldest or least certain."""
    probe_attempts: int = Field(default=4, ge=1)
    """Rollouts a probed prompt."""
    retire_above: float = Field(default=0.9, gt=0, lt=1)
    """A prompt whose pass rate is believed above this rests until a review recalls it."""
    review: float = Field(default=0.02, ge=0, le=1)
    """Share of the retired prompts that a re-filtering also probes."""

    @model_validator(mode="after")
    def _band_is_ordered(self) -> "CurriculumConfig":
        low, high = self.band
        if not 0 <= low < high <= 1:
            raise ValueError(f"band needs 0 <= low < high <= 1, got [{low}, {high}]")
        if self.retire_above < high:
            raise ValueError(f"retire_above ({self.retire_above}) lies inside the band, whose upper end is {high}")
        return self

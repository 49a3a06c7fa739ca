"""Settings of the curriculum, one class a kind."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from common.config import Config, InvalidValue


class _Common(Config):
    decay: float = Field(default=0.95, gt=0, le=1)
    """Factor on old evidence a policy version: 1 never forgets."""
    trained_decay: float = Field(default=0.5, gt=0, le=1)
    """Factor on a prompt's own evidence when it is trained on, which moves its pass rate more than
    others'."""
    shares: Mapping[str, float] = Field(
        default_factory=dict, examples=[{"arithmetic": 0.7, "spelling": 0.3}]
    )
    """Share of each capability in what is trained on; empty: as in the pool."""
    empty_steps: int = Field(default=5, ge=1)
    """Steps in a row without a group to learn from after which the run stops."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> "_Common":
        if self.shares and (
            min(self.shares.values()) < 0 or not 0.999 < sum(self.shares.values()) < 1.001
        ):
            message = f"shares must be positive and add up to 1, got {dict(self.shares)}"
            raise InvalidValue(
                message, "write for example `shares: {arithmetic: 0.7, spelling: 0.3}`"
            )
        return self

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        """Most rollouts of a stage that asks for `groups` groups per step from a pool of `pool`
        prompts; None where that depends on an unknown pool."""
        return steps * groups * group_size


class Uniform(_Common):
    """Prompts at random; every group counts in the loss, those without a spread of rewards as zeros
    (GRPO)."""

    kind: Literal["uniform"] = "uniform"


class DropZeroVariance(_Common):
    """Prompts at random; groups without a spread of rewards are left out of the loss and its
    normalisation."""

    kind: Literal["drop_zero_variance"] = "drop_zero_variance"


class DynamicSampling(_Common):
    """Prompts at random, whole batches of them until enough groups have a spread; the surplus is
    dropped (DAPO)."""

    kind: Literal["dynamic_sampling"] = "dynamic_sampling"
    max_rounds: int = Field(default=10, ge=1)
    """Batches in one step before training goes on with fewer groups than asked."""

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        return steps * groups * group_size * self.max_rounds


class _Banded(_Common):
    band: tuple[float, float] = (0.2, 0.8)
    """Pass rates that count as medium difficulty (low, high)."""
    refilter_every: int = Field(default=10, ge=1)
    """Steps between re-filterings of the pool by the policy."""
    probe_attempts: int = Field(default=4, ge=1)
    """Rollouts a probed prompt."""

    @model_validator(mode="after")
    def _band_is_ordered(self) -> "_Banded":
        low, high = self.band
        if not 0 <= low < high <= 1:
            message = f"band needs 0 <= low < high <= 1, got [{low}, {high}]"
            raise InvalidValue(message, "write for example `band: [0.2, 0.8]`")
        return self


class Refilter(_Banded):
    """Llama 4's recipe to the letter: every so many steps the policy tries the whole pool, and
    practises at random on what lies in the band until the next time."""

    kind: Literal["refilter"] = "refilter"

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        if pool is None:
            return None
        probes = math.ceil(steps / self.refilter_every) * pool * self.probe_attempts
        return steps * groups * group_size + probes


class Posterior(_Banded):
    """Predict from what is remembered, pilot a few rollouts, commit the rest where they promise a
    spread."""

    kind: Literal["posterior"] = "posterior"
    prior: Literal["difficulty_groups", "judge"] = "difficulty_groups"
    """What an untried prompt is believed to be: what its kind turned out to be, or only what the
    judge said of it."""
    pilot: int = Field(default=2, ge=0)
    """Rollouts of a prompt before its group is committed to; 0 commits at once."""
    sure: float = Field(default=0.97, ge=0, le=1)
    """A prompt whose group is this likely to have a spread needs no pilot."""
    commit_above: float = Field(default=0.55, ge=0, lt=1)
    """Probability of a spread, after the pilot, from which on the rest of a group is rolled out."""
    largest_group: int = Field(default=0, ge=0)
    """Rollouts that a hard prompt's group may grow to; 0: groups do not grow."""
    explore: float = Field(default=0.05, gt=0, le=1)
    """Share of draws taken at random, the longest unseen more often, so that no estimate goes
    unchecked."""
    max_rounds: int = Field(default=4, ge=1)
    """Draws in one step before training goes on with fewer groups than asked."""
    raise_band: float = Field(default=0.1, ge=0, lt=1)
    """How far the band has moved to harder prompts when the pool is solved; in proportion
    before."""
    probe_share: float = Field(default=0.02, ge=0, lt=1)
    """Rollouts that re-filtering may spend, as a share of those that training asks for."""
    retire_above: float = Field(default=0.9, gt=0, lt=1)
    """A prompt whose pass rate is believed above this rests until a review recalls it."""
    review: float = Field(default=0.02, ge=0, le=1)
    """Share of the resting prompts that a re-filtering also probes, within its budget."""

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        probes = math.ceil(steps * groups * group_size * self.probe_share)
        return steps * groups * max(group_size, self.largest_group) * self.max_rounds + probes

    @model_validator(mode="after")
    def _rest_lies_above_the_band(self) -> "Posterior":
        if self.retire_above < self.band[1]:
            raise ValueError(
                f"retire_above ({self.retire_above}) lies inside the band, whose upper end is"
                f" {self.band[1]}"
            )
        return self


def _kind(value: Any) -> str:
    return str(
        value.get("kind", "posterior") if isinstance(value, dict) else getattr(value, "kind", None)
    )


CurriculumConfig = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[DropZeroVariance, Tag("drop_zero_variance")]
    | Annotated[DynamicSampling, Tag("dynamic_sampling")]
    | Annotated[Refilter, Tag("refilter")]
    | Annotated[Posterior, Tag("posterior")],
    Discriminator(_kind),
]
"""Which prompts the policy practises on, and how its own results keep changing that; `kind` is
`posterior` unless said otherwise."""

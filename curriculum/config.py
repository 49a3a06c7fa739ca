"""Settings of the curriculum, one class per kind."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from common.config import Config, InvalidValue


class _Common(Config):
    """Fields of every kind of curriculum."""

    decay: float = Field(default=0.95, gt=0, le=1)
    """Factor by which older evidence is discounted with each policy version; 1 never forgets."""
    trained_decay: float = Field(default=0.5, gt=0, le=1)
    """Factor by which a prompt's own evidence is discounted when it is trained on, which changes
    its pass rate more than those of other prompts."""
    shares: Mapping[str, float] = Field(
        default_factory=dict, examples=[{"arithmetic": 0.7, "spelling": 0.3}]
    )
    """Share of each capability in the prompts of a step; empty: as in the pool."""
    empty_steps: int = Field(default=5, ge=1)
    """Consecutive steps without a group to train on after which the run stops."""

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
        """Upper bound on the rollouts of a stage with `groups` groups per step and a pool of `pool`
        prompts; None if it depends on an unknown pool."""
        return steps * groups * group_size


class Uniform(_Common):
    """Prompts are drawn at random. Every group counts in the loss; a group without a spread of
    rewards has advantages of zero (GRPO)."""

    kind: Literal["uniform"] = "uniform"


class DropZeroVariance(_Common):
    """Prompts are drawn at random. Groups without a spread of rewards are left out of the loss and
    its normalisation."""

    kind: Literal["drop_zero_variance"] = "drop_zero_variance"


class DynamicSampling(_Common):
    """Whole batches of prompts are drawn at random until enough groups have a spread of rewards.
    Surplus groups are dropped (DAPO)."""

    kind: Literal["dynamic_sampling"] = "dynamic_sampling"
    max_rounds: int = Field(default=10, ge=1)
    """Largest number of batches per step. The step then trains on the groups it has."""

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        return steps * groups * group_size * self.max_rounds


class _Banded(_Common):
    """Fields of the kinds that prefer a band of pass rates."""

    band: tuple[float, float] = (0.2, 0.8)
    """Pass rates that count as medium difficulty (low, high)."""
    refilter_every: int = Field(default=10, ge=1)
    """Steps between two re-filterings of the pool, in which the policy probes prompts."""
    probe_attempts: int = Field(default=4, ge=1)
    """Rollouts per probed prompt."""

    @model_validator(mode="after")
    def _band_is_ordered(self) -> "_Banded":
        low, high = self.band
        if not 0 <= low < high <= 1:
            message = f"band needs 0 <= low < high <= 1, got [{low}, {high}]"
            raise InvalidValue(message, "write for example `band: [0.2, 0.8]`")
        return self


class Refilter(_Banded):
    """Llama 4's recipe: every `refilter_every` steps the policy tries the whole pool. Until the
    next time, prompts are drawn at random from those whose pass rate is in the band."""

    kind: Literal["refilter"] = "refilter"

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        if pool is None:
            return None
        probes = math.ceil(steps / self.refilter_every) * pool * self.probe_attempts
        return steps * groups * group_size + probes


class Gaussian(_Common):
    """Nemotron 3 Nano's recipe: the policy tries the whole pool, and the pass rates of the prompts
    drawn of each capability follow a Gaussian whose mean falls, from easy to hard. When learning
    has reached a plateau, the policy tries the pool again. Prompts that it always passed are left
    out."""

    kind: Literal["gaussian"] = "gaussian"
    start_mean: float = Field(default=0.75, ge=0, le=1)
    """Mean of the Gaussian at the first step."""
    end_mean: float = Field(default=0.25, ge=0, le=1)
    """Mean of the Gaussian at the last step; in between it falls by the same amount every step."""
    deviation: float = Field(default=0.15, ge=0.05)
    """Standard deviation of the Gaussian, as a distance in pass rate."""
    probe_attempts: int = Field(default=4, ge=1)
    """Rollouts per prompt when the policy tries the pool."""
    plateau_steps: int = Field(default=10, ge=1)
    """Learning has reached a plateau when pass rates, less those that the same prompts had when the
    pool was tried, were no higher in this many steps than in as many before."""

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        if pool is None:
            return None
        profiles = math.ceil(steps / (2 * self.plateau_steps))
        return steps * groups * group_size + profiles * pool * self.probe_attempts

    @model_validator(mode="after")
    def _from_easy_to_hard(self) -> "Gaussian":
        if self.start_mean < self.end_mean:
            message = f"start_mean ({self.start_mean}) lies below end_mean ({self.end_mean})"
            raise InvalidValue(
                message, "go from easy to hard, for example `start_mean: 0.75, end_mean: 0.25`"
            )
        return self


class Posterior(_Banded):
    """Predicts pass rates from earlier results, starts groups with a few pilot rollouts, and
    completes those that are likely to have a spread of rewards."""

    kind: Literal["posterior"] = "posterior"
    prior: Literal["difficulty_groups", "judge"] = "difficulty_groups"
    """Prior of the pass rate of an untried prompt: from the results of its difficulty group and the
    judge's verdict (`difficulty_groups`), or from the verdict alone (`judge`)."""
    pilot: int = Field(default=2, ge=0)
    """Rollouts of a prompt before it is decided whether to complete its group; 0 completes every
    group at once."""
    sure: float = Field(default=0.97, ge=0, le=1)
    """Probability of a spread of rewards from which a group is rolled out without a pilot."""
    commit_above: float = Field(default=0.55, ge=0, lt=1)
    """Probability of a spread of rewards after the pilot from which a group is completed."""
    largest_group: int = Field(default=0, ge=0)
    """Largest number of rollouts to which the group of a hard prompt may grow; 0: groups do not
    grow."""
    explore: float = Field(default=0.05, gt=0, le=1)
    """Share of draws that are random, with a preference for prompts that were not tried for long,
    so that every estimate is checked eventually."""
    max_rounds: int = Field(default=4, ge=1)
    """Largest number of rounds of draws per step. The step then trains on the groups it has."""
    raise_band: float = Field(default=0.1, ge=0, lt=1)
    """Shift of the band towards lower pass rates when the whole pool is solved; before that, in
    proportion to the solved share."""
    probe_share: float = Field(default=0.02, ge=0, lt=1)
    """Largest number of rollouts for probes, as a share of the rollouts for training."""

    def rollouts_at_most(
        self, steps: int, groups: int, group_size: int, pool: int | None
    ) -> int | None:
        probes = math.ceil(steps * groups * group_size * self.probe_share)
        return steps * groups * max(group_size, self.largest_group) * self.max_rounds + probes


def _kind(value: Any) -> str:
    return str(
        value.get("kind", "posterior") if isinstance(value, dict) else getattr(value, "kind", None)
    )


CurriculumConfig = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[DropZeroVariance, Tag("drop_zero_variance")]
    | Annotated[DynamicSampling, Tag("dynamic_sampling")]
    | Annotated[Refilter, Tag("refilter")]
    | Annotated[Gaussian, Tag("gaussian")]
    | Annotated[Posterior, Tag("posterior")],
    Discriminator(_kind),
]
"""How the prompts of a step are chosen from the results so far. `kind` defaults to `posterior`."""

"""Settings of the probes that end SFT; light."""

from pydantic import Field, model_validator

from evals.suite_file import is_there
from rollouts.config import RolloutConfig
from stages.dev_part import DevPart


class StopWhen(DevPart):
    """Probes of the policy in training: every few steps it answers prompts of a suite's dev part,
    several times each, sampled at temperature 1. What they measure ends SFT."""

    every: int = Field(default=20, ge=1)
    """Optimiser steps between two probes; the last step is always probed."""
    limit: int | None = Field(default=32, ge=1)
    """Ask only this many prompts of the dev part, the same ones every time; `null`: all."""
    samples: int = Field(default=8, ge=1)
    """Answers sampled to each prompt."""
    k: int | None = Field(default=None, ge=1, examples=[1])
    """The k of pass@k, the probability that one of k answers to a prompt is correct, estimated from
    all `samples` without bias; not set: `samples`."""
    format: float = Field(default=0.9, ge=0, le=1)
    """Format validity from which a probe is valid: the share of its answers that end with an end
    token and from which the verifier read an answer. Only a valid probe ends SFT, except by
    `entropy`, and only weights of a valid probe are chosen for the checkpoint."""
    pass_at_k: float | None = Field(default=None, gt=0, le=1, examples=[0.8])
    """SFT ends when a valid probe's pass@k has reached this; not set: never by that."""
    patience: int | None = Field(default=2, ge=1)
    """SFT ends when as many probes in a row were not both valid and above the best pass@k of the
    valid ones before; `null`: never by that."""
    entropy: float | None = Field(default=None, gt=0, examples=[0.1])
    """SFT ends, whatever the format, when the entropy has fallen below this, in nats per generated
    token; not set: never by that."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine."""

    @property
    def tries(self) -> int:
        """The k of pass@k."""
        return self.samples if self.k is None else self.k

    @model_validator(mode="after")
    def _probes_can_measure(self) -> "StopWhen":
        if self.tries > self.samples:
            raise ValueError(
                f"k ({self.k}) is above samples ({self.samples}): pass@{self.k} needs as many"
                " answers to a prompt"
            )
        self.require_room(self.rollouts, "stop_when")
        suite = self.as_suite()
        if is_there(suite.file) and suite.header.ask == "likelihood":
            raise ValueError(
                f"{suite.name} compares likelihoods: there are no answers to sample; name a suite"
                " that asks for answers"
            )
        return self

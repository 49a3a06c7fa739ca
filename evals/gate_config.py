"""Settings of a gate; light."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Config, Text


class GateConfig(Config):
    """What a checkpoint has to hold on the dev part of a suite, and what happens if it does not."""

    suite: Text = Field(examples=["held_out"])
    """The suite whose dev part decides; one of `evaluate.suites`, by name."""
    after: tuple[Text, ...] | None = Field(default=None, min_length=1, examples=[["rl"]])
    """Ids of the stages whose checkpoints it holds for, among those of `evaluate.after`; not set:
    all of them."""
    floor: float | None = Field(default=None, ge=0, le=1, examples=[0.3])
    """Lowest accepted score, on a scale from 0 to 1; not set: none."""
    max_drop: float | None = Field(default=None, ge=0, le=1, examples=[0.02])
    """Largest accepted drop of the score, on a scale from 0 to 1: 0 means not below its parent. The
    parent is the nearest evaluated checkpoint that the training started from; both answer the same
    prompts. Not set: any."""
    in_doubt: Literal["pass", "fail"] = "pass"
    """What holds where the 95 % interval has values on both sides of the limit. `pass`: a
    checkpoint fails when its fault is shown. `fail`: it passes when it is shown to have none, which
    takes many prompts."""
    then: Literal["stop", "parent", "go_on"] = "stop"
    """After a failure: `stop` ends the run (exit code 3). `parent`: later stages go on from the
    checkpoint that the stage started from. `go_on`: the run goes on with it. Each is told and
    recorded."""

    @model_validator(mode="after")
    def _asks_something(self) -> "GateConfig":
        if self.floor is None and self.max_drop is None:
            raise ValueError("give `max_drop`, `floor` or both: without them every score passes")
        return self

    def holds_for(self, stage: str) -> bool:
        """Whether it is asked after `stage`."""
        return self.after is None or stage in self.after

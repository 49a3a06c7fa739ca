"""Settings of all training stages; light, loads no torch."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Config
from models.config import LoraConfig


class TrainingSettings(Config):
    """How a policy is trained, whatever it learns from."""

    train: Literal["lora", "full", "all_but_router", "experts"] = "lora"
    """Which weights are trained: `lora`: low-rank adapters, merged at the end; `full`: all weights;
    `all_but_router`: all except the routers; `experts`: the routed experts only."""
    lora: LoraConfig = LoraConfig()
    """The adapters (with `train: lora`)."""
    balance_loss: float = Field(default=0.0, ge=0)
    """Weight of the load-balancing loss (`models/routing.py`); needs `train: full`; 0 omits the
    loss."""
    learning_rate: float = Field(gt=0, examples=[1e-4])
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant at its peak, or falling to 0 at the end of the
    stage, linearly or as half a cosine wave."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimiser steps in which the learning rate rises linearly from 0 to its peak. The first of
    them has a learning rate of 0 and changes nothing."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Weight decay of AdamW: each step reduces every trained weight, except norms and biases, by
    this share times the learning rate."""

    def steps_at_most(self) -> int | None:
        """Upper bound on the stage's optimiser steps; None if its settings do not determine it."""
        return None

    @model_validator(mode="after")
    def _the_learning_rate_reaches_its_peak(self) -> "TrainingSettings":
        most, default = self.steps_at_most(), type(self).model_fields["warmup_steps"].default
        if most is not None and self.warmup_steps >= most and self.warmup_steps != default:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) is no part of at most {most} optimiser steps:"
                " the learning rate would never be at its peak; allowed here are 0 to"
                f" {most - 1}"
            )
        return self

    @model_validator(mode="after")
    def _a_balance_loss_needs_routers_that_train(self) -> "TrainingSettings":
        if self.balance_loss and self.train != "full":
            raise ValueError(
                f"balance_loss has no effect on frozen routers, and train: {self.train} freezes"
                " them"
            )
        return self

    @model_validator(mode="after")
    def _adapters_only_where_they_train(self) -> "TrainingSettings":
        if self.train != "lora" and self.lora != LoraConfig():
            raise ValueError(f"lora is only read with train: lora, and train is {self.train}")
        return self

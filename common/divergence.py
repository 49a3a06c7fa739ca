"""When a stage that trains counts as sick. Light: it is a part of the recipe's `runtime:`."""

from pydantic import Field

from common.config import Config


class DivergenceLimits(Config):
    """Limits that no healthy run comes near; they stop a stage and change nothing that it
    computes."""

    gradient_factor: float = Field(default=30.0, gt=1)
    """Gradients explode: their norm is so many times the median of the steps before."""
    loss_factor: float = Field(default=3.0, gt=1)
    """SFT or DPO diverges: its loss is so many times that of the first step (three nats, if that
    was lower)."""
    entropy_share: float = Field(default=0.05, ge=0, lt=1)
    """The policy's entropy in RL collapses: it is below this share of what it was in the first
    steps."""
    patience: int = Field(default=3, ge=1)
    """Steps in a row for which any of these must hold."""
    still_steps: int = Field(default=20, ge=2)
    """Nothing is learnt: for so many steps in a row no group has a spread of rewards, or every
    gradient is zero."""

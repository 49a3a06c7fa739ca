"""When training counts as diverged. Part of the recipe's `runtime:`, so it imports no torch."""

from pydantic import Field

from common.config import Config


class DivergenceLimits(Config):
    """Limits far from what a healthy run reaches. They stop a stage and change no result."""

    gradient_factor: float = Field(default=30.0, gt=1)
    """Gradients explode: their norm is this many times the median of the previous steps."""
    loss_factor: float = Field(default=3.0, gt=1)
    """SFT or DPO diverges: its loss is this many times that of the first step, or this many times
    three nats if the first loss was lower."""
    entropy_share: float = Field(default=0.05, ge=0, lt=1)
    """The policy's entropy in RL collapses: it is below this share of its value in the first
    steps."""
    patience: int = Field(default=3, ge=1)
    """Steps in a row for which one of these must hold."""
    still_steps: int = Field(default=20, ge=2)
    """Nothing is learnt: for this many steps in a row no group has a spread of rewards, or every
    gradient is zero."""

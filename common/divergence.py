"""Limits beyond which training counts as diverged. Part of `runtime`, so it imports no torch."""

from pydantic import Field

from common.config import Config


class DivergenceLimits(Config):
    """Limits that a healthy run stays far away from. They stop a stage and change no result."""

    gradient_factor: float = Field(default=30.0, gt=1)
    """Exploding gradients: the gradient norm exceeds the median of the previous steps by this
    factor."""
    loss_factor: float = Field(default=3.0, gt=1)
    """Diverging loss of SFT or DPO: the loss exceeds that of the first step by this factor. A first
    loss below three nats counts as three nats."""
    entropy_share: float = Field(default=0.05, ge=0, lt=1)
    """Entropy collapse in RL: the policy's entropy falls below this share of its value in the first
    steps."""
    effective_share: float = Field(default=0.2, ge=0, lt=1)
    """Rollouts too old to learn from, in RL with `ahead: 1`: the effective sample size falls below
    this share of the completion tokens."""
    patience: int = Field(default=3, ge=1)
    """Consecutive steps for which one of the conditions above must hold."""
    still_steps: int = Field(default=20, ge=2)
    """No learning signal: the stage stops after this many consecutive steps in which no group has a
    spread of rewards, or in which every gradient is zero."""

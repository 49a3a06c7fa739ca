"""Settings that SFT, RL and DPO share; light."""

from typing import Literal

from pydantic import Field

from models.config import LoraConfig
from stages.reference import StageConfig


class TrainingStage(StageConfig):
    from_: str = Field(alias="from")
    """Id of the stage whose checkpoint training starts from (`base` for the starting model)."""
    train: Literal["lora", "full"] = "lora"
    """Which weights move: low-rank adapters, merged at the end, or all of them."""
    lora: LoraConfig = LoraConfig()
    """The adapters, when `train` is lora."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    save_every: int = Field(default=10, ge=1)
    """Optimiser steps between the checkpoints that a killed stage goes on from."""
    rows_per_forward: int = Field(default=32, ge=1)
    """Most sequences in one forward and backward pass; lower it when memory runs out."""

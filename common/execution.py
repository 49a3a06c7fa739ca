"""Settings that change the speed and memory of a stage, but not its result.

In exact arithmetic a stage computes the same with any of them; in floating point the last bits may
differ. They are not part of a stage's identity: when they change, a finished stage stays done, and
an unfinished one continues from its last checkpoint. The record contains the settings used."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from common.config import Config


class ExecutionConfig(Config):
    """Settings of speed and memory. Each kind of stage reads those that apply to it: training
    stages the first three, stages with a rollout engine the last two, RL all."""

    rows_per_forward: int = Field(default=32, ge=1)
    """Largest number of sequences in one forward and backward pass; lower it when memory runs
    out."""
    gradient_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass instead of storing them: less memory,
    more time."""
    save_every: int = Field(default=10, ge=1)
    """Optimiser steps between two checkpoints. A killed stage resumes from the last checkpoint."""
    max_num_seqs: int = Field(default=128, ge=1)
    """Largest number of sequences that the rollout engine decodes at once."""
    kv_cache_gib: int = Field(default=1, ge=1)
    """Memory for the rollout engine's key-value cache on a CPU, in GiB."""

    def overridden(self, other: "ExecutionConfig") -> "ExecutionConfig":
        """These settings, overridden by the ones that are set in `other`."""
        return self.model_copy(
            update={name: getattr(other, name) for name in other.model_fields_set}
        )

    def part(self, names: Iterable[str]) -> Mapping[str, Any]:
        """The named settings as plain data."""
        return {name: getattr(self, name) for name in names}


TRAINER = ("rows_per_forward", "gradient_checkpointing", "save_every")
"""The settings that a trainer reads."""
ENGINE = ("max_num_seqs", "kv_cache_gib")
"""The settings that a rollout engine reads."""
COSTS_MEMORY = ("rows_per_forward", "max_num_seqs", "kv_cache_gib")
"""The settings whose higher values cost more memory."""

"""Settings that change how fast a stage runs and how much memory it takes, and no result.

In exact arithmetic a stage computes the same under all of them; in floating point the last bits
may differ. So they are no part of a stage's identity: a finished stage stays done when they change,
and an unfinished one goes on from its last checkpoint. The record keeps those that were used."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from common.config import Config


class ExecutionConfig(Config):
    """What a stage of each kind reads of it is in the documentation of that kind."""

    rows_per_forward: int = Field(default=32, ge=1)
    """Most sequences in one forward and backward pass; lower it when memory runs out."""
    gradient_checkpointing: bool = False
    """Compute each layer once more in the backward pass instead of keeping its activations: less
    memory, more time."""
    save_every: int = Field(default=10, ge=1)
    """Optimiser steps between the checkpoints that a killed stage goes on from."""
    max_num_seqs: int = Field(default=128, ge=1)
    """Sequences that the rollout engine decodes at once."""
    kv_cache_gib: int = Field(default=1, ge=1)
    """Memory for the engine's key-value cache on a CPU, in GiB."""

    def overridden(self, other: "ExecutionConfig") -> "ExecutionConfig":
        """These settings with those that `other` names."""
        return self.model_copy(
            update={name: getattr(other, name) for name in other.model_fields_set}
        )

    def part(self, names: Iterable[str]) -> Mapping[str, Any]:
        """The named settings as plain data."""
        return {name: getattr(self, name) for name in names}


TRAINER = ("rows_per_forward", "gradient_checkpointing", "save_every")
"""What a trainer reads."""
ENGINE = ("max_num_seqs", "kv_cache_gib")
"""What a rollout engine reads."""
COSTS_MEMORY = ("rows_per_forward", "max_num_seqs", "kv_cache_gib")
"""Those that cost memory the more, the higher they are."""

"""Settings that change the speed and memory of a stage, but not its result.

In exact arithmetic a stage computes the same with any of them; in floating point the last bits may
differ. They are not part of a stage's identity: when they change, a finished stage stays done, and
an unfinished one continues from its last checkpoint. The record contains the settings used."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from pydantic import Field

from common.config import Config
from common.devices import DevicesConfig


class GeneralExecution(Config):
    """Settings of speed and memory. Each kind of stage reads those that apply to it: training
    stages the first three, SFT `packing`, stages with a rollout engine the last two."""

    rows_per_forward: int = Field(default=32, ge=1)
    """Largest number of sequences in one forward and backward pass of a process; lower it when
    memory runs out."""
    gradient_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass instead of storing them: less memory,
    more time."""
    save_every: int = Field(default=10, ge=1)
    """Optimiser steps between two checkpoints. A killed stage resumes from the last checkpoint."""
    packing: bool = False
    """SFT: lay the sequences of a forward pass into one row, so that nothing is computed for
    padding. None of them attends to another."""
    max_num_seqs: int = Field(default=128, ge=1)
    """Largest number of sequences that the rollout engine decodes at once."""
    kv_cache_gib: int = Field(default=1, ge=1)
    """Memory for the rollout engine's key-value cache on a CPU, in GiB."""

    def part(self, names: Iterable[str]) -> Mapping[str, Any]:
        """The named settings (dotted where they are nested) as plain data."""
        data, part = self.model_dump(mode="json"), dict[str, Any]()
        for name in names:
            section, dot, field = name.partition(".")
            if dot:
                part.setdefault(section, {})[field] = data[section][field]
            else:
                part[name] = data[name]
        return part


class ExecutionConfig(GeneralExecution):
    """All settings of speed and memory of one stage, its processes and devices included."""

    devices: DevicesConfig = DevicesConfig()
    """Its processes and devices."""

    def overridden(self, other: "ExecutionConfig") -> Self:
        """These settings, overridden by the ones that are set in `other`."""
        data = self.model_dump()
        for name in other.set_names():
            section, dot, field = name.partition(".")
            if dot:
                data[section][field] = getattr(getattr(other, section), field)
            else:
                data[name] = getattr(other, name)
        return type(self).model_validate(data)

    def set_names(self) -> Iterator[str]:
        """The names of the settings that are set here, dotted where they are nested."""
        for name in sorted(self.model_fields_set):
            value = getattr(self, name)
            if isinstance(value, DevicesConfig):
                yield from (f"{name}.{field}" for field in sorted(value.model_fields_set))
            else:
                yield name


TRAINER = (
    *("rows_per_forward", "gradient_checkpointing", "save_every"),
    *("devices.processes", "devices.sharding", "devices.precision", "devices.launcher"),
)
"""The settings that a trainer reads."""
ENGINE = ("max_num_seqs", "kv_cache_gib", "devices.engine")
"""The settings that a rollout engine reads."""
COSTS_MEMORY = ("rows_per_forward", "max_num_seqs", "kv_cache_gib")
"""The settings whose higher values cost more memory."""


def devices_of(execution: Mapping[str, Any]) -> DevicesConfig:
    """The layout in a stage's execution settings, which may hold a part of it or none."""
    return DevicesConfig.model_validate(execution.get("devices", {}))

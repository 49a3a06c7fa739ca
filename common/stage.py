"""What a stage is given besides its config and inputs, and what it gives back.

A stage is a function `run(config, inputs, context) -> Outputs`. `inputs` maps names to the finished
folders of other stages; the stage writes only below `context.folder`. It never imports another
stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.divergence import DivergenceLimits
from common.execution import ExecutionConfig

Inputs = Mapping[str, Path]


@dataclass(frozen=True)
class StageContext:
    """The surroundings of one stage run."""

    folder: Path
    """Where the stage writes. Of an attempt that was killed `resume/` and the logs (`*.jsonl`) are
    still there, and nothing else."""
    seed: int
    """The stage's own seed, derived from the recipe's."""
    progress: Callable[..., None]
    """`progress(done, total, unit="step", **metrics)`: tells the person how far the stage is."""
    stop_requested: Callable[[], bool]
    """True once a signal asked the run to stop: save what resuming needs, then raise
    `Interrupted`."""
    threads: int
    """CPU threads the stage may use."""
    note: Callable[[str], None] = print
    """Tells the person, at once and in a sentence, what they should know but need not act on."""
    divergence: DivergenceLimits = field(default_factory=DivergenceLimits)
    """When training counts as diverged."""
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """How it runs: what changes no result."""


@dataclass(frozen=True)
class Outputs:
    """What a finished stage says about itself; goes into `record.json`."""

    metrics: dict[str, Any] = field(default_factory=dict)
    """Final figures by name (plain JSON values)."""
    tokens_generated: int = 0
    """Completion tokens sampled by a rollout engine."""
    tokens_trained: int = 0
    """Prompt and completion tokens that went through a training forward and backward pass."""

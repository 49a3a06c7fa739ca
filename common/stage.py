"""The context that a stage runs in, and the outputs that it returns.

A stage is a function `run(config, inputs, context) -> Outputs`. `inputs` maps names to the finished
folders of other stages. The stage writes only below `context.folder` and never imports another
stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.devices import ServerPlaces
from common.divergence import DivergenceLimits
from common.execution import ExecutionConfig

Inputs = Mapping[str, Path]


@dataclass(frozen=True)
class StageContext:
    """Folder, seed, callbacks and execution settings of one stage run."""

    folder: Path
    """The folder that the stage writes to. After an attempt that was killed it contains `resume/`
    and the logs (`*.jsonl`), and nothing else."""
    seed: int
    """The stage's own seed, derived from the recipe's."""
    progress: Callable[..., None]
    """`progress(done, total, unit="step", **metrics)`: reports the progress to the user."""
    stop_requested: Callable[[], bool]
    """True once the run has been asked to stop. The stage then saves what resuming needs and raises
    `Interrupted`."""
    threads: int
    """CPU threads that this process may use."""
    note: Callable[[str], None] = print
    """Shows the user a remark of one sentence that requires no action."""
    divergence: DivergenceLimits = field(default_factory=DivergenceLimits)
    """Limits beyond which training counts as diverged."""
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """Settings of speed and memory, which change no result."""
    rank: int = 0
    """Number of this process among the stage's `execution.devices.processes`. Process 0 writes
    what the stage writes, and talks to the user."""
    replies: Path | None = None
    """File in which an evaluation keeps the replies of checkpoints; None: it keeps none."""
    servers: ServerPlaces = field(default_factory=ServerPlaces)
    """Cores and GPUs for the servers that process 0 starts, if `execution.devices.engine` asks for
    any."""

    @property
    def main(self) -> bool:
        """Whether this process writes the stage's files."""
        return self.rank == 0


@dataclass(frozen=True)
class Outputs:
    """The figures of a finished stage, stored in `record.json`."""

    metrics: dict[str, Any] = field(default_factory=dict)
    """Final figures by name (plain JSON values)."""
    tokens_generated: int = 0
    """Completion tokens sampled by a rollout engine."""
    tokens_trained: int = 0
    """Prompt and completion tokens in forward and backward passes of training."""

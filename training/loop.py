"""Train to the end of a stage, from its last checkpoint if there is one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from common.artifacts import METRICS
from common.errors import Interrupted
from common.stage import StageContext
from training.accumulation import EvenPasses
from training.metrics_log import MetricsLog
from training.processes import broadcast, require_wrapped
from training.resume import CompleteCheckpoints
from training.router_metrics import RouterMetrics
from training.settings import TrainingSettings


def fit(
    trainer: Any,
    config: TrainingSettings,
    context: StageContext,
    *,
    start: Path | None,
    probe: Sequence[list[int]],
    shown: Sequence[str],
    extra: Callable[[Path], None] = lambda folder: None,
    ended: bool = False,
) -> dict[str, float]:
    """Train from the checkpoint `start`, or from the beginning; the last step's metrics.

    `trainer` is a transformers `Trainer` with `passes`, the forward passes of the present optimiser
    step, and with several processes `counted`, whether the present pass has rows of this one.
    `probe` are sequences (token ids) on which the drift of the routing is measured; `shown` names
    the figures that progress reports. `extra` saves a stage's own state into a checkpoint folder,
    on rank 0. `ended` says that the stage had its last step before `start` was saved. Call it on
    every rank. Raises Interrupted after a requested stop."""
    router_metrics = _router_metrics(trainer, config, context, probe, start)

    def save_state(folder: Path) -> None:
        extra(folder)
        router_metrics.save(folder)

    log = MetricsLog(context, shown, router_metrics)
    checkpoints = CompleteCheckpoints(context, save_state)
    for callback in (Layout(trainer, context), log, checkpoints, LastStep(ended)):
        trainer.add_callback(callback)
    if log.rows and isinstance(trainer, EvenPasses):
        trainer.restore_token_count(log.rows[-1])
    with suppress(NothingLeft):
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    if checkpoints.stopped:
        raise Interrupted(
            "stopped as asked; the stage goes on from here", "run the same command again"
        )
    # Read from the file: a stage killed after its last step has that step's metrics there and
    # trains no further.
    return broadcast(context, METRICS.read(context.folder)[-1] if context.main else {})


def _router_metrics(
    trainer: Any,
    config: TrainingSettings,
    context: StageContext,
    probe: Sequence[list[int]],
    start: Path | None,
) -> RouterMetrics:
    return RouterMetrics(
        trainer.model,
        probe,
        context,
        balance=config.balance_loss,
        start=start,
        passes=lambda: int(trainer.passes),
        counted=lambda: bool(getattr(trainer, "counted", True)),
    )


class NothingLeft(Exception):
    """A stage that goes on after its last step has nothing to train."""


class LastStep(TrainerCallback):
    """Ends training where a checkpoint is that of a stage's last step. Trainer would take another
    step if that one is not the last of an epoch."""

    def __init__(self, ended: bool) -> None:
        self.ended = ended

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if self.ended or state.global_step >= state.max_steps:
            raise NothingLeft


class Layout(TrainerCallback):
    """Prepares a trainer for the stage's processes, and checks that it trains in them."""

    def __init__(self, trainer: Any, context: StageContext) -> None:
        self.trainer, self.devices = trainer, context.execution.devices
        plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
        if plugin is not None and self.devices.precision == "bfloat16":
            # accelerate's own policy adds the gradients of the processes up in bfloat16.
            plugin.mixed_precision_policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        trainer = self.trainer
        require_wrapped(trainer.accelerator.num_processes, trainer.model_wrapped, self.devices)

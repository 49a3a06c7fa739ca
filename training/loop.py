"""Train to the end of a stage, from its last checkpoint if there is one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import METRICS
from common.errors import Interrupted
from common.stage import StageContext
from training.accumulation import EvenPasses
from training.metrics_log import MetricsLog
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
) -> dict[str, float]:
    """Train from the checkpoint `start`, or from the beginning; the last step's metrics.

    `trainer` is a transformers `Trainer` with `passes`, the forward passes of the present optimiser
    step. `probe` are sequences (token ids) on which the drift of the routing is measured; `shown`
    names the figures that progress reports. `extra` saves a stage's own state into a checkpoint
    folder. Raises Interrupted after a requested stop."""
    router_metrics = RouterMetrics(
        trainer.model,
        probe,
        context.folder,
        balance=config.balance_loss,
        every=context.execution.save_every,
        start=start,
        passes=lambda: int(trainer.passes),
    )

    def save_state(folder: Path) -> None:
        extra(folder)
        router_metrics.save(folder)

    log = MetricsLog(context, shown, router_metrics)
    checkpoints = CompleteCheckpoints(context, save_state)
    trainer.add_callback(log)
    trainer.add_callback(checkpoints)
    if log.rows and isinstance(trainer, EvenPasses):
        trainer.restore_token_count(log.rows[-1])
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if checkpoints.stopped:
        raise Interrupted(
            "stopped as asked; the stage goes on from here", "run the same command again"
        )
    # Read from the file: a stage killed after its last step has that step's metrics there and
    # trains no further.
    return METRICS.read(context.folder)[-1]

"""The log of a training stage, `metrics.jsonl`, and the checks that each of its lines passes."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from common.artifacts import METRICS
from common.errors import RunFailed
from common.stage import StageContext
from training.divergence import divergence, not_a_number
from training.resume import resume_folder, step_of
from training.router_metrics import RouterMetrics


class MetricsLog(TrainerCallback):
    """Writes every logged step to `metrics.jsonl`, reports progress, and stops a training that
    diverged. With several processes rank 0 writes; the others report progress as a sign of life."""

    def __init__(
        self, context: StageContext, shown: Sequence[str], router_metrics: RouterMetrics
    ) -> None:
        self.context = context
        self.shown = shown
        """Figures that progress names."""
        self.router_metrics = router_metrics
        self.rows = METRICS.read(context.folder)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: object) -> None:
        if args.warmup_steps >= state.max_steps and self.context.main:
            self.context.note(
                f"warmup_steps is {args.warmup_steps} and the stage has {state.max_steps} optimiser"
                " steps: the learning rate never reaches its peak; lower warmup_steps or"
                " batch_size, or raise epochs"
            )

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: object
    ) -> None:
        values = {k: v for k, v in logs.items() if isinstance(v, (int, float))}
        limits = self.context.divergence
        self._refuse(state.global_step, not_a_number([values], limits))
        if "loss" not in values:
            return
        routers = self.router_metrics.step(state.global_step, state.max_steps)
        self.rows.append({"step": state.global_step, **values, **routers})
        if self.context.main:
            METRICS.append(self.context.folder, self.rows[-1])
        self._refuse(state.global_step, divergence(self.rows, limits))
        shown = selected(values, self.shown)
        self.context.progress(state.global_step, state.max_steps, unit="step", **shown)

    def _refuse(self, step: int, problem: tuple[str, str] | None) -> None:
        """RunFailed when the training diverged; nothing of the step is saved. The process that
        writes says so for all."""
        if problem and self.context.main:
            kept = max(resume_folder(self.context).glob("checkpoint-*"), key=step_of, default=None)
            where = (
                f"the last checkpoint before is {kept}"
                if kept
                else "there is no checkpoint before it"
            )
            raise RunFailed(f"step {step}: {problem[0]}; {where}", problem[1])


def selected(metrics: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Those of the metrics that are named and there, in the order of the names."""
    return {name: metrics[name] for name in names if name in metrics}

"""Hands the trainer the rollouts of each step, sampled by the policy that trains or, one step
ahead, by the one before.

One step ahead, step k + 1 is collected while step k trains. The order is fixed: join the rollouts
of step k, publish and prove the policy, begin to collect step k + 1, train on step k. So the
ledger's order does not depend on timing, nothing is discarded because it took long (that would
favour short answers), and the rollouts of every step but the first two are one version old. A
checkpoint waits for the step that is being collected and keeps it (`pending.py`)."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.pending import read_pending, write_pending


class StepRollouts:
    """The batches of the steps 0 to `steps` - 1, in order; in the process that holds the
    collector."""

    def __init__(
        self,
        collector: RolloutCollector,
        *,
        ahead: int,
        steps: int,
        start: Path | None = None,
    ) -> None:
        self.collector, self.ahead, self.steps = collector, ahead, steps
        self.pending = read_pending(start, collector.rows_per_forward)
        """The next step's number and its batch, once they are collected."""
        self.figures: dict[str, float] = {}
        """Seconds of the present step: `time/rollouts` that sampling and grading took,
        `time/waited_for_rollouts` by the trainer, `time/engine_idle` by the engine."""
        self._background: Background | None = None
        self._collected = time.perf_counter()

    def take(self, step: int, publish: Callable[[], None]) -> StepBatch:
        """The batch that step `step` trains on. `publish` gives the engine the present policy,
        which is version `step`."""
        if not self.ahead:
            publish()
            return self._collect(step, step)
        self._join()
        ready = self.pending
        publish()
        batch = ready[1] if ready and ready[0] == step else self._collect(step, step)
        self.pending = None
        if step + 1 < self.steps:
            idle = time.perf_counter() - self._collected
            self._background = Background(step + 1, lambda: self._collect(step + 1, step))
            self.figures["time/engine_idle"] = idle
        return batch

    def save(self, checkpoint: Path) -> None:
        """Keep what was sampled and not trained on; waits until it is complete."""
        self.settle()
        if self.pending is not None:
            write_pending(checkpoint, *self.pending)

    def settle(self) -> None:
        """Wait until nothing is being sampled; what was sampled ahead is kept for its step."""
        self._join()

    @property
    def in_background(self) -> bool:
        """Whether the present thread is the one that collects in the background."""
        return self._background is not None and threading.current_thread() is self._background

    def _collect(self, step: int, version: int) -> StepBatch:
        began = time.perf_counter()
        batch = self.collector.collect(step, version)
        self._collected = time.perf_counter()
        self.figures["time/rollouts"] = self._collected - began
        return batch

    def _join(self) -> None:
        """Wait for the step that is being collected; raises what its collection raised."""
        background, self._background = self._background, None
        if background is not None:
            began = time.perf_counter()
            self.pending = background.step, background.result()
            self.figures["time/waited_for_rollouts"] = time.perf_counter() - began


class Background(threading.Thread):
    """Collects one step. A daemon: a stage that fails does not wait for it."""

    def __init__(self, step: int, collect: Callable[[], StepBatch]) -> None:
        super().__init__(name=f"step {step}", daemon=True)
        self.step, self._collect = step, collect
        self._batch: StepBatch | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._batch = self._collect()
        except BaseException as error:  # raised where the step is joined
            self._error = error

    def result(self) -> StepBatch:
        """The batch, once it is there."""
        self.join()
        if self._error is not None:
            raise self._error
        assert self._batch is not None
        return self._batch

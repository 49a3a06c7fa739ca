"""What process 0 of an RL stage does besides training: it collects the rollouts, records them and
deals them out."""

from collections.abc import Callable
from pathlib import Path

from common.artifacts import LEDGER
from rollouts.interface import RolloutEngine
from stages.rl.ahead import StepRollouts
from stages.rl.collector import StepBatch
from stages.rl.passes import Share, dealt
from stages.rl.recorder import StepRecorder


class Leader:
    """Engine, curriculum and recorder of a stage with `processes` training processes."""

    def __init__(self, rollouts: StepRollouts, recorder: StepRecorder, processes: int) -> None:
        self.rollouts, self.recorder, self.processes = rollouts, recorder, processes

    @property
    def engine(self) -> RolloutEngine:
        """The engine that samples."""
        return self.rollouts.collector.engine

    def save(self, checkpoint: Path) -> None:
        """Keep what the next step depends on besides the policy. What is being collected is booked
        first."""
        self.rollouts.save(checkpoint)
        self.rollouts.collector.ledger.snapshot(LEDGER.path(checkpoint))

    def shares(
        self, step: int, publish: Callable[[], None]
    ) -> tuple[list[Share], dict[str, float]]:
        """What each process trains on in a step, and the figures to log. `publish` gives the engine
        the present policy, which is version `step`."""
        batch = self.rollouts.take(step, publish)
        figures = {**self.recorder.record(step, batch), **self.rollouts.figures}
        return self._dealt(step, batch), figures

    def _dealt(self, step: int, batch: StepBatch) -> list[Share]:
        passes = dealt(batch.passes, self.processes)
        lag = step - batch.version
        return [Share(mine, batch.loss_tokens, lag) for mine in passes]

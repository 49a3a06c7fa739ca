"""What is kept of a step's batch: its groups, what a person is told, and its figures."""

from common.artifacts import GROUPS, METRICS
from common.stage import StageContext
from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.notes import Notes
from stages.rl.step_metrics import TokenTotals, batch_metrics


class StepRecorder:
    """Records the batches of one stage, in the order of its steps."""

    def __init__(self, collector: RolloutCollector, context: StageContext) -> None:
        self.folder = context.folder
        self.system_prompts = collector.config.system_prompts
        self.ledger = collector.ledger
        last = collector.config.steps - 1
        self.notes = Notes(collector.prompts, collector.encoder.limit, last, context.note)
        self.totals = TokenTotals(METRICS.read(context.folder))

    def record(self, step: int, batch: StepBatch) -> dict[str, float]:
        """Write the groups, tell what is new, and return the figures to log."""
        self.notes.step(step, batch)
        for group in batch.rolled_out:
            GROUPS.append(self.folder, group.to_json(step, self.system_prompts))
        totals = self.totals.add(batch)
        return {**batch.metrics, **batch_metrics(batch, self.ledger), **totals}

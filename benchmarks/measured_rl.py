"""RL with held-out prompts measured along the way, outside of its clock and of its token count."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.held_out import Yardstick
from common.divergence import DivergenceLimits
from common.execution import ExecutionConfig
from common.files import append_json_line
from common.stage import StageContext
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.engine import Engine
from stages.rl.ahead import StepRollouts
from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.config import RlStage
from stages.rl.leader import Leader
from stages.rl.recorder import StepRecorder
from stages.rl.run import build_trainer, probe_of
from training.loop import fit
from training.policy import load, save


class Measured(RolloutCollector):
    """Writes a point of the curve every so many steps."""

    def begin(self, yardstick: Yardstick, every: int, policy: Any, path: Path) -> None:
        self.yardstick, self.every, self.policy, self.path = yardstick, every, policy, path
        self.tokens, self.away, self.began = 0, 0.0, time.perf_counter()

    def collect(self, step: int, version: int | None = None) -> StepBatch:
        if step % self.every == 0:
            self.measure(step)
        batch = super().collect(step, version)
        self.tokens += batch.tokens
        return batch

    def measure(self, step: int) -> None:
        """One point of the curve, with the policy as it is."""
        now = time.perf_counter()
        point: dict[str, Any] = {
            "step": step,
            "tokens": self.tokens,
            "seconds": now - self.began - self.away,
            **self.yardstick.score(self.policy),
        }
        append_json_line(self.path, point)
        self.away += time.perf_counter() - now


def train(
    engine: Engine,
    config: RlStage,
    checkpoint: Path,
    pool: Sequence[Prompt],
    yardstick: Yardstick,
    every: int,
    folder: Path,
    seed: int,
    keep: bool = False,
) -> Measured:
    """Train a policy with an engine that others use too, and leave the last weights in it. Writes
    `curve.jsonl`, `metrics.jsonl`, `groups.jsonl` and, with `keep`, `checkpoint/`."""
    for left in folder.glob("*.jsonl"):
        left.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    context = quiet(folder, seed, config.prompts_per_step * config.group_size, config.steps)
    trained = load(config, checkpoint, seed)
    collector = Measured(
        config,
        {prompt.id: prompt for prompt in pool},
        flat_ledger(pool),
        engine,
        Grader(),
        seed,
        context.execution.rows_per_forward,
    )
    rollouts = StepRollouts(collector, ahead=0, steps=config.steps)
    leader = Leader(rollouts, StepRecorder(collector, context), 1)
    trainer = build_trainer(config, context, trained, leader, probe_of(collector))
    collector.begin(yardstick, every, trained.policy, folder / "curve.jsonl")
    fit(trainer, config, context, start=None, probe=[yardstick.asked[0]], shown=())
    trainer.publish()
    collector.measure(config.steps)
    if keep:
        save(trained, context)
    return collector


def flat_ledger(pool: Sequence[Prompt]) -> Ledger:
    """A ledger that knows nothing of its prompts."""
    ledger = Ledger(None)
    ledger.add(
        NewPrompt(p.id, p.capability, p.source, Beta(1.0, 1.0), settings=p.difficulty) for p in pool
    )
    return ledger


def quiet(folder: Path, seed: int, rows: int, steps: int) -> StageContext:
    """A context that saves nothing on the way, says nothing and goes on without a learning signal:
    that is a result to measure. Makes its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    execution = ExecutionConfig(save_every=10 * steps, rows_per_forward=rows)
    return StageContext(
        folder,
        seed,
        lambda *_, **__: None,
        lambda: False,
        threads=2,
        execution=execution,
        divergence=DivergenceLimits(still_steps=steps + 1),
    )

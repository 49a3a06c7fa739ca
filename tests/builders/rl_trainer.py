"""An RL trainer without an engine process: the collector hands over a given batch."""

from collections.abc import Mapping
from typing import Any

import torch

from builders.contexts import stage_context
from builders.engine_double import EngineDouble
from common.execution import ExecutionConfig
from models.nano import nano_tokenizer
from rollouts.interface import RolloutEngine
from rollouts.parity import trainer_logprobs
from stages.rl.ahead import StepRollouts
from stages.rl.collector import StepBatch
from stages.rl.config import RlStage
from stages.rl.kl import Reference
from stages.rl.leader import Leader
from stages.rl.run import rl_arguments
from stages.rl.trainer import RlTrainer
from training.publish import Probe

STAGE = {"id": "rl", "kind": "rl", "from": "sft", "on": "filter", "steps": 1, "learning_rate": 1e-4}


class SameWeights(EngineDouble):
    """An engine that computes with a given policy, whatever weights it is sent."""

    def __init__(self, policy: torch.nn.Module) -> None:
        self.policy = policy
        self.weights: list[tuple[str, torch.Tensor]] = []

    def publish(self, weights, version):
        self.weights, self.version = list(weights), version

    def score(self, prompts, completions, *, cached=False):
        scored = trainer_logprobs(self.policy, prompts, completions)
        return [row.tolist() for row in scored.split([len(c) for c in completions])]

    def routing(self, sequences):
        return None


class GivenBatch:
    """Stands in for the collector and for the recorder."""

    rows_per_forward = 32

    def __init__(self, batch: StepBatch, engine: RolloutEngine) -> None:
        self.batch, self.engine = batch, engine
        self.collected: list[int] = []

    def collect(self, step: int, version: int) -> StepBatch:
        self.collected.append(step)
        self.batch.version = version
        return self.batch

    def record(self, step: int, batch: StepBatch) -> Mapping[str, float]:
        return {"reward": 0.5}


def rl_trainer(
    policy: Any,
    folder: Any,
    batch: StepBatch | None = None,
    *,
    engine: RolloutEngine | None = None,
    reference: Reference | None = None,
    execution: ExecutionConfig | None = None,
    **settings: Any,
) -> RlTrainer:
    """A trainer within its first step."""
    config = RlStage.model_validate({**STAGE, **settings})
    context = stage_context(folder, execution=execution or ExecutionConfig())
    given: Any = GivenBatch(batch or StepBatch(), engine or SameWeights(policy))
    trainer = RlTrainer(
        policy,
        rl_arguments(config, context),
        nano_tokenizer(),
        config=config,
        context=context,
        leader=Leader(StepRollouts(given, ahead=config.ahead, steps=config.steps), given, 1),
        probe=Probe([[20, 21]], [[22, 23]]),
        reference=reference,
    )
    # Set by the training loop.
    trainer.current_gradient_accumulation_steps = 1
    return trainer

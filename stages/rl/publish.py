"""Put the policy into the engine, and prove that the engine computes with it.

Only process 0 has the engine. The others take part in what FSDP2 gathers: the weights, and the
forward passes of the comparison."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.stage import StageContext
from models.adapters import policy_weights
from models.routing import differing, moe_layers, routing
from rollouts import parity
from rollouts.interface import RolloutEngine
from training import processes


@dataclass(frozen=True)
class Probe:
    """Sequences (token ids) on which engine and policy are compared."""

    prompts: list[list[int]]
    completions: list[list[int]]

    @property
    def sequences(self) -> list[list[int]]:
        """Each prompt with its completion."""
        return [p + c for p, c in zip(self.prompts, self.completions, strict=True)]


def publish(engine: RolloutEngine | None, policy: nn.Module, version: int) -> None:
    """Give the engine the weights of the policy's version, adapters merged."""
    weights = policy_weights(policy)
    if engine is not None:
        engine.publish(weights, version)
    else:
        for _ in weights:
            pass


def prove(
    context: StageContext,
    engine: RolloutEngine | None,
    policy: nn.Module,
    probe: Probe,
    tolerance: float,
    version: int,
) -> dict[str, float]:
    """Compare engine and policy on the probe; RunFailed where they differ by more than
    `tolerance`. Returns the figures to log, of process 0."""
    if engine is None:
        parity.trainer_logprobs(policy, probe.prompts, probe.completions)
        if processes.broadcast(context, False):
            routing(policy, probe.sequences)
        return {}
    gap = parity.check(engine, policy, probe.prompts, probe.completions)
    parity.require(gap, tolerance, f"after publishing version {version}")
    figures = {"parity/probe_gap": gap.mean}
    chosen = engine.routing(probe.sequences) if moe_layers(policy) else None
    processes.broadcast(context, chosen is not None)
    if chosen is None:
        return figures
    return {**figures, "router/engine_differs": differing(chosen, routing(policy, probe.sequences))}


def proof(engine: RolloutEngine | None, policy: nn.Module, probe: Probe) -> dict[str, Any]:
    """The probe with the log-probabilities of the policy and of the engine that serves it, for
    `parity.json`; empty without the engine."""
    prompts, completions = probe.prompts, probe.completions
    flat = parity.trainer_logprobs(policy, prompts, completions)
    if engine is None:
        return {}
    trainer = flat.split([len(completion) for completion in completions])
    engine_rows = engine.score(prompts, completions)
    rows = zip(prompts, completions, trainer, engine_rows, strict=True)
    sequences = [
        {"prompt_ids": p, "completion_ids": c, "trainer": t.tolist(), "engine": e}
        for p, c, t, e in rows
    ]
    scores = torch.tensor([value for row in engine_rows for value in row])
    return {"sequences": sequences, "mean_gap": parity.gap(scores, flat).mean}

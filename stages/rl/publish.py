"""Put the policy into the engine, and prove that the engine computes with it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.adapters import policy_weights
from rollouts import parity
from rollouts.interface import RolloutEngine


@dataclass(frozen=True)
class Probe:
    """Sequences (token ids) on which engine and policy are compared."""

    prompts: list[list[int]]
    completions: list[list[int]]


def publish(engine: RolloutEngine, policy: nn.Module, version: int) -> None:
    """Give the engine the weights of the policy's version, adapters merged."""
    engine.publish(policy_weights(policy), version)


def prove(
    engine: RolloutEngine, policy: nn.Module, probe: Probe, tolerance: float, version: int
) -> dict[str, float]:
    """Compare engine and policy on the probe; RunFailed where they differ by more than
    `tolerance`. Returns the figures to log."""
    sequences = probe.prompts, probe.completions
    gap = parity.check(engine, policy, *sequences)
    parity.require(gap, tolerance, f"after publishing version {version}")
    figures = {"parity/probe_gap": gap.mean}
    differing = parity.experts_differ(engine, policy, *sequences)
    return figures if differing is None else {**figures, "router/engine_differs": differing}


def proof(engine: RolloutEngine, policy: nn.Module, probe: Probe) -> dict[str, Any]:
    """The probe with the log-probabilities of the policy and of the engine that serves it, for
    `parity.json`."""
    prompts, completions = probe.prompts, probe.completions
    flat = parity.trainer_logprobs(policy, prompts, completions)
    trainer = flat.split([len(completion) for completion in completions])
    engine_rows = engine.score(prompts, completions)
    rows = zip(prompts, completions, trainer, engine_rows, strict=True)
    sequences = [
        {"prompt_ids": p, "completion_ids": c, "trainer": t.tolist(), "engine": e}
        for p, c, t, e in rows
    ]
    scores = torch.tensor([value for row in engine_rows for value in row])
    return {"sequences": sequences, "mean_gap": parity.gap(scores, flat).mean}

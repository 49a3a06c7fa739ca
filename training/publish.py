"""Put the policy into the engine, and prove that the engine computes with it.

An engine in float32 is proven by its log-probabilities. One in bfloat16 proves the weights while
they are published (`rollouts/held.py`), and its log-probabilities may drift within a tolerance.

Only process 0 has the engine. The others take part in what FSDP2 gathers: the weights, and the
forward passes of the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.stage import StageContext
from models.adapters import policy_weights
from models.routing import differing, listening, stacked
from rollouts import parity, ties
from rollouts.config import RolloutConfig
from rollouts.interface import RolloutEngine
from training import processes

PARITY_PROBES = 4
"""Sequences that the parity check compares after every publication."""
PROBE_GAP, PROBE_DRIFT = "parity/probe_gap", "parity/probe_drift"
"""Mean absolute difference of log-probabilities on the probe, in nats: of an engine in float32, and
in bfloat16."""


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
    tolerance: parity.Tolerance,
    version: int,
) -> dict[str, float]:
    """Compare engine and policy on the probe; RunFailed where they differ by more than the
    tolerance, which the first drift calibrates. Returns the figures to log, of process 0."""
    with listening(policy) as experts:
        trainer = parity.trainer_logprobs(policy, probe.prompts, probe.completions)
    figures: dict[str, float] = {}
    if engine is not None:
        gap = parity.compare(engine, trainer, probe.prompts, probe.completions)
        figures[PROBE_GAP if tolerance.exact else PROBE_DRIFT] = gap.mean
        if tolerance.exact and not gap.mean <= tolerance.limit and ties.can_explain(policy):
            sequences = probe.prompts, probe.completions
            gap = ties.of_engine(engine, policy, *sequences, tolerance.limit)
        tolerance.require(gap, f"after publishing version {version}")
        chosen = engine.routing(probe.sequences) if experts else None
        if chosen is not None:
            figures["router/engine_differs"] = differing(chosen, stacked(experts))
    if not tolerance.exact:
        first = figures.get(PROBE_DRIFT) if tolerance.first is None else tolerance.first
        tolerance.first = processes.broadcast(context, first)
    return figures


def tolerance_of(
    rollouts: RolloutConfig, gap: float, drift: float, rows: Sequence[Mapping[str, Any]]
) -> parity.Tolerance:
    """What a stage allows: a mean `gap` of an engine in float32, a mean `drift` of one in bfloat16.
    `rows` are what the stage has logged; one that resumes was calibrated by the first."""
    if rollouts.exact:
        return parity.Tolerance(exact=True, limit=gap)
    first = rows[0][PROBE_DRIFT] if rows else None
    return parity.Tolerance(exact=False, limit=drift, first=first)


def parity_probe(
    engine: RolloutEngine,
    rollouts: RolloutConfig,
    prompts: Sequence[tuple[list[int], str]],
    max_tokens: int,
) -> Probe:
    """Prompts (token ids) with at most `max_tokens` tokens of a text as the answer to each. An
    engine in bfloat16 is compared on the tokens of the prompts too: a policy that knows the answers
    for certain has hardly any drift in them."""
    answers = [engine.encode_text(text)[:max_tokens] for _, text in prompts]
    probe = Probe([ids for ids, _ in prompts], answers)
    if rollouts.exact:
        return probe
    return Probe([ids[:1] for ids in probe.sequences], [ids[1:] for ids in probe.sequences])


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

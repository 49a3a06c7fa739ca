"""How far bfloat16 is from float32, in nats at tokens sampled from the policy: this calibrates
`parity_tolerance` for `precision: bfloat16`.

The policy has learnt a little, so that its distributions are sharp: random weights give nearly
uniform ones, in which nothing can differ. Compared are

- `autocast`: float32 weights, bfloat16 arithmetic (the trainer in SFT and DPO);
- `float32_head`: the same with logits in float32 (the trainer in RL, `models/packed.py`);
- `engine`: weights rounded to bfloat16 (what an engine in bfloat16 holds);
- `float32_head_to_engine`: the two against each other, which is the gap that a parity check
  sees."""

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_check.setting import Setting
from benchmarks.gpu_check.workload import sequences, taught
from models.routing import differing, routing


def run(setting: Setting) -> dict[str, Any]:
    policy = setting.tiny().to(setting.device)
    vocabulary = policy.config.vocab_size
    losses = taught(policy, 6 if setting.small else 150, vocabulary, setting.device)
    policy.eval()
    ids = sequences(16 if setting.small else 256, 48, vocabulary, setting.device, seed=99)
    rounded = copy.deepcopy(policy).bfloat16()
    exact = logits(policy, ids)
    sampled = exact.softmax(-1).flatten(0, 1).multinomial(1)[:, 0]
    with setting.autocast():
        trainer, hidden = logits(policy, ids), states(policy, ids)
    with_head = policy.lm_head(hidden.float()).detach()
    engine = logits(rounded, ids)
    rows = ids[:8].tolist()
    return {
        "loss_first_last": [losses[0], losses[-1]],
        "autocast": gaps(trainer, exact, sampled),
        "float32_head": gaps(with_head, exact, sampled),
        "engine": gaps(engine, exact, sampled),
        "float32_head_to_engine": gaps(with_head, engine, sampled),
        "engine_routing_differs": differing(routing(rounded, rows), routing(policy, rows)),
    }


@torch.no_grad()
def logits(policy: Any, ids: Tensor) -> Tensor:
    result: Tensor = policy(input_ids=ids, use_cache=False).logits.float()
    return result


@torch.no_grad()
def states(policy: Any, ids: Tensor) -> Tensor:
    """What goes into the output head."""
    result: Tensor = policy.model(input_ids=ids, use_cache=False).last_hidden_state
    return result


def gaps(one: Tensor, other: Tensor, sampled_N: Tensor) -> dict[str, float]:
    """Absolute differences of the log-probabilities of the sampled tokens, in nats."""
    gap_N = (_logprobs(one, sampled_N) - _logprobs(other, sampled_N)).abs()
    return {
        "tokens": len(gap_N),
        "mean": gap_N.mean().item(),
        "p99": gap_N.quantile(0.99).item(),
        "largest": gap_N.max().item(),
    }


def _logprobs(logits_RLV: Tensor, sampled_N: Tensor) -> Tensor:
    return logits_RLV.flatten(0, 1).log_softmax(-1).gather(1, sampled_N[:, None])[:, 0]

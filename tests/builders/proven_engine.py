"""`python -m builders.proven_engine CHECKPOINT`: what an engine in bfloat16, in this process, says
of publications that went wrong, as JSON: by fault, the message of the proof (empty where there is
none) and the gap on fixed sequences."""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import RunFailed
from models.adapters import policy_weights
from models.checkpoint import load_policy
from rollouts import parity, sync
from rollouts.config import RolloutConfig
from rollouts.engine import Engine

STALE = {
    "attention": "model.layers.0.self_attn.k_proj.weight",
    "router": "model.layers.1.feed_forward.router.weight",
    "experts": "model.layers.1.feed_forward.experts.down_proj",
    "shared expert": "model.layers.1.feed_forward.shared_expert.up_proj.weight",
    "norm": "model.layers.2.input_layernorm.weight",
    "head": "lm_head.weight",
}
"""A tensor of each kind. The embedding is the head's: what is sent as the one is old in both."""
TIED = sync.with_tied_head


def with_one_old(
    weights: Iterable[tuple[str, Tensor]], name: str, old: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """The same weights, the head among them, but for one."""
    for own, tensor in TIED(weights):
        yield own, old if own == name else tensor


def moved(policy: Any, size: float, seed: int = 5) -> Any:
    """The policy after steps of about `size` in every weight."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    return policy


def main(checkpoint: Path) -> None:
    """Publish with every fault in turn, each on top of a whole publication."""
    engine = Engine(checkpoint, RolloutConfig(max_model_len=96, dtype="bfloat16"), seed=0)
    policy = load_policy(checkpoint).eval()
    prompts = [engine.encode([{"role": "user", "content": f"{i} + {i * 37} ="}]) for i in range(4)]
    answers = [engine.encode_text(f"{i} is it, or {i + 1}?") for i in range(4)]

    def published() -> tuple[str, float]:
        said = ""
        try:
            engine.publish(policy_weights(policy), engine.version + 1)
        except RunFailed as failed:
            said = failed.message
        return said, parity.check(engine, policy, prompts, answers).mean

    def whole() -> tuple[str, float]:
        sync.with_tied_head = TIED
        sync.forget_prepared_experts = forget
        return published()

    forget = sync.forget_prepared_experts
    found = {"start": whole()}
    for kind, name in STALE.items():
        old = dict(TIED(policy_weights(policy)))[name].clone()
        moved(policy, 1e-3)
        sync.with_tied_head = partial(with_one_old, name=name, old=old)
        found[kind] = published()
        found[f"after {kind}"] = whole()
    moved(policy, 0.02)
    sync.with_tied_head = lambda weights: ((n, t) for n, t in weights if n != sync.HEAD)
    found["head never sent"] = published()
    whole()
    moved(policy, 0.02)
    sync.forget_prepared_experts = lambda model: None
    found["old layout"] = published()
    found["end"] = whole()
    engine.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The same training twice, and once more from a checkpoint in its middle: the same bits?

On a GPU some gradients are added up in no fixed order. `deterministic` asks PyTorch for fixed
orders (`torch.use_deterministic_algorithms`)."""

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_check.setting import Setting
from benchmarks.gpu_check.workload import SMALL, rl_batch, rl_loss, sequences, sft_loss

State = dict[str, Any]


def run(setting: Setting) -> dict[str, Any]:
    steps = 4 if setting.small else 20
    figures: dict[str, Any] = {"steps": steps}
    for name, deterministic in (("plain", False), ("deterministic", True)):
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        whole, middle = trained(setting, steps)
        again, _ = trained(setting, steps)
        resumed, _ = trained(setting, steps, middle)
        figures[name] = {
            "twice": difference(whole["policy"], again["policy"]),
            "resumed": difference(whole["policy"], resumed["policy"]),
        }
    torch.use_deterministic_algorithms(False)
    return figures


def trained(setting: Setting, steps: int, start: State | None = None) -> tuple[State, State]:
    """The states after all steps and after half of them; from `start`, a state after half, only the
    second half is trained."""
    policy = setting.tiny(seed=1 if start is None else 2).to(setting.device)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    first = 0
    if start is not None:
        policy.load_state_dict(start["policy"])
        optimizer.load_state_dict(copy.deepcopy(start["optimizer"]))
        first = steps // 2
    middle: State = start or {}
    vocabulary = policy.config.vocab_size
    for step in range(first, steps):
        optimizer.zero_grad()
        rl_loss(policy, rl_batch(SMALL, vocabulary, setting.device, step)).backward()
        sft_loss(policy, sequences(8, 48, vocabulary, setting.device, step)).backward()
        optimizer.step()
        if step + 1 == steps // 2:
            middle = _state(policy, optimizer)
    return _state(policy, optimizer), middle


def _state(policy: torch.nn.Module, optimizer: torch.optim.Optimizer) -> State:
    return copy.deepcopy({"policy": policy.state_dict(), "optimizer": optimizer.state_dict()})


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Any]:
    """Whether two state dicts have the same bits, and how far they are apart."""
    largest = max((one[name] - other[name]).abs().max().item() for name in one)
    return {"same_bits": all(torch.equal(one[n], other[n]) for n in one), "largest": largest}

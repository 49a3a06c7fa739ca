"""Whole training steps: an RL step on packed groups and an SFT step, forward, backward and AdamW,
in float32 and in bfloat16 arithmetic."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_check.setting import Setting
from benchmarks.gpu_check.workload import SMALL, STEP, rl_batch, rl_loss, sequences, sft_loss


def run(setting: Setting) -> dict[str, Any]:
    policy = setting.policy()
    vocabulary = policy.config.vocab_size
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5)
    batch = rl_batch(SMALL if setting.small else STEP, vocabulary, setting.device)
    rows, length = (2, 24) if setting.small else (16, 1024)
    ids = sequences(rows, length, vocabulary, setting.device, 0)
    figures: dict[str, Any] = {"parameters": sum(p.numel() for p in policy.parameters())}
    losses: dict[str, tuple[Callable[[], Tensor], int]] = {
        "rl": (lambda: rl_loss(policy, batch), batch.tokens),
        "sft": (lambda: sft_loss(policy, ids), ids.numel()),
    }
    for name, (loss, tokens) in losses.items():
        for precision in ("float32", "bfloat16"):
            bfloat16 = precision == "bfloat16"

            def step(loss: Callable[[], Tensor] = loss, bfloat16: bool = bfloat16) -> None:
                optimizer.zero_grad()
                with setting.autocast() if bfloat16 else nullcontext():
                    value = loss()
                value.backward()
                optimizer.step()

            seconds = setting.seconds(step, rounds=3)
            figures[f"{name}_{precision}"] = {
                "seconds": seconds,
                "tokens_a_second": tokens / seconds,
            }
    return figures

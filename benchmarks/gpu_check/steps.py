"""Whole training steps: an RL step on packed groups and an SFT step, forward, backward and AdamW,
in float32 and in bfloat16 arithmetic; and four passes of an RL step that round the experts' weights
in each pass, or once (`weights_rounded_once`)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_check.setting import Setting
from benchmarks.gpu_check.workload import (
    SMALL,
    STEP,
    RlBatch,
    rl_batch,
    rl_loss,
    sequences,
    sft_loss,
)
from models.moe import weights_rounded_once


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
    return {**figures, "four_passes": _rounding(setting, policy, batch)}


def _rounding(setting: Setting, policy: nn.Module, batch: RlBatch) -> dict[str, float]:
    """Seconds of four passes in bfloat16, by how often weights are rounded."""

    def passes(once: bool) -> None:
        policy.zero_grad()
        with weights_rounded_once() if once else nullcontext():
            for _ in range(4):
                with setting.autocast():
                    loss = rl_loss(policy, batch)
                loss.backward()

    return {
        "rounded_in_each": setting.seconds(lambda: passes(False), rounds=3),
        "rounded_once": setting.seconds(lambda: passes(True), rounds=3),
    }

"""Attention of packed rows with a mask of the whole row against `models/packed_attention.py`:
log-probabilities and gradients, seconds of a forward and backward pass, peak memory."""

from typing import Any

import torch

from benchmarks.gpu_check.setting import Setting, gradients, relative_gaps
from benchmarks.gpu_check.workload import LONG, SMALL, rl_batch, rl_loss


def run(setting: Setting) -> dict[str, Any]:
    return {"equal": _equal(setting), "cost": _cost(setting)}


def _equal(setting: Setting) -> dict[str, Any]:
    policy = setting.tiny().to(setting.device)
    batch = rl_batch(SMALL, policy.config.vocab_size, setting.device)
    found, logprobs = [], []
    for dense in (False, True):
        policy.dense_masks = dense
        policy.zero_grad()
        logprobs.append(policy(packed=batch.packed).logprobs.detach()[batch.mask_BC.bool()])
        rl_loss(policy, batch).backward()
        found.append(gradients(policy))
    gap = (logprobs[0] - logprobs[1]).abs().max().item()
    return {"largest_logprob_gap": gap, "gradients": relative_gaps(*found)}


def _cost(setting: Setting) -> dict[str, Any]:
    policy = setting.policy()
    batch = rl_batch(SMALL if setting.small else LONG, policy.config.vocab_size, setting.device)
    figures: dict[str, Any] = {"row": batch.packed["ids"].shape[1]}

    def once() -> None:
        policy.zero_grad()
        with setting.autocast():
            loss = rl_loss(policy, batch)
        loss.backward()

    for name, dense in (("dense", True), ("shared", False)):
        policy.dense_masks = dense
        if setting.cuda:
            torch.cuda.reset_peak_memory_stats()
        figures[name] = {"seconds": setting.seconds(once, rounds=3)}
        if setting.cuda:
            figures[name]["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return figures

"""float32 on the CPU against float32 on the device: log-probabilities and gradients of the packed
RL loss and of a plain SFT loss, and the experts that the tokens chose."""

from typing import Any

import torch

from benchmarks.gpu_check.setting import Setting, gradients, relative_gaps
from benchmarks.gpu_check.workload import SMALL, rl_batch, rl_loss, sequences, sft_loss
from models.routing import differing, routing


def run(setting: Setting) -> dict[str, Any]:
    there, here = setting.tiny().to(setting.device), setting.tiny()
    vocabulary = here.config.vocab_size
    figures: dict[str, Any] = {"tf32": torch.backends.cuda.matmul.allow_tf32}
    ids = sequences(4, 96, vocabulary, "cpu", 0)
    with torch.no_grad():
        gap = (there(ids.to(setting.device)).logits.cpu() - here(ids).logits).abs()
    figures["logits"] = {"largest": gap.max().item(), "mean": gap.mean().item()}
    for name, losses in {
        "rl": [
            rl_loss(policy, rl_batch(SMALL, vocabulary, device))
            for policy, device in ((there, setting.device), (here, "cpu"))
        ],
        "sft": [
            sft_loss(policy, ids.to(device))
            for policy, device in ((there, setting.device), (here, "cpu"))
        ],
    }.items():
        sides = []
        for policy, loss in zip((there, here), losses, strict=True):
            policy.zero_grad()
            loss.backward()
            sides.append(gradients(policy))
        figures[f"{name}_gradients"] = relative_gaps(*sides)
    rows = ids.tolist()
    figures["routing_differs"] = differing(routing(there, rows), routing(here, rows))
    return figures

"""Memory on the device against what `uphill plan` computes (`models/memory.py`): what an AdamW step
leaves behind, and the peak, which adds activations and the weights' copies in bfloat16."""

import gc
from typing import Any

import torch

from benchmarks.gpu_check.setting import Setting
from benchmarks.gpu_check.workload import SMALL, STEP, rl_batch, rl_loss


def run(setting: Setting) -> dict[str, Any]:
    setting.require_cuda()
    from common.devices import DevicesConfig
    from models import sizes
    from models.adapters import freeze_untrained
    from models.config import LoraConfig
    from models.memory import on_rank, training_memory

    figures: dict[str, Any] = {}
    for train in ("full", "lora"):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        lora = LoraConfig()
        policy = setting.policy()
        dimensions = sizes.from_config(policy.config.to_dict())
        assert dimensions is not None
        model = freeze_untrained(policy, train, lora).to(setting.device)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
        shape = SMALL if setting.small else STEP
        batch = rl_batch(shape, policy.config.vocab_size, setting.device)
        for _ in range(2):
            optimizer.zero_grad()
            with setting.autocast():
                loss = rl_loss(model, batch)
            loss.backward()
            optimizer.step()
        held = torch.cuda.memory_allocated() - before
        whole = training_memory(dimensions, train, lora)
        planned = whole.total()
        with_copies = on_rank(whole, dimensions, DevicesConfig(precision="bfloat16")).total()
        figures[train] = {
            "planned_gib": planned / 2**30,
            "held_gib": held / 2**30,
            "held_over_planned": held / planned,
            "planned_with_copies_gib": with_copies / 2**30,
            "peak_gib": (torch.cuda.max_memory_allocated() - before) / 2**30,
        }
        del policy, model, optimizer, batch, loss
    return figures

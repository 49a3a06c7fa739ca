"""One SFT step of SmolLM2, dense and upcycled to a mixture of experts, on the same tokens; called
by `benchmarks.moe`.

    python -m benchmarks.sft_step full|lora float32|bfloat16 dense,moe

Prints median seconds by side and the peak memory of the process, as JSON. `bfloat16` is autocast
over float32 weights."""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import get_peft_model
from torch import nn

from benchmarks.harness import medians
from common.process_memory import peak_memory_mib
from models.adapters import adapted
from models.config import LoraConfig
from models.packaged import resolve_dense
from models.upcycle import load_dense, upcycle

ROWS, LENGTH, ROUNDS = 16, 96, 3
EXPERTS, MOE_EVERY = 4, 3
"""The quickstart's `smollm2-moe`."""


def model(side: str, train: str) -> Any:
    """SmolLM2 or its upcycled form, all weights trained or adapters of rank 16 on every linear
    layer and expert."""
    dense = load_dense(resolve_dense("smollm2-135m-instruct"))
    policy: Any = (
        dense if side == "dense" else upcycle(dense, experts=EXPERTS, moe_every=MOE_EVERY, seed=0)
    )
    policy.config.use_cache = False
    if train == "lora":
        lora = LoraConfig()
        plain = PeftLora(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=r".*\.(\w+_proj)",
            task_type="CAUSAL_LM",
        )
        policy = get_peft_model(policy, plain) if side == "dense" else adapted(policy, lora)
    return policy.train()


def step(policy: nn.Module, precision: str) -> Callable[[], object]:
    """Forward, loss, backward, AdamW."""
    weights = [p for p in policy.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=1e-5, fused=True)
    ids = torch.randint(0, 49152, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = policy(input_ids=ids, labels=ids).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


def main() -> None:
    train, precision, sides = sys.argv[1:]
    runs = {side: step(model(side, train), precision) for side in sides.split(",")}
    seconds = medians(runs, ROUNDS if len(runs) > 1 else 1)
    print(json.dumps({"seconds": seconds, "peak_gib": peak_memory_mib() / 1024}))


if __name__ == "__main__":
    main()

"""The sparse MoE layer against transformers' own, against a dense MLP, and against what the machine
could do at best.

    make bench            # or: .venv/bin/python -m benchmarks.moe

- `speedup_vs_stock`: forward and backward of one MoE layer, all weights trained, stock Llama 4 over
  ours.
- `lora_vs_dense`: the same layer with frozen weights and adapters, ours over a dense MLP of the
  same active parameters with the same adapters.
- `floor_ratio`: our time over the larger of operations over the measured matrix rate, and bytes
  over the measured bandwidth (weights read twice; where they train, their gradients written once).
- `sft_step_vs_dense`, `sft_memory_vs_dense`: a whole SFT step of the upcycled SmolLM2 over one of
  SmolLM2 itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Llama4TextConfig
from transformers.models.llama4.modeling_llama4 import Llama4TextMLP, Llama4TextMoe

from benchmarks.harness import ROOT, Results, bandwidth, matrix_rate, medians
from models.adapters import adapted
from models.config import LoraConfig
from models.moe import MoeForCausalLM, SparseExperts, SparseMoe

TOKENS, WIDTH, HIDDEN, RANK = 2048, 576, 1536, 16
ROUNDS = {4: 7, 16: 5, 128: 3}
"""Timed rounds by number of experts."""
LAYER = ("models/moe.py", "models/adapters.py")
STEP = (*LAYER, "models/upcycle.py", "models/expert_init.py", "benchmarks/sft_step.py")
"""The files that a part's figures depend on."""
PRECISIONS, TRAINS = ("float32", "bfloat16"), ("full", "lora")


def main() -> None:
    results = Results("moe", "make bench")
    limits = results.part(
        "machine_limits", [], lambda: {"matrix_rate": matrix_rate(), "bandwidth": bandwidth()}
    )
    layers = {e: results.part(f"layer_{e}", LAYER, partial(layer, e)) for e in ROUNDS}
    loras = {e: results.part(f"lora_{e}", LAYER, partial(lora, e)) for e in ROUNDS}
    floors = {e: floor(e, limits, trained=True) for e in ROUNDS}
    lora_floors = {e: floor(e, limits, trained=False) for e in ROUNDS}
    figures: dict[str, dict[Any, Any]] = {
        "speedup_vs_stock": {e: layers[e]["stock"] / layers[e]["sparse"] for e in ROUNDS},
        "lora_vs_dense": {e: loras[e]["sparse"] / loras[e]["dense"] for e in ROUNDS},
        "floor_ratio": {e: layers[e]["sparse"] / floors[e] for e in ROUNDS},
        "floor_ratio_lora": {e: loras[e]["sparse"] / lora_floors[e] for e in ROUNDS},
        "floor_seconds": floors,
        "floor_seconds_lora": lora_floors,
    }
    for precision in PRECISIONS:
        for train in TRAINS:
            name = f"{train}_{precision}"
            sides = results.part(f"sft_{name}", STEP, partial(sft_step, train, precision))
            for figure, key in (
                ("sft_step_vs_dense", "seconds"),
                ("sft_memory_vs_dense", "peak_gib"),
            ):
                figures.setdefault(figure, {})[name] = sides["moe"][key] / sides["dense"][key]
            results.write(figures)
    print(results.path.read_text())


def config(
    experts: int, *, hidden: int = HIDDEN, mlp: int = 2 * HIDDEN, moe: bool = True
) -> Llama4TextConfig:
    """One layer of SmolLM2's width, with experts or with the dense MLP of the same active
    parameters."""
    return Llama4TextConfig(
        vocab_size=8,
        hidden_size=WIDTH,
        intermediate_size=hidden,
        intermediate_size_mlp=mlp,
        num_hidden_layers=1,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        num_local_experts=experts,
        num_experts_per_tok=1,
        moe_layers=[0] if moe else [],
        pad_token_id=0,
        initializer_range=0.05,
    )


def layer(experts: int) -> dict[str, float]:
    """Seconds of stock and of ours with the same weights, and how far their outputs and input
    gradients differ."""
    stock: Any = Llama4TextMoe(config(experts))
    with torch.no_grad():
        for parameter in stock.parameters():
            nn.init.normal_(parameter, std=0.05)
    sparse: Any = Llama4TextMoe(config(experts))
    sparse.load_state_dict(stock.state_dict())
    sparse.__class__, sparse.experts.__class__ = SparseMoe, SparseExperts
    sides = {"stock": step(stock), "sparse": step(sparse)}
    (out_s, grad_s), (out_o, grad_o) = (run() for run in sides.values())
    gap = max(relative(out_o, out_s), relative(grad_o, grad_s))
    return {**medians(sides, ROUNDS[experts]), "relative_difference": gap}


def lora(experts: int) -> dict[str, float]:
    """Seconds with frozen weights and adapters of rank 16: ours, and a dense MLP of twice the
    hidden width."""
    modules = {}
    for name, moe in (("sparse", True), ("dense", False)):
        policy = adapted(MoeForCausalLM(config(experts, moe=moe)), LoraConfig(rank=RANK))
        modules[name] = policy.get_base_model().model.layers[0].feed_forward
    assert isinstance(modules["dense"], Llama4TextMLP)
    return medians({name: step(module) for name, module in modules.items()}, 2 * ROUNDS[experts])


def step(module: nn.Module) -> Callable[[], tuple[Tensor, Tensor]]:
    """A forward and backward pass on fixed inputs, gradients fresh as after an optimiser's
    `zero_grad`."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, TOKENS, WIDTH, generator=generator).requires_grad_()
    weight = torch.randn(TOKENS, WIDTH, generator=generator)

    def run() -> tuple[Tensor, Tensor]:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        result = module(inputs)
        out = (result[0] if isinstance(result, tuple) else result).view(TOKENS, WIDTH)
        out.backward(weight)
        assert inputs.grad is not None
        return out.detach(), inputs.grad

    return run


def relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def floor(experts: int, limits: dict[str, float], *, trained: bool) -> float:
    """Least seconds of a layer's forward and backward pass (4 bytes a weight, top-1, one shared
    expert)."""
    matrix = 3 * WIDTH * HIDDEN
    operations = 2 * TOKENS * (2 * matrix + WIDTH * experts) * (3 if trained else 2)
    weights = 4 * matrix * (experts + 1)
    return max(
        operations / limits["matrix_rate"], weights * (3 if trained else 2) / limits["bandwidth"]
    )


def sft_step(train: str, precision: str) -> dict[str, Any]:
    """Median seconds of both models, timed in turn in one process, and the peak memory of each in
    its own."""
    both = in_process(train, precision, "dense,moe")
    alone = {side: in_process(train, precision, side) for side in ("dense", "moe")}
    return {
        side: {"seconds": both["seconds"][side], "peak_gib": alone[side]["peak_gib"]}
        for side in ("dense", "moe")
    } | {"isa": both["isa"]}


def in_process(train: str, precision: str, sides: str) -> dict[str, Any]:
    """Run `benchmarks.sft_step`; where the CPU announces AMX and cannot run it, without AMX."""
    command = [sys.executable, "-m", "benchmarks.sft_step", train, precision, sides]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    isa = "all"
    if done.returncode == -signal.SIGILL:
        isa = "AVX512_CORE_FP16"
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        )
    done.check_returncode()
    return {**json.loads(done.stdout.splitlines()[-1]), "isa": isa}


if __name__ == "__main__":
    main()

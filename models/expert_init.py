"""Initialises the experts of a dense Llama: three ways to make a Llama 4 MoE layer of one MLP.

- `zero_output`: the shared expert is the MLP. The routed ones are copies with a zero `down_proj`
  and add nothing until they are trained: exactly the same function.
- `noise`: the shared expert gives half of the MLP's output, the chosen routed ones, noisy copies,
  the other half.
- `split`: the MLP's neurons are divided at random into equal parts, one for the shared and one for
  each routed expert. The output of the routed ones is scaled up so that its expectation over
  uniform routing is right. The model is smaller, and its outputs differ much more.

Copies and a fresh router are sparse upcycling (Komatsuzaki et al. 2022, arXiv:2212.05055). Noisy
copies are "Random Noise Upcycling", a baseline of Drop-Upcycling (Nakamura et al. 2025,
arXiv:2502.19261; its `noise_upcycling.py`). Splitting at random with scaled outputs is LLaMA-MoE
(Zhu et al. 2024, arXiv:2406.16554; its published configs have `score_scale_factor` = experts /
chosen, 8.0 for 2 of 16). The shared expert's part is our addition, as Llama 4 has one.

Llama 4 multiplies the input of a routed expert by the sigmoid of its router logit, about 1/2 from a
fresh router. Where routed experts have an output from the start, gate and up are doubled to
compensate.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from common.errors import BadInput

ExpertInit = Literal["zero_output", "noise", "split"]

ROUTER_STD = {"zero_output": 0.02, "noise": 0.002, "split": 0.002}
"""Standard deviation of the fresh router weights. Where routed experts have an output from the
start, the chosen one's score must be near 1/2: on SmolLM2, 0.02 alone costs 0.029 nats per token,
0.002 costs 0.0003."""

NOISE = 0.03
"""Standard deviation of the noise on a copied expert, relative to the root mean square of the
matrix. Our own choice: the largest round value that costs under 0.01 nats per token on SmolLM2 (0.1
costs 0.06, 1 costs 9). Drop-Upcycling's baseline is much stronger, N(0, 0.02) on half of the
neurons, before hundreds of billions of tokens of training."""


@dataclass(frozen=True)
class Mlp:
    """The weights of a dense MLP: I neurons, model width D."""

    gate_ID: Tensor
    up_ID: Tensor
    down_DI: Tensor

    def neurons(self, chosen: Tensor) -> "Mlp":
        return Mlp(self.gate_ID[chosen], self.up_ID[chosen], self.down_DI[:, chosen])

    def noisy(self, generator: Generator) -> "Mlp":
        return Mlp(
            *(_noisy(weight, generator) for weight in (self.gate_ID, self.up_ID, self.down_DI))
        )

    def scaled(self, inside: float, outside: float) -> "Mlp":
        """Multiply gate and up by `inside`, and down, the output, by `outside`."""
        return Mlp(self.gate_ID * inside, self.up_ID * inside, self.down_DI * outside)

    def tensors(self) -> dict[str, Tensor]:
        """The weights by the names of a Llama MLP's linear layers."""
        return {
            "gate_proj.weight": self.gate_ID,
            "up_proj.weight": self.up_ID,
            "down_proj.weight": self.down_DI,
        }


def expert_size(init: ExpertInit, neurons: int, experts: int) -> int:
    """Neurons of each expert. Raises BadInput if `split` cannot divide them equally."""
    if init != "split":
        return neurons
    if neurons % (experts + 1):
        fits = [count for count in range(1, neurons) if neurons % (count + 1) == 0]
        near = sorted(sorted(fits, key=lambda count: abs(count - experts))[:3])
        raise BadInput(
            f"init: split: an MLP of {neurons} neurons does not divide into {experts + 1} equal"
            f" parts (experts: {experts}, and the shared one)",
            f"use experts: {' or '.join(map(str, near))}",
        )
    return neurons // (experts + 1)


def moe_tensors(
    init: ExpertInit, mlp: Mlp, experts: int, per_token: int, generator: Generator
) -> dict[str, Tensor]:
    """The tensors of a Llama 4 `feed_forward` with experts, by name. Router, noise and split are
    drawn from `generator`."""
    router_ED = torch.randn(experts, mlp.gate_ID.shape[1], generator=generator) * ROUTER_STD[init]
    shared, routed = _experts(init, mlp, experts, per_token, generator)
    return {
        "router.weight": router_ED.to(mlp.gate_ID.dtype),
        **{f"shared_expert.{name}": weight for name, weight in shared.tensors().items()},
        "experts.gate_up_proj": torch.stack(
            [torch.cat([expert.gate_ID, expert.up_ID]).T for expert in routed]
        ),
        "experts.down_proj": torch.stack([expert.down_DI.T for expert in routed]),
    }


def _experts(
    init: ExpertInit, mlp: Mlp, experts: int, per_token: int, generator: Generator
) -> tuple[Mlp, list[Mlp]]:
    """The shared expert and the routed ones."""
    if init == "zero_output":
        return mlp, [Mlp(mlp.gate_ID, mlp.up_ID, torch.zeros_like(mlp.down_DI))] * experts
    if init == "noise":
        routed = [mlp.noisy(generator).scaled(2, 0.5 / per_token) for _ in range(experts)]
        return mlp.scaled(1, 0.5), routed
    parts = torch.randperm(mlp.gate_ID.shape[0], generator=generator).chunk(experts + 1)
    return mlp.neurons(parts[0]), [
        mlp.neurons(part).scaled(2, experts / per_token) for part in parts[1:]
    ]


def _noisy(weight: Tensor, generator: Generator) -> Tensor:
    root_mean_square = weight.norm() / math.sqrt(weight.numel())
    return weight + NOISE * root_mean_square * torch.randn(weight.shape, generator=generator).to(
        weight.dtype
    )

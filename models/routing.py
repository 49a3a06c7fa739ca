"""Routing of the experts: their load, the drift of the choice, and an optional loss that balances
the load.

A `RouterWatch` hooks the routers of one policy. It counts in training mode only, within a forward
pass of the policy: parity checks and the recomputation of gradient checkpointing are not
counted.

The loss is DeepSeek-V3's for sigmoid routers (arXiv:2412.19437, eq. 17 to 20; there within a
sequence, here within a forward pass). Over T tokens, E experts of which each token chooses K:

    f_i = E / (K T) * (number of tokens that chose expert i)
    P_i = 1 / T * sum over tokens of sigmoid(logit_i) / sum_j sigmoid(logit_j)
    loss = sum_i f_i P_i

added up over the layers. It is 1 per layer when load or scores are even. Its gradient is added at
the router, in the backward pass of the trainer's loss."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from models.moe import SparseMoe
from models.packed import REAL_TOKENS


def moe_layers(policy: nn.Module) -> dict[int, SparseMoe]:
    """The policy's MoE blocks by layer."""
    layers = plain(policy).model.layers
    return {
        i: layer.feed_forward
        for i, layer in enumerate(layers)
        if isinstance(layer.feed_forward, SparseMoe)
    }


def plain(policy: nn.Module) -> Any:
    """The policy without PEFT around it."""
    return policy.get_base_model() if isinstance(policy, PeftModel) else policy


@dataclass
class RouterWatch:
    """Counts which experts the tokens of training choose, and adds the balance loss where `balance`
    is above 0."""

    policy: nn.Module
    balance: float = 0.0
    """Weight of the balance loss."""
    passes: Callable[[], int] = lambda: 1
    """Forward passes of the present optimiser step; each has an equal share of the weight."""
    counted: Callable[[], bool] = lambda: True
    """Whether the tokens of the present forward pass count."""
    processes: int = 1
    """Processes whose rows make a forward pass together, and whose gradients are averaged."""
    total: Callable[[Tensor], Tensor] = lambda counts: counts
    """The sum of the processes' counts; every process calls it at the same places."""
    counts: dict[int, Tensor] = field(default_factory=dict)
    """Tokens by expert (E,), by layer, since the last `reset`."""
    losses: list[float] = field(default_factory=list)
    _real: Tensor | None = None
    _within: bool = False
    _sums: dict[int, Tensor] = field(default_factory=dict)
    """The processes' counts of the present forward pass, by layer."""

    def __post_init__(self) -> None:
        body = plain(self.policy).model
        body.register_forward_pre_hook(self._begin, with_kwargs=True)
        body.register_forward_hook(self._end, always_call=True)
        for layer, block in moe_layers(self.policy).items():
            hook = partial(self._hear, layer, block.top_k)
            block.router.register_forward_hook(hook)

    def reset(self) -> None:
        self.counts.clear()
        self.losses.clear()

    def _begin(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        if module.training:
            self._within, self._real = True, real_tokens(kwargs.get("attention_mask"))

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        # The mask stays: gradient checkpointing computes the layers once more in the backward pass.
        self._within = False

    def _hear(
        self, layer: int, top_k: int, router: nn.Module, args: Any, output: tuple[Tensor, Tensor]
    ) -> Any:
        if not router.training or not (self._within or self.balance):
            return None
        scores_TE, logits_TE = output
        # Detached where no loss needs it: what autograd saves must be the same when a layer is
        # computed again.
        logits = logits_TE if self.balance else logits_TE.detach()
        real_NE = logits if self._real is None else logits[self._real]
        real_NE = real_NE if self.counted() else real_NE[:0]
        chosen_NK = real_NE.detach().topk(top_k, dim=1).indices
        counts_E = torch.bincount(chosen_NK.flatten(), minlength=logits_TE.shape[1])
        if self._within:
            self.counts[layer] = self.counts.get(layer, 0) + counts_E
        if not self.balance:
            return None
        if self._within:
            # Kept for the backward pass, in which the processes are not at one.
            self._sums[layer] = self.total(counts_E)
        loss = balance_loss(real_NE, self._sums[layer], top_k)
        if self._within:
            self.losses.append(loss.item())
        weight = self.balance * self.processes / self.passes()
        return Attach.apply(scores_TE, loss * weight), logits_TE


def balance_loss(logits_NE: Tensor, counts_E: Tensor, top_k: int = 1) -> Tensor:
    """The loss of one layer, from the router logits of N tokens and how often each expert was
    chosen. With the counts of more tokens than these it is their share of the loss of all."""
    affinity_NE = logits_NE.float().sigmoid()
    tokens = counts_E.sum() / top_k
    share_E = (affinity_NE / affinity_NE.sum(1, keepdim=True)).sum(0) / tokens
    return (counts_E * (counts_E.numel() / counts_E.sum()) * share_E).sum()


class Attach(torch.autograd.Function):
    """Passes a tensor on unchanged and gives a scalar a gradient of 1, as if it had been added to
    the final loss."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, scalar: Tensor) -> Tensor:
        ctx.like = scalar.detach()
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, torch.ones_like(ctx.like)


def real_tokens(mask: Tensor | Mapping[str, Tensor] | None) -> Tensor | None:
    """Which tokens of a batch are not padding, flat; None where none is.

    From a padding mask (rows, length), or from the boolean masks (rows, 1, length, length) of
    packed rows, where a padded token attends to itself alone and no other attends to it."""
    if isinstance(mask, Mapping):
        if REAL_TOKENS in mask:
            return mask[REAL_TOKENS].flatten()
        mask = mask["full_attention"]
    if mask is None or mask.dim() == 2:
        return None if mask is None else mask.flatten().bool()
    seen = mask[:, 0]
    others = seen & ~torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)
    return (others.any(-1) | others.any(-2)).flatten()


def load_metrics(counts: Mapping[int, Tensor]) -> dict[str, float]:
    """How evenly the experts are used; nothing if no token was counted.

    `router/load_entropy`: entropy of the load, mean over the layers, 1 when even.
    `router/largest_load`: the largest share of one expert in any layer. `router/dead_experts`:
    experts of all layers that no token chose."""
    loads = [count.float() / count.sum() for count in counts.values() if count.sum() > 0]
    if not loads:
        return {}
    entropies = [
        torch.special.entr(load).sum().item() / max(math.log(load.numel()), 1e-9) for load in loads
    ]
    return {
        "router/load_entropy": sum(entropies) / len(loads) if loads[0].numel() > 1 else 1.0,
        "router/largest_load": max(load.max().item() for load in loads),
        "router/dead_experts": sum(int((load == 0).sum()) for load in loads),
    }


@contextmanager
def listening(policy: nn.Module) -> Iterator[dict[int, list[Tensor]]]:
    """Collects the experts that the tokens of the forward passes within choose, by layer: one
    tensor (tokens, K) a pass."""
    chosen: dict[int, list[Tensor]] = {}

    def hear(layer: int, top_k: int, router: nn.Module, args: Any, output: Any) -> None:
        chosen.setdefault(layer, []).append(output[1].topk(top_k, dim=1).indices)

    with _hooked(policy, hear):
        yield chosen


Place = tuple[int, int]
"""A layer, and a token of a forward pass."""
NEAR = 1e-4
"""Difference of router logits that rounding may turn around."""


@contextmanager
def decided(policy: nn.Module, other_way: Collection[Place]) -> Iterator[list[Place]]:
    """Collects where the router logits of the last chosen expert and the next one are nearly equal,
    in one forward pass within. At the places `other_way` the next one is chosen in its place."""
    ties: list[Place] = []

    def decide(layer: int, top_k: int, router: nn.Module, args: Any, output: Any) -> Any:
        scores, logits = output
        if logits.shape[1] == top_k:
            return output
        best = logits.topk(top_k + 1, dim=1)
        near = best.values[:, top_k - 1] - best.values[:, top_k] < NEAR
        ties.extend((layer, token) for token in near.nonzero()[:, 0].tolist())
        scores, logits = scores.clone(), logits.clone()
        for token in (token for place, token in other_way if place == layer):
            last, following = best.indices[token, top_k - 1 :].tolist()
            scores[token, last] = 0.0
            scores[token, following] = logits[token, following].sigmoid()
            logits[token, [last, following]] = logits[token, [following, last]]
        return scores, logits

    with _hooked(policy, decide):
        yield ties


@contextmanager
def _hooked(policy: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """Every router calls `hook` with its layer and number of chosen experts, and then what a
    forward hook gets."""
    handles = [
        block.router.register_forward_hook(partial(hook, layer, block.top_k))
        for layer, block in moe_layers(policy).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def stacked(chosen: Mapping[int, Sequence[Tensor]]) -> Tensor:
    """What `listening` collected, on the CPU: (layers, tokens of all passes, K), sorted within a
    token."""
    layers = [torch.cat(list(chosen[layer])) for layer in sorted(chosen)]
    return torch.stack(layers).sort(-1).values.cpu()


@torch.no_grad()
def routing(policy: nn.Module, sequences: Sequence[list[int]]) -> Tensor:
    """The experts that every token of the sequences (token ids) chooses, as `stacked` gives
    them."""
    was_training = policy.training
    policy.eval()
    with listening(policy) as chosen:
        for ids in sequences:
            inputs = torch.tensor([ids], device=next(policy.parameters()).device)
            if isinstance(
                policy, FSDPModule
            ):  # gathers its weights in the forward pass of the whole
                policy(input_ids=inputs, use_cache=False, logits_to_keep=1)
            else:
                plain(policy).model(input_ids=inputs, use_cache=False)
    policy.train(was_training)
    return stacked(chosen)


def differing(one: Tensor, other: Tensor) -> float:
    """Share of (layer, token) pairs whose set of experts differs between two routings."""
    return (one != other).any(-1).float().mean().item()

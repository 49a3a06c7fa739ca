"""Which experts vLLM's routers choose, where they can be observed.

The routers of vLLM's unfused MoE kernels take a callback. Fused kernels, which route inside, do
not. vLLM's own `enable_return_routed_experts` does not exist on a CPU (0.31)."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor


class ChosenExperts(defaultdict[int, list[Tensor]]):
    """Experts by layer: one tensor (tokens, top-k) per forward pass."""

    def __init__(self) -> None:
        super().__init__(list)


@contextmanager
def listening(llm: Any) -> Iterator[ChosenExperts]:
    """Collects what the routers of a vLLM `LLM` choose inside the block.

    Stays empty where they cannot be observed.
    """
    chosen = ChosenExperts()
    llm.apply_model(partial(listen, chosen))
    try:
        yield chosen
    finally:
        llm.apply_model(partial(listen, None))


def stacked(chosen: ChosenExperts, tokens: int) -> Tensor | None:
    """What was collected, (layers, tokens, top-k), sorted within a token; None unless it is of as
    many tokens. vLLM computes sequences in the order in which they are asked."""
    layers = [torch.cat(chosen[layer]) for layer in sorted(chosen) if chosen[layer]]
    if not layers or any(len(layer) != tokens for layer in layers):
        return None
    return torch.stack(layers).long().sort(-1).values


def listen(chosen: ChosenExperts | None, model: Any) -> None:
    """Let the routers of a vLLM model report to `chosen`, or to nobody."""
    from vllm.model_executor.layers.fused_moe.layer import MoERunner
    from vllm.model_executor.layers.fused_moe.router.base_router import BaseRouter

    for module in model.modules():
        if (
            isinstance(module, MoERunner)
            and isinstance(module.router, BaseRouter)
            and not module.is_monolithic
        ):
            module.router.set_capture_fn(
                None if chosen is None else partial(_keep, chosen[module.layer_id])
            )


def _keep(passes: list[Tensor], experts: Tensor) -> None:
    passes.append(experts.cpu().clone())

"""Parameter counts of a model built on the meta device, to compare with counts from dimensions."""

from typing import Any

import torch
from torch import nn

from models import sizes
from models.config import ModelConfig
from models.moe import MoeForCausalLM


def known(dimensions: sizes.Dimensions | None) -> sizes.Dimensions:
    assert dimensions is not None
    return dimensions


def dimensions_of(**model: Any) -> sizes.Dimensions:
    """The dimensions of a recipe's model, which must be known."""
    return known(sizes.dimensions_of(ModelConfig(**model)))


def on_meta(config: Any) -> MoeForCausalLM:
    """The model without its values."""
    with torch.device("meta"):
        return MoeForCausalLM(config)


def counted(model: nn.Module, part: str = "") -> int:
    return sum(p.numel() for name, p in model.named_parameters() if part in name)


def assert_counts(config: Any) -> None:
    """Every count from dimensions equals that of the model made from the same config."""
    dimensions, model = known(sizes.from_config(config.to_dict())), on_meta(config)
    routed = counted(model, ".feed_forward.experts.")
    idle = routed - routed * config.num_experts_per_tok // config.num_local_experts
    assert sizes.total(dimensions) == counted(model)
    assert sizes.routed(dimensions) == routed
    assert sizes.routers(dimensions) == counted(model, ".feed_forward.router.")
    assert sizes.active(dimensions) == counted(model) - idle

"""Bytes that a stage holds at once, as far as the model's dimensions and dtypes decide it; light.

The trainer holds weights, gradients and AdamW's two moments in float32. What depends on how a
library goes about it (activations, temporary copies) is not counted."""

from dataclasses import asdict, dataclass

from models.config import LoraConfig
from models.sizes import Dimensions, adapters, cache_bytes, total, trainable_parameters

FLOAT32 = 4
MOMENTS = 2
"""AdamW's, per weight that trains."""
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """What a stage holds at once, in bytes."""

    weights: int = 0
    """The policy in training, with its adapters."""
    gradients: int = 0
    optimizer: int = 0
    """AdamW's first and second moments."""
    reference: int = 0
    """A reference policy whose weights are held beside those in training."""
    engine: int = 0
    """The engine's own copy of the weights."""
    kv_cache_at_most: int = 0
    """Key-value cache of as many and as long sequences as the engine may hold at once."""

    def total(self) -> int:
        return sum(asdict(self).values())

    def __add__(self, other: "Memory") -> "Memory":
        mine, theirs = asdict(self), asdict(other)
        return Memory(**{name: mine[name] + theirs[name] for name in mine})


def training_memory(policy: Dimensions, train: str, lora: LoraConfig) -> Memory:
    """What a trainer holds."""
    moving = trainable_parameters(policy, train, lora)
    added = adapters(policy, lora) if train == "lora" else 0
    return Memory(
        weights=(total(policy) + added) * FLOAT32,
        gradients=moving * FLOAT32,
        optimizer=moving * MOMENTS * FLOAT32,
    )


def reference_memory(policy: Dimensions) -> Memory:
    """A second policy beside the one in training."""
    return Memory(reference=total(policy) * FLOAT32)


def engine_memory(model: Dimensions, dtype: str, tokens: int) -> Memory:
    """An engine whose cache holds at most `tokens` tokens."""
    width = BYTES[dtype]
    return Memory(engine=total(model) * width, kv_cache_at_most=cache_bytes(model, width) * tokens)


def weight_bytes(policy: Dimensions) -> int:
    """A checkpoint's weights on disk."""
    return total(policy) * FLOAT32


def resume_bytes(policy: Dimensions, train: str, lora: LoraConfig) -> int:
    """One checkpoint inside a training stage: weights and moments. Of adapters only they are
    saved, not the model."""
    moving = trainable_parameters(policy, train, lora)
    saved = moving if train == "lora" else total(policy)
    return FLOAT32 * (saved + MOMENTS * moving)

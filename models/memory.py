"""Bytes that a stage holds at once, as far as the model's dimensions and dtypes decide it; light.

The trainer holds weights, gradients and AdamW's two moments in float32. `on_rank` and `on_server`
say what of it is on one device. Activations are not counted."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from common.devices import DevicesConfig
from models.config import LoraConfig
from models.sizes import (
    Dimensions,
    adapters,
    cache_bytes,
    layers,
    outside_layers,
    total,
    trainable_parameters,
)

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
    judges: int = 0
    """Weights and cache of the judges that reward answers, in servers of their own."""
    copies: int = 0
    """What a process holds for the time of a pass: layers that FSDP2 puts together, or the weights
    in bfloat16."""

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


def on_rank(stage: Memory, policy: Dimensions, devices: DevicesConfig) -> Memory:
    """What one training process holds of a stage's memory; the engine only if it is in it.

    FSDP2 (Zhao et al. 2023, arXiv:2304.11277) divides weights, gradients and moments; not a
    reference policy. DDP divides nothing, and holds the gradients once more in its buckets."""
    if devices.engine.kind != "in_process":
        stage = replace(stage, engine=0, kv_cache_at_most=0)
    if devices.sharding == "fsdp2":
        parts = {
            name: -(-getattr(stage, name) // devices.processes)
            for name in ("weights", "gradients", "optimizer")
        }
        return replace(stage, **parts, copies=_gathered(stage, policy, devices.precision))
    if devices.sharding == "ddp":
        stage = replace(stage, gradients=2 * stage.gradients)
    rounded = total(policy) * BYTES["bfloat16"] if devices.precision == "bfloat16" else 0
    return replace(stage, copies=rounded)


def _gathered(stage: Memory, policy: Dimensions, precision: str) -> int:
    """What FSDP2 puts together: embeddings and head, which stay, and two layers, as the next one
    comes while the first one computes; and the gradients of one of them, in the precision of the
    pass and once more in float32 to be added up."""
    sizes, rest, width = layers(policy), outside_layers(policy), BYTES[precision]
    neighbours = max(map(sum, pairwise(sizes)), default=sizes[0])
    gradients = min(max(*sizes, rest), stage.gradients // FLOAT32) * (width + FLOAT32)
    return (rest + neighbours) * width + gradients


def on_server(stage: Memory, tensor_parallel: int, kv_heads: int) -> Memory:
    """What one GPU of a rollout server holds. The cache is divided as far as there are heads."""
    parts = min(tensor_parallel, kv_heads)
    return Memory(
        engine=-(-stage.engine // tensor_parallel),
        kv_cache_at_most=-(-stage.kv_cache_at_most // parts),
    )


def weight_bytes(policy: Dimensions) -> int:
    """A checkpoint's weights on disk."""
    return total(policy) * FLOAT32


def resume_bytes(policy: Dimensions, train: str, lora: LoraConfig) -> int:
    """One checkpoint inside a training stage: weights and moments. Of adapters only they are
    saved, not the model."""
    moving = trainable_parameters(policy, train, lora)
    saved = moving if train == "lora" else total(policy)
    return FLOAT32 * (saved + MOMENTS * moving)

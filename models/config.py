"""Which model a run starts from, and which of its weights a stage trains; light, loads no torch."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Config


class ModelConfig(Config):
    """Exactly one of `preset`, `upcycle` and `checkpoint`."""

    preset: Literal["nano"] | None = None
    """A model from random weights with a tokenizer of its own."""
    upcycle: str | None = None
    """A dense Llama to turn into a mixture of experts: `smollm2-135m-instruct` or a checkpoint folder."""
    checkpoint: str | None = None
    """A Llama 4 text checkpoint folder (safetensors) to start from as it is."""
    experts: int = Field(default=4, ge=1)
    """Routed experts a MoE layer (with `upcycle`)."""
    moe_every: int = Field(default=3, ge=1)
    """Every how many layers one is a MoE layer (with `upcycle`)."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "ModelConfig":
        given = [name for name in ("preset", "upcycle", "checkpoint") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of preset, upcycle, checkpoint; got {', '.join(given) or 'none'}")
        unread = {"experts", "moe_every"} & self.model_fields_set
        if given != ["upcycle"] and unread:
            raise ValueError(f"{', '.join(sorted(unread))} only apply to upcycle")
        return self


class LoraConfig(Config):
    """Low-rank adapters on attention, shared expert, dense MLP and routed experts."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Adapters are scaled by alpha / rank."""
    experts: bool = True
    """Whether the routed experts' stacked weights get adapters too."""

"""Which model a run starts from, and which of its weights a stage trains; light, loads no torch."""

from typing import Any, Literal

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
    experts: int | None = Field(default=None, ge=1)
    """Routed experts a MoE layer (with `upcycle`; 4 if left out)."""
    moe_every: int | None = Field(default=None, ge=1)
    """Every how many layers one is a MoE layer (with `upcycle`; 3 if left out)."""

    @model_validator(mode="before")
    @classmethod
    def _upcycling_has_defaults(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("upcycle") is not None:
            return {"experts": 4, "moe_every": 3, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "ModelConfig":
        given = [name for name in ("preset", "upcycle", "checkpoint") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of preset, upcycle, checkpoint; got {', '.join(given) or 'none'}")
        unread = [name for name in ("experts", "moe_every") if getattr(self, name) is not None]
        if given != ["upcycle"] and unread:
            raise ValueError(f"{', '.join(unread)} only apply to upcycle")
        return self


class LoraConfig(Config):
    """Low-rank adapters on attention, shared expert, dense MLP and routed experts."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Adapters are scaled by alpha / rank."""
    experts: bool = True
    """Whether the routed experts' stacked weights get adapters too."""

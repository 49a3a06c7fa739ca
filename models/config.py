"""Settings of the starting model and of LoRA adapters; light, loads no torch."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from common.config import Config
from common.user_files import ModelFolder, UserFile

ChatTemplate = Annotated[str, UserFile("template")]
"""A Jinja file of the user, or the text of a template."""
UPCYCLE_DEFAULTS = {"experts": 4, "experts_per_token": 1, "moe_every": 3, "init": "zero_output"}


def is_template(text: str) -> bool:
    """Whether a text is a chat template itself, not the name of a file: it contains Jinja
    markup."""
    return "{{" in text or "{%" in text


class ModelConfig(Config):
    """The starting model. Set exactly one of `preset`, `upcycle` and `checkpoint`."""

    preset: Literal["nano", "scout", "maverick", "behemoth"] | None = None
    """A packaged architecture. `nano` starts from random weights and has its own tokenizer; the
    others are for `uphill plan` only."""
    upcycle: ModelFolder | None = Field(default=None, examples=["smollm2-135m-instruct"])
    """A dense Llama to convert to a mixture of experts: `smollm2-135m-instruct` or a checkpoint
    folder."""
    checkpoint: ModelFolder | None = Field(default=None, examples=["../models/my-llama4"])
    """A Llama 4 checkpoint folder (safetensors). Of a multimodal model only the text part is
    used."""
    experts: int | None = Field(default=None, ge=1, examples=[4])
    """Routed experts per MoE layer (with `upcycle`; not set: 4)."""
    experts_per_token: int | None = Field(default=None, ge=1, examples=[1])
    """Routed experts per token (with `upcycle`; not set: 1)."""
    moe_every: int | None = Field(default=None, ge=1, examples=[3])
    """Distance between MoE layers: every n-th layer is one (with `upcycle`; not set: 3)."""
    init: Literal["zero_output", "noise", "split"] | None = None
    """Initialisation of the routed experts, see `models/expert_init.py` (with `upcycle`; not set:
    `zero_output`)."""
    pad_token: str | None = Field(
        default=None, min_length=1, examples=["<|finetune_right_pad_id|>"]
    )
    """Padding token that replaces the tokenizer's own (with `upcycle` and `checkpoint`)."""
    chat_template: ChatTemplate | None = Field(default=None, examples=["chat.jinja"])
    """Chat template that replaces the tokenizer's own: a `.jinja` file or the template itself (with
    `upcycle` and `checkpoint`)."""

    @model_validator(mode="before")
    @classmethod
    def _upcycling_has_defaults(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("upcycle") is not None:
            missing = {
                name: value for name, value in UPCYCLE_DEFAULTS.items() if values.get(name) is None
            }
            return {**values, **missing}
        return values

    @field_validator("chat_template")
    @classmethod
    def _a_template_renders_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError(
                "an empty template renders every chat as an empty text; name a .jinja file, such as"
                " chat.jinja"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "ModelConfig":
        given = [
            name for name in ("preset", "upcycle", "checkpoint") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"name exactly one of preset, upcycle, checkpoint; got {', '.join(given) or 'none'}"
            )
        unread = [name for name in UPCYCLE_DEFAULTS if getattr(self, name) is not None]
        if given != ["upcycle"] and unread:
            raise ValueError(f"{', '.join(unread)} only apply to upcycle")
        unread = [
            name for name in ("pad_token", "chat_template") if getattr(self, name) is not None
        ]
        if given == ["preset"] and unread:
            raise ValueError(f"{', '.join(unread)} only apply to upcycle and checkpoint")
        if self.experts and self.experts_per_token and self.experts_per_token > self.experts:
            raise ValueError(
                f"experts_per_token ({self.experts_per_token}) is more than experts"
                f" ({self.experts})"
            )
        return self


Part = Literal["attention", "mlp", "shared_expert", "routed_experts"]


class LoraConfig(Config):
    """Low-rank adapters (LoRA) and the weights that they adapt."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Scaling of the adapters: their output is multiplied by alpha / rank."""
    parts: tuple[Part, ...] = Field(default=get_args(Part), min_length=1)
    """Parts of a layer that get adapters. `mlp` is the MLP of a layer without experts."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1, examples=[[0, 1, 2]]
    )
    """Layers that get adapters, counted from 0; not set: all."""

"""Which model a run starts from, and which of its weights a stage trains; light, loads no torch."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from common.config import Config
from common.user_files import UserFile

ModelFolder = Annotated[str, UserFile("model")]
"""A checkpoint folder of the user's, or the name of a packaged model."""
ChatTemplate = Annotated[str, UserFile("template")]
"""A Jinja file of the user's, or a template itself."""
UPCYCLE_DEFAULTS = {"experts": 4, "experts_per_token": 1, "moe_every": 3, "init": "zero_output"}


def is_template(text: str) -> bool:
    """Whether a text is a chat template and not the name of a file with one: it writes or decides
    something."""
    return "{{" in text or "{%" in text


class ModelConfig(Config):
    """Exactly one of `preset`, `upcycle` and `checkpoint`."""

    preset: Literal["nano", "scout", "maverick", "behemoth"] | None = None
    """`nano` starts from random weights, with a tokenizer of its own; the others are for `uphill
    plan` only."""
    upcycle: ModelFolder | None = Field(default=None, examples=["smollm2-135m-instruct"])
    """A dense Llama to turn into a mixture of experts: `smollm2-135m-instruct` or a checkpoint
    folder."""
    checkpoint: ModelFolder | None = Field(default=None, examples=["../models/my-llama4"])
    """A Llama 4 checkpoint folder (safetensors) to start from; of a multimodal one the text
    part."""
    experts: int | None = Field(default=None, ge=1, examples=[4])
    """Routed experts a MoE layer (with `upcycle`; 4 if left out)."""
    experts_per_token: int | None = Field(default=None, ge=1, examples=[1])
    """Routed experts that each token goes through (with `upcycle`; 1 if left out)."""
    moe_every: int | None = Field(default=None, ge=1, examples=[3])
    """Every how many layers one is a MoE layer (with `upcycle`; 3 if left out)."""
    init: Literal["zero_output", "noise", "split"] | None = None
    """How the routed experts are initialised (with `upcycle`; `zero_output` if left out), see
    `models/expert_init.py`."""
    pad_token: str | None = Field(
        default=None, min_length=1, examples=["<|finetune_right_pad_id|>"]
    )
    """The token that fills sequences up, in place of the tokenizer's own (with `upcycle` and
    `checkpoint`)."""
    chat_template: ChatTemplate | None = Field(default=None, examples=["chat.jinja"])
    """The chat template in place of the tokenizer's own: a file (`.jinja`), or the template itself
    (with `upcycle` and `checkpoint`)."""

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
                "an empty template renders every chat as nothing; name a .jinja file, such as"
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
    """Low-rank adapters, and where they sit."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Adapters are scaled by alpha / rank."""
    parts: tuple[Part, ...] = Field(default=get_args(Part), min_length=1)
    """Parts of a layer that get adapters; `mlp` is the MLP of a layer without experts."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1, examples=[[0, 1, 2]]
    )
    """Layers that get adapters, counted from 0; all if left out."""

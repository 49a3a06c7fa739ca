"""Settings of the rollout engine that decide what it computes; light, loads no vllm."""

from typing import Literal

from pydantic import Field

from common.config import Config

BATCH_TOKENS = 4096
"""Most tokens in one batch of the engine, as long as `max_model_len` is not more."""


class RolloutConfig(Config):
    """How vLLM holds the policy. Part of a stage's identity: another dtype samples other tokens."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Weights and arithmetic of the engine. bfloat16 beside a float32 trainer fails the parity
    check."""
    max_model_len: int = Field(default=512, ge=16)
    """Longest prompt plus completion, in tokens."""

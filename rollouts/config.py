"""Settings of the rollout engine that affect its results; light, loads no vllm."""

from typing import Literal

from pydantic import Field

from common.config import Config

BATCH_TOKENS = 4096
"""Largest number of tokens per batch of the engine, unless `max_model_len` is larger."""

PARITY_TOLERANCE, DRIFT_TOLERANCE = 1e-4, 0.1
"""Mean absolute differences of log-probabilities between engine and trainer, in nats per token,
that are accepted of an engine in float32 and in bfloat16, if nothing else is set."""


class RolloutConfig(Config):
    """The vLLM engine. Part of a stage's identity: another dtype samples other tokens."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the engine's weights and arithmetic. In RL, bfloat16 halves the engine's memory, and
    rollouts are off-policy by its rounding, which `importance` corrects."""
    max_model_len: int = Field(default=512, ge=16)
    """Largest number of tokens of a prompt and its completion together."""

    @property
    def exact(self) -> bool:
        """Whether the engine computes as the trainer does, up to the order of sums."""
        return self.dtype == "float32"

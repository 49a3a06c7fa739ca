"""The reference policy of the KL term: the one that the stage starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from models.checkpoint import load_policy
from models.packed import PackedBatch
from stages.rl.config import RlStage


@dataclass(frozen=True)
class Reference:
    """Computes the reference's log-probabilities."""

    weight: float
    """Weight of the KL term in the loss."""
    policy: Any
    """A frozen copy of the weights; or the policy in training, whose start is what it computes
    without its adapters."""
    adapters: bool
    """Whether it is the policy in training."""

    @torch.no_grad()
    def logprobs(self, packed: PackedBatch, temperature: float) -> Tensor:
        """Log-probability of each completion token (B, C)."""
        if not self.adapters:
            return self.policy(packed=packed, temperature=temperature).logprobs
        training = self.policy.training
        self.policy.eval()  # router metrics count tokens in training mode; these are not among them
        with self.policy.disable_adapter():
            logprobs = self.policy(packed=packed, temperature=temperature).logprobs
        self.policy.train(training)
        return logprobs


def reference_of(config: RlStage, policy: Any, checkpoint: Path) -> Reference | None:
    """The reference of a stage that starts from `checkpoint`; None without a KL term."""
    if not config.kl_weight:
        return None
    if isinstance(policy, PeftModel):
        return Reference(config.kl_weight, policy, adapters=True)
    copy = load_policy(checkpoint).requires_grad_(False).eval()
    return Reference(config.kl_weight, copy, adapters=False)

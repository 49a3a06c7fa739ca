"""The KL term's reference policy: the one that the stage started from.

The term is TRL's: the estimator r - log r - 1 with r = reference / policy at each sampled token
(k3, J. Schulman, "Approximating KL divergence", 2020), times the importance ratio, whose value is 1
in an on-policy step and whose gradient makes the estimate's that of KL(policy || reference);
without it k3 has the gradient of the reverse (see DeepSeek-V3.2, arXiv:2512.02556, section 3.1).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stages.rl.packed import Packed, logprobs_and_entropies


@dataclass(frozen=True)
class Reference:
    """Gives the log-probabilities that hold the policy."""

    weight: float
    """Of the KL term in the loss."""
    policy: Any
    """A frozen copy of the weights; or the trained policy itself, which without its adapters is
    where it started."""
    adapters: bool
    """Whether it is the latter."""

    @torch.no_grad()
    def logprobs(self, packed: Packed, completion_ids: Tensor, temperature: float) -> Tensor:
        """Log-probability of each completion token (B, C)."""
        if not self.adapters:
            return logprobs_and_entropies(self.policy, packed, completion_ids, temperature)[0]
        training = self.policy.training
        self.policy.eval()  # what watches the routers in training must not see these tokens
        with self.policy.disable_adapter():
            found, _ = logprobs_and_entropies(self.policy, packed, completion_ids, temperature)
        self.policy.train(training)
        return found

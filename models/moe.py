"""The one model definition: transformers' Llama 4 text model with experts that run only where they are chosen.

Parameters, names and state dict are transformers' own, so any checkpoint goes either way unchanged and plain
transformers or vLLM load what we save. What differs is listed here, in one place:

- `SparseMoe` computes the routed experts on their own tokens. Stock `Llama4TextMoe` sends every token through every
  expert with its input scaled by the router's score, which is exactly 0 where the expert was not chosen: same result.
- `base_model_prefix`: stock says "language_model", an attribute that does not exist, and TRL reads it.
- `router_aux_loss_coef = 0`: TRL enables a load-balancing loss for any coefficient above 0, and Llama 4 has none.
"""

import torch
from torch import Tensor
from torch.nn.functional import grouped_mm
from transformers import Llama4ForCausalLM, Llama4TextConfig
from transformers.models.llama4.modeling_llama4 import Llama4TextExperts, Llama4TextMoe


class SparseMoe(Llama4TextMoe):
    """Shared expert plus the top-k routed experts of each token."""

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, length, width) to outputs (tokens, width) and router logits (tokens, experts)."""
        tokens_TD = hidden_states.reshape(-1, self.hidden_dim)
        scores_TE, logits_TE = self.router(tokens_TD)
        chosen_TK = logits_TE.topk(self.top_k, dim=1).indices
        order, counts_E = _sorted_by_expert(chosen_TK, self.num_experts)
        source = order // self.top_k
        # The score multiplies the expert's input (Llama 4), not its output.
        weight = scores_TE.gather(1, chosen_TK).flatten()[order]
        routed = self.experts(tokens_TD[source] * weight[:, None], counts_E.cumsum(0).to(torch.int32))
        shared = self.shared_expert(tokens_TD)
        return shared.index_add(0, source, routed.to(shared.dtype)), logits_TE


class SparseExperts(Llama4TextExperts):
    """The stacked routed experts. A module with a forward of its own, so that PEFT can wrap its parameters."""

    def forward(self, inputs_SD: Tensor, ends_E: Tensor) -> Tensor:
        """Rows sorted by expert through their expert's gated MLP; `ends_E` are the cumulative row counts."""
        gate_up_EDH, down_EHD = self.gate_up_proj, self.down_proj
        if torch.is_autocast_enabled(inputs_SD.device.type):  # autocast does not know grouped_mm
            dtype = torch.get_autocast_dtype(inputs_SD.device.type)
            inputs_SD, gate_up_EDH, down_EHD = (x.to(dtype) for x in (inputs_SD, gate_up_EDH, down_EHD))
        gate, up = grouped_mm(inputs_SD, gate_up_EDH, offs=ends_E).chunk(2, dim=-1)
        return grouped_mm(up * self.act_fn(gate), down_EHD, offs=ends_E)


def _sorted_by_expert(chosen_TK: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Stable order of the (token, choice) pairs by expert, and the number of pairs of each expert."""
    flat = chosen_TK.flatten()
    return flat.argsort(stable=True), torch.bincount(flat, minlength=experts)


class MoeForCausalLM(Llama4ForCausalLM):
    """Llama 4 text with sparse experts, ready for TRL."""

    base_model_prefix = "model"

    def __init__(self, config: Llama4TextConfig) -> None:
        config.router_aux_loss_coef = 0.0
        super().__init__(config)
        for layer in self.model.layers:
            if layer.is_moe_layer:
                # Same parameters, another forward: nothing is copied or re-initialised.
                layer.feed_forward.__class__ = SparseMoe
                layer.feed_forward.experts.__class__ = SparseExperts

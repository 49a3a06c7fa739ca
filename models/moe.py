"""The one model definition: transformers' Llama 4 text model with experts that run only where they
are chosen.

Parameters, names and state dict are transformers' own, so any checkpoint goes either way unchanged
and plain transformers or vLLM load what we save. What differs is listed here, in one place:

- `SparseMoe` computes the routed experts on their own tokens. Stock `Llama4TextMoe` sends every
  token through every expert with its input scaled by the router's score, which is exactly 0 where
  the expert was not chosen: same result.
- `base_model_prefix`: stock says "language_model", an attribute that does not exist, and TRL reads
  it.
- `router_aux_loss_coef = 0`: TRL enables a load-balancing loss for any coefficient above 0, and
  Llama 4 has none.
- `model` takes several documents in one row (`models/documents.py`).
- `forward(packed=...)` gives the log-probabilities of the completions in packed rows
  (`models/packed.py`). It is part of `forward` because DDP and FSDP hook that method alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import grouped_mm, pad
from transformers import Llama4ForCausalLM, Llama4TextConfig
from transformers.models.llama4.modeling_llama4 import Llama4TextExperts, Llama4TextMoe

from models.documents import DocumentsModel
from models.packed import PackedBatch, TokenHead, token_logprobs

Factors = tuple[Tensor, Tensor, float]
"""Low-rank change of a stacked weight: (experts, in, rank), (experts, rank, out) and the scale of
their product."""


class SparseMoe(Llama4TextMoe):
    """Shared expert plus the top-k routed experts of each token.

    T tokens, K experts a token, S = T K pairs of token and expert, E experts, D width, H width of
    an expert."""

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, length, width) to outputs (tokens, width) and router logits
        (tokens, experts)."""
        tokens_TD = hidden_states.reshape(-1, self.hidden_dim)
        scores_TE, logits_TE = self.router(tokens_TD)
        chosen_TK = logits_TE.topk(self.top_k, dim=1).indices
        order_S, ends_E = _sorted_by_expert(chosen_TK, self.num_experts)
        # The score multiplies the expert's input (Llama 4), not its output.
        weight_S = scores_TE.gather(1, chosen_TK).flatten().index_select(0, order_S)
        inputs_SD = Spread.apply(tokens_TD, order_S, self.top_k) * weight_S[:, None]
        routed_SD = self.experts(inputs_SD, ends_E)
        shared_TD = self.shared_expert(tokens_TD)
        return shared_TD + Gather.apply(routed_SD, order_S, self.top_k).to(
            shared_TD.dtype
        ), logits_TE


class SparseExperts(Llama4TextExperts):
    """The stacked routed experts. A module with a forward of its own, so that PEFT can wrap its
    parameters."""

    def forward(self, inputs_SD: Tensor, ends_E: Tensor, **factors: Factors) -> Tensor:
        """Rows sorted by expert through their expert's gated MLP; `ends_E` are the cumulative row
        counts.

        `factors` are low-rank changes by the name of the parameter that they belong to.
        """
        if torch.is_autocast_enabled(inputs_SD.device.type):  # autocast does not know grouped_mm
            inputs_SD = inputs_SD.to(torch.get_autocast_dtype(inputs_SD.device.type))
        gate_up_S2H = _grouped_linear(
            inputs_SD, self.gate_up_proj, ends_E, factors.get("gate_up_proj")
        )
        gate_SH, up_SH = gate_up_S2H.chunk(2, dim=-1)
        return _grouped_linear(
            up_SH * self.act_fn(gate_SH), self.down_proj, ends_E, factors.get("down_proj")
        )


def _grouped_linear(
    rows: Tensor, weight: Tensor, ends_E: Tensor, factors: Factors | None
) -> Tensor:
    """Each row times its expert's matrix, plus its low-rank change, which is never multiplied
    out."""
    result = _grouped_mm(rows, weight, ends_E)
    if factors is None:
        return result
    down_EIR, up_ERO, scale = factors
    low_rank = _grouped_mm(rows, down_EIR, ends_E) * scale
    return result + _grouped_mm(low_rank, up_ERO, ends_E)


def _grouped_mm(rows_SI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    """`grouped_mm` for any width and layout: it takes rows of whole 16 bytes, one of the last two
    strides being 1."""
    width, multiple = weight_EIO.shape[2], 16 // rows_SI.element_size()
    short_I, short_O = (-size % multiple for size in weight_EIO.shape[1:])
    weight_EIO = _in_precision(weight_EIO, rows_SI.dtype)
    if short_I or short_O:
        rows_SI, weight_EIO = pad(rows_SI, (0, short_I)), pad(weight_EIO, (0, short_O, 0, short_I))
    elif 1 not in weight_EIO.stride()[1:]:
        weight_EIO = weight_EIO.contiguous()
    return grouped_mm(rows_SI, weight_EIO, offs=ends_E)[:, :width]


_rounded: dict[int, tuple[Tensor, Tensor]] | None = None
"""Within `weights_rounded_once`: stacked weights by their id, each with its copy in the precision
of the pass."""


@contextmanager
def weights_rounded_once() -> Iterator[None]:
    """Round each expert's weights once for all passes within, and not in each pass and once more
    where gradient checkpointing computes a layer again. The weights must not change within: this
    goes around the passes of one optimiser step.

    Without it the copies live from a layer's forward pass to its backward pass, with it to the end
    of the step. Weights that are in the precision of the pass (FSDP2's mixed precision) are never
    copied."""
    global _rounded
    _rounded = {}
    try:
        yield
    finally:
        _rounded = None


def _in_precision(weight: Tensor, dtype: torch.dtype) -> Tensor:
    if weight.dtype == dtype:
        return weight
    if _rounded is None or not weight.is_leaf:
        return weight.to(dtype)
    if id(weight) not in _rounded:
        _rounded[id(weight)] = weight, weight.detach().to(dtype)
    rounded: Tensor = Rounded.apply(weight, _rounded[id(weight)][1])
    return rounded


class Rounded(torch.autograd.Function):
    """A copy of a weight in another precision, which passes its gradient on to the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        return copy.view_as(copy)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.to(ctx.dtype), None


def _sorted_by_expert(chosen_TK: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Stable order of the (token, choice) pairs by expert, and where each expert's rows end in it
    (int32)."""
    flat = chosen_TK.flatten()
    return flat.argsort(stable=True), torch.bincount(flat, minlength=experts).cumsum(0).to(
        torch.int32
    )


def _spread(tokens_TD: Tensor, order_S: Tensor, top_k: int) -> Tensor:
    return tokens_TD.index_select(0, order_S if top_k == 1 else order_S // top_k)


def _gather(rows_SD: Tensor, order_S: Tensor, top_k: int) -> Tensor:
    back_SD = torch.empty_like(rows_SD).index_copy_(0, order_S, rows_SD)
    return back_SD if top_k == 1 else back_SD.view(-1, top_k, rows_SD.shape[1]).sum(1)


class Spread(torch.autograd.Function):
    """Tokens (T, D) to one row a pair of token and expert (S, D), sorted by expert.

    Its gradient and its inverse are `Gather`: both copy rows, where autograd would add them up one
    by one, on a GPU in no fixed order."""

    @staticmethod
    def forward(ctx: Any, tokens_TD: Tensor, order_S: Tensor, top_k: int) -> Tensor:
        ctx.order_S, ctx.top_k = order_S, top_k
        return _spread(tokens_TD, order_S, top_k)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_SD: Tensor) -> tuple[Tensor, None, None]:
        return _gather(grad_SD, ctx.order_S, ctx.top_k), None, None


class Gather(torch.autograd.Function):
    """Rows sorted by expert (S, D) back to tokens (T, D), the rows of a token added up."""

    @staticmethod
    def forward(ctx: Any, rows_SD: Tensor, order_S: Tensor, top_k: int) -> Tensor:
        ctx.order_S, ctx.top_k = order_S, top_k
        return _gather(rows_SD, order_S, top_k)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None]:
        return _spread(grad_TD, ctx.order_S, ctx.top_k), None, None


class MoeForCausalLM(Llama4ForCausalLM):
    """Llama 4 text with sparse experts, ready for TRL."""

    base_model_prefix = "model"
    dense_masks: bool | None = None
    """Whether packed rows get attention masks of the whole row; not set: on a CPU."""

    def __init__(self, config: Llama4TextConfig) -> None:
        config.router_aux_loss_coef = 0.0
        super().__init__(config)
        for layer in self.model.layers:
            if layer.is_moe_layer:
                # Same parameters, another forward: nothing is copied or re-initialised.
                layer.feed_forward.__class__ = SparseMoe
                layer.feed_forward.experts.__class__ = SparseExperts
        self.lm_head.__class__ = TokenHead
        self.model.__class__ = DocumentsModel

    # The signature stays stock: generation and trainers read from it which arguments they may pass.
    @wraps(Llama4ForCausalLM.forward)
    def forward(
        self,
        *args: Any,
        packed: PackedBatch | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        engine_logprobs: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Stock Llama 4's; with `packed` the `TokenLogprobs` of its completions."""
        if packed is None:
            return super().forward(*args, **kwargs)
        return token_logprobs(self, packed, temperature, top_p, engine_logprobs)

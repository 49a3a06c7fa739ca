"""Weight sync: new weights for a running vLLM engine.

Four things fail silently when they are left out:

1. The engine is eager (`vllm_settings.py`).
2. On a CPU every expert layer forgets its prepared kernel first (`forget_prepared_experts`). vLLM
   repacks the experts only when there is no kernel, and would otherwise read the new weights in the
   old layout.
3. Tied embeddings are sent under both names (`with_tied_head`), or the output head stays old.
4. The engine's dtype can hold the update: a bfloat16 engine rounds small steps away
   (`RolloutConfig.dtype`). It has to hold the rounded weights then.

The parity check (`parity.py`) stops the run when one of them fails, in bfloat16 with the proof of
the weights (`held.py`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def load_weights(llm: Any, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Replace the weights of a vLLM `LLM` and drop what it cached under the old ones.

    RuntimeError when a sequence is still running.
    """
    llm.apply_model(forget_prepared_experts)
    llm.collective_rpc("reload_weights", kwargs={"weights_iterator": with_tied_head(weights)})
    if not llm.reset_prefix_cache():
        raise RuntimeError(
            "vLLM kept its prefix cache: a sequence was still running during a weight update"
        )


def with_tied_head(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The same tensors, then the embedding again as the output head if no head was among them."""
    embedding, has_head = None, False
    for name, tensor in weights:
        embedding = tensor if name == EMBEDDING else embedding
        has_head = has_head or name == HEAD
        yield name, tensor.detach().contiguous()
    if not has_head and embedding is not None:
        yield HEAD, embedding.detach().contiguous()


def forget_prepared_experts(model: Any) -> None:
    """Make every MoE layer of a vLLM model prepare its kernel again at the next weight load."""
    for module in model.modules():
        method = getattr(module, "quant_method", None)
        if method is not None and getattr(method, "moe_kernel", None) is not None:
            method.moe_kernel = None

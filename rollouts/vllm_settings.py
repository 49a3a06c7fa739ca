"""How vLLM is set up, in this process or in a server."""

from pathlib import Path
from typing import Any

import torch

from common.errors import BadInput
from common.files import read_json
from rollouts.config import BATCH_TOKENS

CPU_BLOCK_SIZE = 32
"""Tokens per cache block on a CPU, the fewest that vLLM's attention takes there. Its default is
128, and the rollouts of a group share whole blocks only."""


def vllm_settings(
    model: str, dtype: str, max_model_len: int, max_num_seqs: int, seed: int
) -> dict[str, Any]:
    """vLLM's settings, by the names of its engine arguments."""
    return {
        "model": model,
        "dtype": dtype,
        "seed": seed,
        "enforce_eager": True,
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max(BATCH_TOKENS, max_model_len),
        # A prompt split over two batches would need a seeded generator's offset, which CPU
        # generators lack.
        "enable_chunked_prefill": False,
        "block_size": None if torch.cuda.is_available() else CPU_BLOCK_SIZE,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
    }


def require_one_expert_per_token(checkpoint: Path) -> None:
    """BadInput for a checkpoint that vLLM would compute differently."""
    path = checkpoint / "config.json"
    top_k = read_json(path).get("num_experts_per_tok") if path.is_file() else None
    if top_k is not None and top_k > 1:
        raise BadInput(
            f"{checkpoint}: {top_k} experts per token, and vLLM weights the experts' input for one"
            " only",
            "roll out a checkpoint with num_experts_per_tok 1",
        )

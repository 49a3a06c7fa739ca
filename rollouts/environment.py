"""What must be in the process's environment before vllm is imported.

One process holds engine and trainer: the engine core runs in process, with the external launcher,
which also keeps vLLM from reserving one of the CPU's cores for itself."""

import os
import socket

import torch
import torch._dynamo

from common.errors import RunFailed


def prepare(kv_cache_gib: int) -> None:
    """Set vLLM's variables for an engine inside this process. Call before the first import of
    vllm."""
    fixed = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
    }
    for name, value in fixed.items():
        if os.environ.setdefault(name, value) != value and name in (
            "WORLD_SIZE",
            "VLLM_ENABLE_V1_MULTIPROCESSING",
        ):
            raise RunFailed(
                f"{name} is {os.environ[name]!r}, this engine needs {value!r}", f"unset {name}"
            )
    if not torch.cuda.is_available():
        # vLLM compiles one small sampling helper even in eager mode. That takes seconds a process
        # and a C++ compiler, which a bare machine lacks; the plain function gives the same numbers.
        torch._dynamo.config.disable = True
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

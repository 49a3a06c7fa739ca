"""The environment variables that vLLM reads when it is imported.

One process holds engine and trainer. The engine core runs in that process, under the external
launcher, which also keeps vLLM from reserving a CPU core for itself."""

import os
import socket

import torch
import torch._dynamo

from common.errors import RunFailed

ONE_PROCESS = ("WORLD_SIZE", "VLLM_ENABLE_V1_MULTIPROCESSING")
"""Variables whose value must be the one below: with another vLLM starts processes of its own."""


def prepare(kv_cache_gib: int) -> None:
    """Set vLLM's variables for an engine in this process, before the first import of vllm.

    RunFailed when the environment already asks for several processes.
    """
    values = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
    }
    for name, value in values.items():
        if os.environ.setdefault(name, value) != value and name in ONE_PROCESS:
            raise RunFailed(
                f"{name} is {os.environ[name]!r}, this engine needs {value!r}", f"unset {name}"
            )
    if not torch.cuda.is_available():
        # vLLM compiles one small sampling helper even in eager mode. That takes seconds per process
        # and a C++ compiler, which a bare machine lacks. The plain function computes the same.
        torch._dynamo.config.disable = True
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

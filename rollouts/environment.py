"""The environment variables that vLLM reads when it is imported.

One process holds engine and trainer. The engine core runs in that process, under the external
launcher, which also keeps vLLM from reserving a CPU core for itself."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
import torch._dynamo

from common.errors import RunFailed

ONE_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"
"""A variable whose value must be the one below: with another vLLM starts processes of its own."""


@contextmanager
def launched(kv_cache_gib: int) -> Iterator[None]:
    """The environment in which vllm is first imported and starts its engine in this process.

    The variables of a launcher hold within the block only: outside of it they would tell
    accelerate that the trainer is one of several processes. RunFailed when the environment already
    asks for several."""
    launcher = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    launcher |= {"MASTER_PORT": str(_free_port())}
    given = {name: os.environ.get(name) for name in launcher}
    _require_one_process(given["WORLD_SIZE"])
    for name, value in launcher.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(kv_cache_gib))
    set_vllm()
    try:
        yield
    finally:
        for name, before in given.items():
            if before is None:
                del os.environ[name]


def set_vllm() -> None:
    """What vLLM needs to know when it is imported. RunFailed as `launched`."""
    values = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
    }
    for name, value in values.items():
        if os.environ.setdefault(name, value) != value and name == ONE_PROCESS:
            _refuse(name, value)
    if not torch.cuda.is_available():
        # vLLM compiles one small sampling helper even in eager mode. That takes seconds per process
        # and a C++ compiler, which a bare machine lacks. The plain function computes the same.
        torch._dynamo.config.disable = True
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


def _require_one_process(world: str | None) -> None:
    if world not in (None, "1"):
        _refuse("WORLD_SIZE", "1")


def _refuse(name: str, value: str) -> NoReturn:
    raise RunFailed(f"{name} is {os.environ[name]!r}, this engine needs {value!r}", f"unset {name}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

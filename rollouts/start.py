"""The rollout engine of a stage, as its `devices.engine` says: in this process, on servers that are
started for it, or on servers that run already."""

import os
import secrets
from pathlib import Path

from common.devices import Servers, ServerUrls
from common.errors import BadInput
from common.execution import ExecutionConfig
from common.files import read_json
from common.stage import StageContext
from common.starter import Starter
from rollouts.config import RolloutConfig
from rollouts.interface import UNPUBLISHED, RolloutEngine
from rollouts.vllm_settings import require_one_expert_per_token

SILENCE = 600.0
"""Seconds without any sign after which a server is given up."""
LOG = "server-{}.log"
"""Name of a server's log, in the stage's folder."""


def start_engine(
    checkpoint: Path, config: RolloutConfig, seed: int, context: StageContext
) -> RolloutEngine:
    """An engine that has the weights of a checkpoint. Close it in the end.

    Servers write their logs into the stage's folder; the user is told of servers that are silent or
    were started again. Raises BadInput where the layout does not fit the machine, or a remote
    server serves another model; RunFailed where a server does not start."""
    layout = context.execution.devices.engine
    if isinstance(layout, Servers):
        require_one_expert_per_token(checkpoint)
        return _on_servers(checkpoint, config, seed, context, layout)
    if isinstance(layout, ServerUrls):
        require_one_expert_per_token(checkpoint)
        return _at_addresses(checkpoint, config, context, layout)
    from rollouts.engine import Engine

    return Engine(checkpoint, config, seed, context.execution)


def _on_servers(
    checkpoint: Path, config: RolloutConfig, seed: int, context: StageContext, layout: Servers
) -> RolloutEngine:
    """Servers of our own. They go with this process."""
    import torch

    from rollouts.served.pool import ServedEngine
    from rollouts.served.process import OwnServer, start_all

    if layout.tensor_parallel > 1 and not torch.cuda.is_available():
        raise BadInput(
            f"devices.engine.tensor_parallel is {layout.tensor_parallel}, and this machine has no"
            " GPU",
            "set tensor_parallel: 1; on a CPU use several replicas",
        )
    options = _options(config, seed, context.execution, layout)
    words = [str(checkpoint.absolute()), *options]
    secret, starter = secrets.token_hex(32), Starter("server-starter")
    servers = [
        OwnServer(
            f"server {number}",
            words,
            secret,
            context.servers.of(number),
            context.folder / LOG.format(number),
            starter,
            SILENCE,
        )
        for number in range(layout.replicas)
    ]
    start_all(servers, context.note)
    return ServedEngine(servers, checkpoint, config, None, context.note)


def _options(
    config: RolloutConfig, seed: int, execution: ExecutionConfig, layout: Servers
) -> list[str]:
    """The options of `python -m rollouts.served`."""
    options = {
        "dtype": config.dtype,
        "max-model-len": config.max_model_len,
        "max-num-seqs": execution.max_num_seqs,
        "kv-cache-gib": execution.kv_cache_gib,
        "memory-share": layout.memory_share,
        "tensor-parallel": layout.tensor_parallel,
        "seed": seed,
    }
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _at_addresses(
    checkpoint: Path, config: RolloutConfig, context: StageContext, layout: ServerUrls
) -> RolloutEngine:
    """Servers of somebody else. They get the checkpoint's weights, whatever they served before."""
    from rollouts.served.client import ServerClient
    from rollouts.served.handover import checkpoint_tensors
    from rollouts.served.pool import ServedEngine
    from rollouts.served.remote import RemoteServer

    secret = os.environ.get(layout.secret_env)
    if not secret:
        raise BadInput(
            f"devices.engine.secret_env: {layout.secret_env} is not set",
            "set it to the secret with which the servers were started",
        )
    servers = [
        RemoteServer(f"server {number}", ServerClient(url, secret, f"server {number}", SILENCE))
        for number, url in enumerate(layout.urls)
    ]
    model = read_json(checkpoint / "config.json")
    for server in servers:
        server.require(model, config)
    engine = ServedEngine(servers, checkpoint, config, Path(layout.weights_dir), context.note)
    engine.publish(checkpoint_tensors(checkpoint), UNPUBLISHED)
    return engine

"""Where a stage runs: its training processes and its rollout engine.

The layout changes no result in exact arithmetic. Equal bytes are promised for equal layouts only:
another number of processes adds the same terms in another order."""

from typing import Annotated, Literal

from pydantic import Field

from common.config import Config


class InProcess(Config):
    """The rollout engine in the stage's own process."""

    kind: Literal["in_process"] = "in_process"


class Servers(Config):
    """vLLM servers that the stage starts on this machine and ends with itself."""

    kind: Literal["server"]
    replicas: int = Field(default=1, ge=1)
    """Number of servers. Each has the whole model; a step's rollouts are divided among them."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs over which each server divides the model; 1 on a CPU."""
    cores: int | None = Field(default=None, ge=1, examples=[1])
    """CPU cores of each server, which the trainer then leaves alone; not set: an even share. Not
    read on GPUs."""
    memory_share: float = Field(default=0.9, gt=0, lt=1)
    """Share of a GPU's memory that a server takes for weights and cache. Not read on a CPU."""


class ServerUrls(Config):
    """vLLM servers that already run, started with `python -m rollouts.served`."""

    kind: Literal["remote"]
    urls: tuple[str, ...] = Field(min_length=1, examples=[["http://10.0.0.2:8000"]])
    """Their addresses, on the loopback or in a private network."""
    secret_env: str = "UPHILL_SERVER_SECRET"
    """Environment variable that holds the secret with which they were started."""
    weights_dir: str = Field(examples=["/mnt/shared/weights"])
    """Folder that all servers read, in which new weights are handed over."""


EngineLayout = Annotated[InProcess | Servers | ServerUrls, Field(discriminator="kind")]


class DevicesConfig(Config):
    """The processes and devices of a stage."""

    processes: int = Field(default=1, ge=1)
    """Number of training processes. On GPUs each has one GPU."""
    sharding: Literal["none", "ddp", "fsdp2"] = "none"
    """How they share the training: `ddp`: each has the whole model; `fsdp2`: each has a part of
    weights, gradients and optimiser state; `none`: one process without either."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the trainer's forward and backward passes. Weights, gradients that are added up
    over processes, and optimiser state stay in float32."""
    launcher: tuple[str, ...] = Field(default=(), examples=[["srun", "--nodes=2"]])
    """Command that starts the training processes, for several machines: the worker's command is
    appended to it. It must start `processes` of them with the environment variables of torchrun or
    srun. Empty: uphill starts them on this machine."""
    engine: EngineLayout = InProcess()
    """The rollout engine: `{kind: in_process}`, `{kind: server}` or `{kind: remote}`."""

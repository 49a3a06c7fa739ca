"""Where a stage runs: its training processes and its rollout engine.

The layout changes no result in exact arithmetic. Equal bytes are promised for equal layouts only:
another number of processes adds the same terms in another order."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from common.config import Config


class InProcess(Config):
    """The rollout engine in the stage's own process."""

    kind: Literal["in_process"] = "in_process"
    memory_share: float = Field(default=0.4, gt=0, lt=1)
    """Share of a GPU's memory that the engine takes for weights and cache; the trainer has the
    rest. Not read on a CPU."""


class Servers(Config):
    """vLLM servers that the stage starts on this machine and ends with itself."""

    kind: Literal["server"]
    replicas: int = Field(default=1, ge=1)
    """Number of servers. Each has the whole model; a step's rollouts are divided among them."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs over which each server divides the model; 1 on a CPU."""
    cores: int | None = Field(default=None, ge=1, examples=[1])
    """CPU cores of each server, which the trainer then leaves alone; not set: an even share."""
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

    @property
    def alone(self) -> bool:
        """Whether all that runs on this machine is one process, which the runner starts."""
        return self.processes == 1 and not self.launcher and not isinstance(self.engine, Servers)


@dataclass(frozen=True)
class Share:
    """How the CPU threads of a stage are divided."""

    trainer: int
    """Threads of each training process."""
    server: int = 0
    """Threads of each server that the stage starts; 0 without servers."""


def cores_of(devices: DevicesConfig, threads: int, processes: int | None = None) -> Share:
    """Divide the stage's `threads` among its training processes and its servers, at least one for
    each. `processes`: how many of the training processes share them; not given: all of them."""
    count, engine = processes or devices.processes, devices.engine
    if not isinstance(engine, Servers):
        return Share(max(1, threads // count))
    server = engine.cores or max(1, threads // (engine.replicas + count))
    return Share(max(1, (threads - engine.replicas * server) // count), server)


@dataclass(frozen=True)
class ServerPlace:
    """Where one server belongs."""

    threads: int = 1
    """Its CPU threads."""
    cores: tuple[int, ...] = ()
    """Its CPU cores, by number; empty: those of the stage."""
    gpus: str | None = None
    """Its `CUDA_VISIBLE_DEVICES`; None: that of the stage."""


@dataclass(frozen=True)
class ServerPlaces:
    """Where the servers that a stage starts belong."""

    threads: int = 1
    """CPU threads of each server."""
    cores: tuple[tuple[int, ...], ...] = ()
    """The CPU cores of each server, by number; empty: they share those of the stage."""
    gpus: tuple[str, ...] = ()
    """`CUDA_VISIBLE_DEVICES` of each server; empty: that of the stage."""

    def of(self, number: int) -> ServerPlace:
        """The place of one server."""
        cores = self.cores[number] if self.cores else ()
        return ServerPlace(self.threads, cores, self.gpus[number] if self.gpus else None)


@dataclass(frozen=True)
class Cores:
    """The CPU cores of a stage's processes, by number. Empty where several share them."""

    trainers: tuple[tuple[int, ...], ...] = ()
    """The cores of each training process."""
    servers: tuple[tuple[int, ...], ...] = ()
    """The cores of each server that the stage starts."""


def placed(devices: DevicesConfig, threads: int, allowed: Collection[int]) -> Cores:
    """Cores of their own for each process: training processes have the first of the `allowed`
    ones, servers the last. None have any if these are too few, or if there is one process only."""
    engine, share = devices.engine, cores_of(devices, threads)
    replicas = engine.replicas if isinstance(engine, Servers) else 0
    wanted = devices.processes * share.trainer + replicas * share.server
    if devices.processes + replicas == 1 or wanted > len(allowed):
        return Cores()
    first = sorted(allowed)
    last = first[len(first) - replicas * share.server :]
    return Cores(
        _parts(first, share.trainer, devices.processes), _parts(last, share.server, replicas)
    )


def _parts(cores: list[int], size: int, count: int) -> tuple[tuple[int, ...], ...]:
    """The first `count` runs of `size` cores."""
    return tuple(tuple(cores[at : at + size]) for at in range(0, size * count, size or 1))

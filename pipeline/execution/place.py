"""Where a process stands among those of its stage: its number, its CPU cores and its GPUs.

The runner, torchrun or srun says so in the environment. Cores and GPUs are set before any library
is imported, since libraries read them once."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from common.devices import DevicesConfig, ServerPlaces, cores_of, placed
from common.errors import BadInput
from pipeline.execution.gpus import VARIABLE, divided

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
"""The variables of torchrun and of srun: number of the process, number of processes, and the same
two within one machine."""


@dataclass(frozen=True)
class Place:
    """A process among those of its stage."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int | None = 1
    """Processes on this machine; None if the launcher does not say."""
    slurm: bool = False
    """Whether srun started it, and has divided the cores."""


def place_in(environ: Mapping[str, str]) -> Place | None:
    """The place that the launcher gave this process; None if it gave none."""
    for names in (TORCHRUN, SLURM):
        rank, world, local_rank, local_world = (environ.get(name) for name in names)
        if rank is not None and world is not None:
            count = int(local_world) if local_world else None
            return Place(int(rank), int(world), int(local_rank or 0), count, names is SLURM)
    return None


def require_place(place: Place | None, devices: DevicesConfig, stage: str) -> Place:
    """`place`; BadInput if the launcher of `stage` gave none, or started another number of
    processes than the recipe says."""
    setting, command = f"runtime.stages.{stage}.devices", " ".join(devices.launcher)
    if place is None:
        raise BadInput(
            f"{setting}.launcher: `{command}` starts processes with neither RANK and WORLD_SIZE"
            " nor SLURM_PROCID and SLURM_NTASKS",
            "use a launcher that numbers its processes, such as torchrun or srun",
        )
    if place.world != devices.processes:
        raise BadInput(
            f"{setting}.processes: {devices.processes}, but `{command}` starts {place.world}",
            f"let the launcher start {devices.processes}, or set processes: {place.world}",
        )
    return place


def announce(place: Place, environ: MutableMapping[str, str]) -> None:
    """Set torchrun's variables for a process that srun started; libraries read these."""
    values = (place.rank, place.world, place.local_rank, place.local_world)
    for name, value in zip(TORCHRUN, values, strict=True):
        if place.slurm and value is not None:
            environ[name] = str(value)


def settle(place: Place, devices: DevicesConfig, threads: int) -> tuple[int, ServerPlaces]:
    """Bind this process to its cores and GPUs. Returns its number of CPU threads, and where the
    stage's servers belong. `threads`: those of the whole stage on one machine."""
    if devices.alone:
        return threads, ServerPlaces()
    allowed = os.sched_getaffinity(0)
    gpus, server_gpus = divided(os.environ, devices)
    os.environ[VARIABLE] = gpus
    if devices.launcher:  # which binds processes as its own options say
        sharing = 1 if place.slurm else place.local_world
        share = cores_of(devices, min(threads, len(allowed)), sharing)
        return share.trainer, ServerPlaces(share.server, (), server_gpus)
    share, cores = cores_of(devices, threads), placed(devices, threads, allowed)
    if cores.trainers:
        os.sched_setaffinity(0, cores.trainers[place.rank])
    return share.trainer, ServerPlaces(share.server, cores.servers, server_gpus)

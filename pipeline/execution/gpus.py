"""Gives each process of a stage its GPUs. A stage of one process trains and generates on one
device, and the libraries' trainers fail when they see several.

Such a stage sees the first GPU that the runner may use. CUDA is not queried: the variable's text is
cut after its first entry, which may be an index, the name of a GPU (`GPU-...`) or of a part of one
(`MIG-...`), or empty."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.devices import DevicesConfig, Servers
from common.errors import BadInput
from common.execution import devices_of

VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Contains one folder per GPU of the machine."""
SHARED = 0.5
"""Largest `memory_share` of a server whose GPU a training process uses too."""


def first_visible(environ: Mapping[str, str]) -> str:
    """The value of a stage's `CUDA_VISIBLE_DEVICES`. An empty text or a negative index, which mean
    no GPU to CUDA, is kept."""
    return environ.get(VARIABLE, "0").split(",")[0].strip()


def notice(environ: Mapping[str, str], driver: Path = DRIVER) -> str | None:
    """The message for a user whose machine or environment offers several GPUs; None if there is no
    choice."""
    first = first_visible(environ)
    if VARIABLE in environ:
        several = "," in environ[VARIABLE] and first and not first.startswith("-")
        chosen = f"{first} of {VARIABLE}={environ[VARIABLE]}"
    else:
        count = len(list(driver.iterdir())) if driver.is_dir() else 0
        several, chosen = count > 1, f"the first of {count}"
    return f"every stage uses one GPU, {chosen}; set {VARIABLE} to use another" if several else None


def visible(environ: Mapping[str, str], driver: Path = DRIVER) -> list[str]:
    """The GPUs that the runner may use, as entries of `CUDA_VISIBLE_DEVICES`; empty if none."""
    if VARIABLE not in environ:
        return [str(number) for number, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    entries = [entry.strip() for entry in environ[VARIABLE].split(",")]
    return [] if not entries[0] or entries[0].startswith("-") else entries


def require_enough(
    stage: str,
    execution: Mapping[str, Any],
    environ: Mapping[str, str],
    driver: Path = DRIVER,
) -> None:
    """BadInput where a stage with these execution settings needs more GPUs than the runner may use.
    Servers may share the GPUs of training processes if they leave them memory. Without any GPU
    everything runs on the CPU."""
    gpus, devices = visible(environ, driver), devices_of(execution)
    engine = devices.engine
    trains = "processes" in execution.get("devices", {}) and not devices.launcher
    processes = devices.processes if trains else 0
    servers = engine.replicas * engine.tensor_parallel if isinstance(engine, Servers) else 0
    shares = isinstance(engine, Servers) and engine.memory_share <= SHARED and servers <= len(gpus)
    needed = max(processes, servers) if shares else processes + servers
    if not gpus or needed <= len(gpus):
        return
    share = f", or let them share GPUs with memory_share: {SHARED:g} or less" if servers else ""
    raise BadInput(
        f"runtime.stages.{stage}.devices: {processes} training processes and {servers} GPUs of"
        f" servers need {needed} GPUs, and {len(gpus)} may be used ({','.join(gpus)})",
        f"lower processes, replicas or tensor_parallel{share}",
    )


def divided(
    environ: Mapping[str, str], devices: DevicesConfig, driver: Path = DRIVER
) -> tuple[str, tuple[str, ...]]:
    """`CUDA_VISIBLE_DEVICES` of the training processes, of which each takes the one with its local
    number, and of each server. Servers have the last GPUs; they share the others' GPUs if there are
    not enough (`require_enough` says when that is allowed)."""
    gpus, engine = visible(environ, driver), devices.engine
    if not gpus:
        return first_visible(environ), ()
    size, replicas = (
        (engine.tensor_parallel, engine.replicas) if isinstance(engine, Servers) else (0, 0)
    )
    taken = min(size * replicas, len(gpus) - 1)
    trainers = gpus[: len(gpus) - taken][: 1 if devices.processes == 1 else None]
    last = gpus[-size * replicas :] if replicas else []
    servers = [
        ",".join(last[(number * size + part) % len(last)] for part in range(size))
        for number in range(replicas)
    ]
    return ",".join(trainers), tuple(servers)

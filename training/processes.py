"""What the processes (ranks) of a training stage agree on.

`runtime.devices` says how many there are; whoever started them set the environment variables of
torchrun. Rank 0 reads what earlier attempts left, writes the stage's files and talks to the user,
and the others get from it what they need to know. Functions here do nothing in a stage of one
process: torch.distributed is not touched then, unless its model is sharded all the same."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from common.devices import DevicesConfig
from common.errors import BadInput, RunFailed
from common.quotas import even_parts
from common.stage import StageContext

Value = TypeVar("Value")
PATIENCE = timedelta(days=2)
"""How long a rank waits for another one. The runner notices a dead or silent rank much earlier."""


def join(context: StageContext) -> None:
    """Meet the other ranks of the stage. Call it first, on every rank.

    Raises BadInput for a layout without meaning, RunFailed where other processes were started than
    the layout says."""
    devices = context.execution.devices
    if devices.processes > 1 and devices.sharding == "none":
        raise BadInput(
            f"devices.processes is {devices.processes} and devices.sharding is none",
            "set devices.sharding to ddp (the model fits each process) or to fsdp2",
        )
    if devices.processes == 1 and devices.sharding != "fsdp2":
        return
    _require_started(context)
    if not torch.cuda.is_available():
        # Its own name for the device, cpu:0, is none that torch.load knows.
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        # accelerate sets the threads itself where this is missing.
        os.environ.setdefault("OMP_NUM_THREADS", str(context.threads))
        if devices.sharding == "fsdp2":
            from training.cpu_fsdp import allow

            allow()
    if not distributed.is_initialized():
        _meet(context.rank, devices.processes)


def _require_started(context: StageContext) -> None:
    """RunFailed unless the environment is that of this rank among the layout's processes."""
    processes = context.execution.devices.processes
    if processes == 1:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    found = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if found != (str(context.rank), str(processes)):
        raise RunFailed(
            f"devices.processes is {processes} and this is process {context.rank}, but the"
            f" environment has RANK {found[0]} and WORLD_SIZE {found[1]}",
            "start the run with `uphill run`; a `devices.launcher` must start that many processes",
        )


def _meet(rank: int, processes: int) -> None:
    """Make the process group: NCCL between GPUs, gloo for everything on the CPU."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        backend = "cuda:nccl,cpu:gloo"
    group: Any = distributed
    alone = {"store": group.HashStore()} if processes == 1 else {}
    group.init_process_group(backend, rank=rank, world_size=processes, timeout=PATIENCE, **alone)


def several(context: StageContext) -> bool:
    """Whether the stage has more than one process."""
    return context.execution.devices.processes > 1


def broadcast(context: StageContext, value: Value) -> Value:
    """Rank 0's value, on every rank; that of the others is not read."""
    if not several(context):
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def gather(context: StageContext, value: Value) -> list[Value]:
    """The values of all ranks in their order, on every rank."""
    if not several(context):
        return [value]
    held: list[Any] = [None] * context.execution.devices.processes
    distributed.all_gather_object(held, value)
    return held


def total(context: StageContext, values: Tensor) -> Tensor:
    """The sum of the ranks' tensors, on every rank; `values` itself in a stage of one process."""
    if not several(context):
        return values
    result = values.detach().clone()
    distributed.all_reduce(result)
    return result


def barrier(context: StageContext) -> None:
    """Wait until every rank is here."""
    total(context, torch.zeros(1))


def agree_stop(context: StageContext) -> bool:
    """Whether any rank has been asked to stop: a signal may reach one of them a step earlier. Every
    rank must call it at the same places."""
    asked = context.stop_requested()
    if not several(context):
        return asked
    return bool(total(context, torch.tensor([float(asked)])).item())


def dealt(items: int, most: int, processes: int, rank: int) -> list[tuple[int, int]]:
    """A rank's part of each forward pass over a step's `items`, as (first, count).

    Every rank has the same number of passes, with at most `most` items each. The ranks' parts of a
    pass follow one another and differ by one item at most; a count may be 0."""
    spans, start = [], 0
    for size in even_parts(items, most * processes):
        counts = [size // processes + (other < size % processes) for other in range(processes)]
        spans.append((start + sum(counts[:rank]), counts[rank]))
        start += size
    return spans


def require_wrapped(processes: int, model: Any, devices: DevicesConfig) -> None:
    """RunFailed unless a model in training is shared among as many processes, and in the way, that
    the layout says. accelerate trains alone, or each process its own model, without a word."""
    wanted: Sequence[type] = {
        "none": (),
        "ddp": (DistributedDataParallel,) if devices.processes > 1 else (),
        "fsdp2": (FSDPModule,),
    }[devices.sharding]
    wrapped = isinstance(model, tuple(wanted) or (DistributedDataParallel, FSDPModule))
    if processes != devices.processes or wrapped != bool(wanted):
        raise RunFailed(
            f"the layout is {devices.processes} processes with sharding {devices.sharding}, but the"
            f" trainer has {processes} and its model is a {type(model).__name__}",
            "report this: the trainer did not take the layout",
        )

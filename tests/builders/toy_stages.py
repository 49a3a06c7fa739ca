"""A stage that counts, for tests of the runner. Light: the worker imports it."""

import errno
import json
import os
import signal
import time
from typing import ClassVar, Literal

from common.artifacts import Artifact
from common.errors import BadInput, Interrupted
from common.files import append_json_line, read_json, write_text
from common.stage import Outputs
from stages.declaration import Need, StageConfig

COUNT = Artifact("count", "count.txt", shared=True)

FORKED = "TOY_FORKED"
"""Environment variable with which toy stages are forks, as stages that import torch are."""


class ToyStage(StageConfig):
    """Counts from where another one stopped."""

    produces: ClassVar[tuple[Artifact, ...]] = (COUNT,)

    reads_execution: ClassVar[tuple[str, ...]] = (
        *("devices.processes", "devices.launcher", "devices.engine"),
    )

    imports_torch: ClassVar[bool] = FORKED in os.environ

    kind: Literal["toy"] = "toy"
    after: str | None = None
    """Id of the stage whose `count.txt` this one adds to."""
    steps: int = 3
    """Steps of 50 ms."""
    ending: str = "good"
    """`good`, or how the stage goes wrong."""
    wrong: int | None = None
    """The only process that goes wrong like that; not set: all."""
    others: str = "good"
    """How the others end."""

    def needs(self):
        return {} if self.after is None else {"before": Need((COUNT,), path=("after",))}


def run(config, inputs, context):
    begin = int(inputs["before"].joinpath("count.txt").read_text()) if inputs else 0
    saved = context.folder / "resume" / "step"
    # In the first attempt, what is saved is of process 0, which began earlier.
    again = context.main or read_json(context.folder / "attempt.json")["attempts"] > 1
    first = int(saved.read_text()) if again and saved.exists() else 0
    saved.parent.mkdir(exist_ok=True)
    print(f"toy log line of {config.id}; GPUs: {os.environ['CUDA_VISIBLE_DEVICES']!r}")
    print(f"place: {json.dumps(place(context))}", flush=True)
    ending = config.ending if config.wrong in (None, context.rank) else config.others
    if context.main:
        append_json_line(context.folder / "starts.jsonl", {"from": first})
    if ending == "noted":
        context.note(f"the toy is short of paint{' again' * context.rank}")
    for step in range(first, config.steps):
        if context.stop_requested():
            raise Interrupted("the toy was stopped", "run it again")
        if step == 1:
            go_wrong(ending, context)
        time.sleep(0.05)
        if context.main:
            write_text(saved, str(step + 1))
            append_json_line(
                context.folder / "metrics.jsonl", {"step": step, "loss": 1 / (step + 1)}
            )
        context.progress(step + 1, config.steps, unit="step", step=step)
    if context.main:
        write_text(context.folder / "count.txt", str(begin + config.steps))
    value = float("nan") if ending == "nan" else float(begin + config.steps)
    return Outputs(metrics={"count": value}, tokens_generated=config.steps)


def place(context):
    """Where this process runs."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {
        "pid": os.getpid(),
        "rank": context.rank,
        "threads": context.threads,
        "omp": os.environ["OMP_NUM_THREADS"],
        "cores": sorted(os.sched_getaffinity(0)),
        "servers": context.servers.cores,
        "secrets": [name for name in os.environ if name.startswith("UPHILL_RUNNER")],
        **{name: os.environ[name] for name in names if name in os.environ},
    }


def go_wrong(ending, context):
    if ending.startswith("late "):
        time.sleep(0.5)
        ending = ending.removeprefix("late ")
    if ending == "crash":
        raise ValueError("the toy broke")
    if ending == "lost":
        raise RuntimeError("[tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:4711")
    if ending == "bad_input":
        raise BadInput("row 3 is broken", "mend row 3")
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "aborted":
        print("terminate called: NCCL communicator was aborted", flush=True)
        os.abort()
    if ending == "quiet":
        os._exit(0)
    if ending == "large":
        print(len(b"x" * (192 << 20)))
    if ending == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint/model.safetensors")
    if ending == "memory":
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
        )
    while ending in ("deaf", "busy"):
        time.sleep(0.05)
        if ending == "busy":
            context.progress(0, 1)

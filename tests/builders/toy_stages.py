"""A stage that counts, for tests of the runner. Light: the worker imports it."""

import errno
import os
import signal
import time
from typing import ClassVar, Literal

from common.artifacts import Artifact
from common.errors import BadInput, Interrupted
from common.files import append_json_line, write_text
from common.stage import Outputs
from stages.declaration import Need, StageConfig

COUNT = Artifact("count", "count.txt", shared=True)


class ToyStage(StageConfig):
    """Counts from where another one stopped."""

    produces: ClassVar[tuple[Artifact, ...]] = (COUNT,)

    reads_execution: ClassVar[tuple[str, ...]] = (
        *("devices.processes", "devices.launcher", "devices.engine"),
    )

    kind: Literal["toy"] = "toy"
    after: str | None = None
    """Id of the stage whose `count.txt` this one adds to."""
    steps: int = 3
    """Steps of 50 ms."""
    ending: str = "good"
    """`good`, or how the stage goes wrong."""

    def needs(self):
        return {} if self.after is None else {"before": Need((COUNT,), path=("after",))}


def run(config, inputs, context):
    begin = int(inputs["before"].joinpath("count.txt").read_text()) if inputs else 0
    saved = context.folder / "resume" / "step"
    first = int(saved.read_text()) if saved.exists() else 0
    saved.parent.mkdir(exist_ok=True)
    append_json_line(context.folder / "starts.jsonl", {"from": first})
    print(f"toy log line of {config.id}; GPUs: {os.environ['CUDA_VISIBLE_DEVICES']!r}")
    if config.ending == "noted":
        context.note("the toy is short of paint")
    for step in range(first, config.steps):
        if context.stop_requested():
            raise Interrupted("the toy was stopped", "run it again")
        if step == 1:
            go_wrong(config.ending)
        time.sleep(0.05)
        write_text(saved, str(step + 1))
        append_json_line(context.folder / "metrics.jsonl", {"step": step})
        context.progress(step + 1, config.steps, unit="step", step=step)
    write_text(context.folder / "count.txt", str(begin + config.steps))
    value = float("nan") if config.ending == "nan" else float(begin + config.steps)
    return Outputs(metrics={"count": value}, tokens_generated=config.steps)


def go_wrong(ending):
    if ending == "crash":
        raise ValueError("the toy broke")
    if ending == "bad_input":
        raise BadInput("row 3 is broken", "mend row 3")
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "quiet":
        os._exit(0)
    if ending == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint/model.safetensors")
    if ending == "memory":
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
        )
    while ending == "deaf":
        time.sleep(0.05)

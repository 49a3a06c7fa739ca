"""A stage's `run` in processes of its own; also the program that each of them runs.

`python ranks.py JOB RANK`, JOB being a file that `start` wrote."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
WAIT = 120
"""Seconds after which processes that are still there have hung."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    folder, stage, inputs, processes=1, sharding="none", *, stop=None, sgd=False, **execution
):
    """The processes of one attempt at a stage in `folder`. `stop` are rank and step at which a
    signal reaches that rank."""
    folder.mkdir(exist_ok=True)
    devices = {"processes": processes, "sharding": sharding, **execution.pop("devices", {})}
    job = {
        "folder": str(folder),
        "stage": stage,
        "inputs": {name: str(path) for name, path in inputs.items()},
        "execution": {**execution, "devices": devices},
        "stop": stop,
        "sgd": sgd,
    }
    path = folder.parent / f"{folder.name}.job.json"
    path.write_text(json.dumps(job))
    env = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"}
    if processes > 1:
        env |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
        log = folder.parent / f"{folder.name}.rank-{rank}.log"
        with log.open("w") as output:
            command = [sys.executable, __file__, str(path), str(rank)]
            children.append(
                subprocess.Popen(command, env=env | own, stdout=output, stderr=subprocess.STDOUT)
            )
    return children


def finish(children, folder):
    """Wait for the processes; what each of them ended with (`done` or the error). One that fails
    ends the others, as the runner does it."""
    end = time.monotonic() + WAIT
    while any(child.poll() is None for child in children):
        late = time.monotonic() > end
        if late or any(child.poll() for child in children):
            time.sleep(0 if late else 0.5)
            for child in children:
                child.kill()
                child.wait()
            assert not late, f"hung: {logs(folder)}"
        time.sleep(0.02)
    return [
        json.loads(path.read_text()) if path.exists() else None
        for path in (
            folder.parent / f"{folder.name}.rank-{rank}.json" for rank in range(len(children))
        )
    ]


def logs(folder):
    paths = sorted(folder.parent.glob(f"{folder.name}.rank-*.log"))
    return "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in paths)


def train(folder, stage, inputs, *args, **settings):
    """Run a stage to its end in its processes; rank 0's metrics."""
    results = finish(start(folder, stage, inputs, *args, **settings), folder)
    assert all(result and "metrics" in result for result in results), logs(folder)
    return results[0]["metrics"]


def main(job, rank):
    from builders.contexts import stage_context
    from common.errors import UphillError
    from common.execution import ExecutionConfig

    if job["sgd"]:
        plain_descent()
    seen = [0]
    asked = job["stop"]

    def progress(step, *_, **__):
        seen[0] = step

    context = stage_context(
        Path(job["folder"]),
        seed=3,
        progress=progress,
        stop_requested=lambda: bool(asked) and asked[0] == rank and seen[0] >= asked[1],
        execution=ExecutionConfig.model_validate(job["execution"]),
        rank=rank,
    )
    inputs = {name: Path(path) for name, path in job["inputs"].items()}
    try:
        result: dict[str, Any] = {"metrics": stage_run(job["stage"])(inputs, context).metrics}
    except UphillError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    path = Path(job["folder"])
    (path.parent / f"{path.name}.rank-{rank}.json").write_text(json.dumps(result))
    return 0 if "metrics" in result else 1


def stage_run(values):
    """The stage's `run`, given its config."""
    if values["kind"] == "sft":
        from stages.sft.config import SftStage
        from stages.sft.run import run as sft

        return lambda inputs, context: sft(SftStage.model_validate(values), inputs, context)
    from stages.dpo.config import DpoStage
    from stages.dpo.run import run as dpo

    return lambda inputs, context: dpo(DpoStage.model_validate(values), inputs, context)


def plain_descent():
    """Train with plain gradient descent: its steps show a difference of gradients as it is, where
    Adam's are all of one size."""
    import training.arguments as module

    stock = module.trainer_arguments

    def arguments(*args, **kwargs):
        return {**stock(*args, **kwargs), "optim": "sgd"}

    for user in ("stages.sft.run", "stages.dpo.run"):
        __import__(user)
        sys.modules[user].trainer_arguments = arguments


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])))

"""Stages in processes of their own, one job after another; also the program of each process.

`python ranks.py FOLDER RANK PROCESSES`, with FOLDER/jobs.json written by `together`. A job has the
fields of `job`. What a process found is FOLDER/<name>.rank-<rank>.json."""

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

TESTS = Path(__file__).parents[1]
WAIT = 240
"""Seconds after which processes that are still there have hung."""


def job(
    name,
    stage,
    inputs,
    sharding="none",
    *,
    stop=None,
    sgd=False,
    double=False,
    folder=None,
    **execution,
):
    """An attempt at a stage. `stop` are rank and step at which that rank is asked to stop; `sgd`
    trains with plain gradient descent, `double` has an engine of its own sample for the probes of
    an SFT, `folder` names that of an earlier job to go on in."""
    return {
        "name": name,
        "folder": folder or name,
        "stage": stage,
        "inputs": {key: str(path) for key, path in inputs.items()},
        "sharding": sharding,
        "stop": stop,
        "sgd": sgd,
        "double": double,
        "execution": execution,
    }


def alone(root, one):
    """Do a job in this process; what it found."""
    return _do(root, one, 0, 1)


def together(root, jobs, processes=2):
    """Do jobs in processes of their own; what each rank found, by job. A process that fails ends
    the others, as the runner does it."""
    (root / "jobs.json").write_text(json.dumps(jobs))
    env = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"}
    if processes > 1:  # a stage of one process knows nothing of others
        env |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in map(str, range(processes)):
        command = [sys.executable, __file__, str(root), rank, str(processes)]
        with (root / f"rank-{rank}.log").open("w") as log:
            own = {"RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {}
            children.append(subprocess.Popen(command, env=env | own, stdout=log, stderr=log))
    _wait(children, root)
    return {
        one["name"]: [
            json.loads((root / f"{one['name']}.rank-{rank}.json").read_text())
            for rank in range(processes)
        ]
        for one in jobs
    }


def _wait(children, root):
    end = time.monotonic() + WAIT
    while any(child.poll() is None for child in children):
        if time.monotonic() > end or any(child.poll() for child in children):
            break
        time.sleep(0.02)
    for child in children:
        child.kill()  # does nothing to one that has ended
        child.wait()
    logs = "\n".join(path.read_text()[-4000:] for path in sorted(root.glob("rank-*.log")))
    assert [child.returncode for child in children] == [0] * len(children), logs


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _do(root, one, rank, processes):
    from builders.contexts import stage_context
    from common.errors import UphillError
    from common.execution import ExecutionConfig

    folder, seen = root / one["folder"], [0]
    folder.mkdir(exist_ok=True)
    notes: list[str] = []

    def progress(step, *_, **__):
        seen[0] = step

    devices = {"processes": processes, "sharding": one["sharding"]}
    settings = {**one["execution"], "devices": devices | one["execution"].get("devices", {})}
    stop = one["stop"] or (rank, float("inf"))
    context = stage_context(
        folder,
        seed=3,
        progress=progress,
        note=notes.append,
        stop_requested=lambda: stop[0] == rank and seen[0] >= stop[1],
        execution=ExecutionConfig.model_validate(settings),
        rank=rank,
    )
    os.environ.pop("ACCELERATE_USE_FSDP", None)  # accelerate sets it for good
    inputs = {name: Path(path) for name, path in one["inputs"].items()}
    found: dict[str, Any] = {"notes": notes}
    try:
        found["metrics"] = _run(one, inputs, context).metrics
    except UphillError as error:
        found |= {"error": type(error).__name__, "message": str(error)}
    return found


def _run(one, inputs, context):
    """The stage's `run`. Steps of plain gradient descent show a difference of gradients as it is;
    Adam's are all of one size."""
    from builders.nano_rl import SampledNano
    from stages.registry import KINDS
    from training.arguments import trainer_arguments

    def arguments(*args):
        return {**trainer_arguments(*args), "optim": "sgd" if one["sgd"] else "adamw_torch"}

    values = one["stage"]
    kind = next(of for of in KINDS if of.__module__ == f"stages.{values['kind']}.config")
    module = importlib.import_module(f"stages.{values['kind']}.run")
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(module, "trainer_arguments", arguments))
        if one["double"]:
            start = mock.patch("stages.sft.probes.start_engine", lambda at, *_: SampledNano(at))
            patches.enter_context(start)
        return module.run(kind.model_validate(values), inputs, context)


def main(root, rank, processes):
    for one in json.loads((root / "jobs.json").read_text()):
        found = _do(root, one, rank, processes)
        (root / f"{one['name']}.rank-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

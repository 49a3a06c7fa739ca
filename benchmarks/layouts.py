"""The layouts of processes that `benchmarks/processes.py` and `benchmarks/process_kills.py` run.

A: one process, the engine in it. B: a trainer and a server, a core each. C: two trainers (FSDP2)
and two servers. D: B with rollouts one step ahead."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT

ONE_SERVER = {"engine": {"kind": "server", "replicas": 1, "cores": 1}}
TWO_OF_EACH = {
    "processes": 2,
    "sharding": "fsdp2",
    "engine": {"kind": "server", "replicas": 2, "cores": 1},
}
DEVICES: Mapping[str, Mapping[str, Any]] = {
    "A": {},
    "B": ONE_SERVER,
    "C": TWO_OF_EACH,
    "D": ONE_SERVER,
}
AHEAD = {"D": 1}
RL = 1
"""Place of the RL stage among the stages of the recipes that are run."""


def options(layout: str) -> list[str]:
    """The options of `uphill run` that choose a layout for the RL stage."""
    devices = json.dumps(DEVICES[layout])
    chosen = ["--set", f"runtime.stages.rl.devices={devices}"] if DEVICES[layout] else []
    return [*chosen, "--set", f"stages.{RL}.ahead={AHEAD.get(layout, 0)}"]


def start(recipe: Path, folder: Path, more: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """`uphill run` in a process of its own; its output is added to `log`."""
    command = [sys.executable, "-m", "pipeline", "run", str(recipe), "--runs-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, *more], cwd=ROOT, env=environment, stdout=output, stderr=output
        )


def run(recipe: Path, folder: Path, more: Sequence[str] = ()) -> None:
    """`uphill run` to its end; SystemExit if it fails."""
    log = folder / "run.log"
    if code := start(recipe, folder, more, log).wait():
        raise SystemExit(f"{folder}: exit code {code}; see {log}")

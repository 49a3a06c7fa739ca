"""The process that runs one stage: `python -m pipeline.execution.worker attempt.json`.

The runner starts it, or a launcher several of them. It reports progress and its result to the
runner (`channel.py`). Everything that it prints goes to the stage's log. It dies with the process
that started it. At SIGTERM it stops once the stage has saved its state."""

import ctypes
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.divergence import DivergenceLimits
from common.errors import RunFailed, UphillError
from common.execution import ExecutionConfig, devices_of
from common.files import read_json
from common.process_memory import peak_memory_mib
from common.stage import Outputs, StageContext
from pipeline.execution.channel import CHANNEL, TOKEN, Channel, connected, inherited, is_json
from pipeline.execution.faults import fault_of, lost_peer, what_to_lower
from pipeline.execution.logs import log_of
from pipeline.execution.place import Place, announce, place_in, require_place, settle

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the call above
        sys.exit(1)


def set_environment(threads: int) -> None:
    """Set the variables that libraries read on import; call it before importing any."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = str(threads)


def run_stage(
    attempt: Mapping[str, Any], channel: Channel, stop: list[int], place: Place | None
) -> None:
    """Run the stage and send its result to the runner. `stop` is non-empty after a signal."""
    execution = ExecutionConfig.model_validate(attempt["execution"])
    place = require_place(place, execution.devices, attempt["id"])
    announce(place, os.environ)
    threads, servers = settle(place, execution.devices, attempt["settings"]["threads"])
    set_environment(threads)
    module, name = attempt["config_type"].split(":")
    config = getattr(importlib.import_module(module), name).model_validate(attempt["config"])
    context = StageContext(
        folder=Path(attempt["folder"]),
        seed=attempt["seed"],
        progress=channel.progress,
        stop_requested=lambda: bool(stop),
        threads=threads,
        note=channel.note,
        divergence=DivergenceLimits.model_validate(attempt["settings"]["divergence"]),
        execution=execution,
        replies=_path(attempt["settings"].get("replies")),
        rank=place.rank,
        servers=servers,
    )
    inputs = {name: Path(path) for name, path in attempt["inputs"].items()}
    outputs: Outputs = importlib.import_module(attempt["module"]).run(config, inputs, context)
    if context.main:
        require_finite(outputs, attempt["id"])
    channel.send(
        type="finished",
        config=config.model_dump(mode="json", by_alias=True),
        metrics=outputs.metrics if context.main else {},
        tokens_generated=outputs.tokens_generated,
        tokens_trained=outputs.tokens_trained,
        peak_memory_mib=peak_memory_mib(),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def require_finite(outputs: Outputs, stage: str) -> None:
    """RunFailed when a final figure is no plain number, text or collection of them."""
    broken = [name for name, value in outputs.metrics.items() if not is_json(value)]
    if broken:
        values = ", ".join(f"{name} = {outputs.metrics[name]!r}" for name in broken)
        raise RunFailed(
            f"stage {stage!r} ended with {values}",
            "look for the first such value in its metrics.jsonl",
        )


def main(path: str, parent: int | None = None) -> int:
    """Run the attempt; return 0 or the exit code of an UphillError. Other errors are raised.
    `parent` is the process that forked this one; not given: the runner started it."""
    attempt, stop = read_json(Path(path)), list[int]()
    channel, place = reach_runner(attempt, stop, parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stop.append(received))
    try:
        run_stage(attempt, channel, stop, place)
    except UphillError as error:
        return report(error, channel)
    except Exception as error:
        fault = fault_of(
            error, Path(attempt["folder"]), what_to_lower(attempt["id"], attempt["execution"])
        )
        if fault is None:
            channel.send(type="crashed", lost_peer=lost_peer(error))
            raise
        log(traceback.format_exc())
        return report(fault, channel)
    return 0


def reach_runner(
    attempt: Mapping[str, Any], stop: list[int], parent: int | None
) -> tuple[Channel, Place | None]:
    """The channel to the runner, and this process's place if somebody gave it one."""
    devices = devices_of(attempt["execution"])
    several = devices.processes > 1 or bool(devices.launcher)
    place = place_in(os.environ) if several else Place()
    if TOKEN in os.environ:
        if place and not place.slurm:
            # A step daemon may start processes from a thread that ends; the socket is enough.
            die_with(os.getppid())
        rank = place.rank if place else -1
        with log_of(Path(attempt["folder"]), rank).open("ab") as output:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(output.fileno(), stream.fileno())
        return connected(os.environ, rank, stop), place
    if CHANNEL in os.environ:
        die_with(parent or attempt["runner"])
    return inherited(os.environ), place


def report(error: UphillError, channel: Channel) -> int:
    """Send an error to the runner; return its exit code."""
    channel.send(
        type="error",
        kind=type(error).__name__,
        message=error.message,
        remedy=error.remedy,
        lost_peer=lost_peer(error),
    )
    log(f"{type(error).__name__}: {error}")
    return error.exit_code


def log(text: str) -> None:
    """Print to the stage's log; ignore errors of the disk."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

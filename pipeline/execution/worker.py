"""The process that runs one stage: `python -m pipeline.execution.worker attempt.json`.

The runner starts it. It reports progress and its result as JSON lines on an inherited pipe.
Everything that it prints goes to the stage's log. It dies with the runner. At SIGTERM it stops once
the stage has saved its state."""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.divergence import DivergenceLimits
from common.errors import RunFailed, UphillError
from common.execution import ExecutionConfig
from common.files import read_json
from common.stage import Outputs, StageContext
from pipeline.execution.faults import fault_of, what_to_lower

CHANNEL = "UPHILL_CHANNEL"
"""Environment variable that holds the pipe's file descriptor."""
PR_SET_PDEATHSIG = 1
REPORT_INTERVAL = 0.1
"""Shortest time between two progress messages, in seconds."""


class Channel:
    """Sends JSON lines to the runner; discards them if the worker was started by hand."""

    def __init__(self) -> None:
        number = os.environ.pop(CHANNEL, None)
        self.handle = int(number) if number else None
        self.last_report = 0.0
        if self.handle is not None:
            os.set_inheritable(self.handle, False)

    def send(self, **message: Any) -> None:
        """Send one message."""
        if self.handle is not None:
            data = (json.dumps(message, allow_nan=False) + "\n").encode()
            while data:
                data = data[os.write(self.handle, data) :]

    def progress(self, done: float, total: float, unit: str = "step", **metrics: Any) -> None:
        """Implements `context.progress`. Metrics that are not finite are sent as text."""
        now = time.monotonic()
        if now - self.last_report >= REPORT_INTERVAL or done >= total:
            self.last_report = now
            shown = {
                name: value if _is_json(value) else str(value) for name, value in metrics.items()
            }
            self.send(type="progress", done=done, total=total, unit=unit, metrics=shown)

    def note(self, text: str) -> None:
        """Implements `context.note`: a line for the user and for the log."""
        print(f"note: {text}", flush=True)
        self.send(type="note", text=text)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def die_with(runner: int) -> None:
    """Make the kernel kill this process when its parent, the runner, dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner:  # the runner died before the call above
        sys.exit(1)


def set_environment(threads: int) -> None:
    """Set the variables that libraries read on import; call it before importing any."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = str(threads)


def run_stage(attempt: Mapping[str, Any], channel: Channel, stop: list[int]) -> None:
    """Run the stage and send its result to the runner. `stop` is non-empty after a signal."""
    module, name = attempt["config_type"].split(":")
    config = getattr(importlib.import_module(module), name).model_validate(attempt["config"])
    context = StageContext(
        folder=Path(attempt["folder"]),
        seed=attempt["seed"],
        progress=channel.progress,
        stop_requested=lambda: bool(stop),
        threads=attempt["settings"]["threads"],
        note=channel.note,
        divergence=DivergenceLimits.model_validate(attempt["settings"]["divergence"]),
        execution=ExecutionConfig.model_validate(attempt["execution"]),
    )
    inputs = {name: Path(path) for name, path in attempt["inputs"].items()}
    outputs: Outputs = importlib.import_module(attempt["module"]).run(config, inputs, context)
    broken = [name for name, value in outputs.metrics.items() if not _is_json(value)]
    if broken:
        values = ", ".join(f"{name} = {outputs.metrics[name]!r}" for name in broken)
        raise RunFailed(
            f"stage {attempt['id']!r} ended with {values}",
            "look for the first such value in its metrics.jsonl",
        )
    channel.send(
        type="finished",
        config=config.model_dump(mode="json", by_alias=True),
        metrics=outputs.metrics,
        tokens_generated=outputs.tokens_generated,
        tokens_trained=outputs.tokens_trained,
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def main(path: str) -> int:
    """Run the attempt; return 0 or the exit code of an UphillError. Other errors are raised."""
    attempt = read_json(Path(path))
    if CHANNEL in os.environ:
        die_with(attempt["runner"])
    channel, stop = Channel(), list[int]()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stop.append(received))
    set_environment(attempt["settings"]["threads"])
    try:
        run_stage(attempt, channel, stop)
    except UphillError as error:
        return report(error, channel)
    except Exception as error:
        fault = fault_of(
            error, Path(attempt["folder"]), what_to_lower(attempt["id"], attempt["execution"])
        )
        if fault is None:
            raise
        log(traceback.format_exc())
        return report(fault, channel)
    return 0


def report(error: UphillError, channel: Channel) -> int:
    """Send an error to the runner; return its exit code."""
    channel.send(
        type="error", kind=type(error).__name__, message=error.message, remedy=error.remedy
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

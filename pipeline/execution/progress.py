"""What a person sees of a run on stderr: a bar with rate and time left on a terminal, plain lines
anywhere else."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from common.errors import UphillError

Tell = Callable[[Mapping[str, Any]], None]


def short(metrics: Mapping[str, Any], limit: int = 4) -> str:
    """The first few plain figures on one line; of a suite its score."""
    metrics = {
        name: value.get("score") if isinstance(value, dict) else value
        for name, value in metrics.items()
    }
    plain = {name: value for name, value in metrics.items() if isinstance(value, (int, float, str))}
    figures = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in plain.items()
    ]
    return ", ".join(figures[:limit])


def rate(speed: float | None, unit: str) -> str:
    """Units a second, or seconds a unit when that is more than one."""
    if not speed:
        return ""
    return f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}"


class Reporter:
    """Says what the runner does. `bars` shows progress while a stage runs."""

    def __init__(self, bars: bool | None = None) -> None:
        self.bars = sys.stderr.isatty() if bars is None else bars

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(text)

    def error(self, error: UphillError) -> None:
        self.line(f"error: {error}")

    @contextmanager
    def stage(self, title: str) -> Iterator[Tell]:
        """Around a running stage; gives what takes its messages on the way."""
        if not self.bars:
            yield partial(self._note, title)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}", style="dim", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(title, total=None, rate="", metrics="")

            def tell(message: Mapping[str, Any]) -> None:
                if message["type"] == "note":
                    self._note(title, message)
                    return
                progress.update(
                    task,
                    completed=message["done"],
                    total=message["total"],
                    metrics=short(message["metrics"]),
                )
                progress.update(task, rate=rate(progress.tasks[0].speed, message["unit"]))

            yield tell

    def _note(self, title: str, message: Mapping[str, Any]) -> None:
        """Say a note; other messages are for a bar."""
        if message["type"] == "note":
            self.line(f"{title}: {message['text']}")

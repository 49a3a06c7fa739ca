"""Reports a run on stderr: a progress bar with rate and remaining time on a terminal, plain lines
elsewhere. What messages quote never steers the terminal."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from common.errors import UphillError
from common.visible import visible, visible_line
from pipeline.execution.process import OnMessage

LONGEST_MESSAGE = 100_000
"""Characters of a message that are shown: a recipe may have many problems."""


def short(metrics: Mapping[str, Any], limit: int = 4) -> str:
    """The first `limit` plain figures on one line; for a suite its score, or its rate where it has
    one, which is named."""
    figures = dict(
        (f"{name} rate", value["rate"])
        if isinstance(value, dict) and "rate" in value
        else (name, value.get("score") if isinstance(value, dict) else value)
        for name, value in metrics.items()
    )
    plain = {name: value for name, value in figures.items() if isinstance(value, (int, float, str))}
    texts = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in plain.items()
    ]
    return ", ".join(texts[:limit])


def rate(speed: float | None, unit: str) -> str:
    """Units per second, or seconds per unit if that is more than one."""
    if not speed:
        return ""
    return f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}"


class Reporter:
    """Prints what the runner does. With `bars`, progress is shown while a stage runs."""

    def __init__(self, bars: bool | None = None) -> None:
        self.bars = sys.stderr.isatty() if bars is None else bars

    def line(self, text: str) -> None:
        print(visible(text, LONGEST_MESSAGE), file=sys.stderr, flush=True)

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(text)

    def error(self, error: UphillError) -> None:
        self.line(f"error: {error}")

    @contextmanager
    def stage(self, title: str) -> Iterator[OnMessage]:
        """Wraps a running stage; yields the function that receives its messages."""
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
            task = progress.add_task(visible_line(title), total=None, rate="", metrics="")

            def show(message: Mapping[str, Any]) -> None:
                if message["type"] == "note":
                    self._note(title, message)
                    return
                progress.update(
                    task,
                    completed=message["done"],
                    total=message["total"],
                    metrics=visible_line(short(message["metrics"])),
                )
                progress.update(task, rate=rate(progress.tasks[0].speed, message["unit"]))

            yield show

    def _note(self, title: str, message: Mapping[str, Any]) -> None:
        """Print a note; other messages are for a progress bar."""
        if message["type"] == "note":
            self.line(f"{title}: {message['text']}")

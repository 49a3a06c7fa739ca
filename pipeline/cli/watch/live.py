"""Shows a run until it is finished or the person has seen enough; without a terminal, once."""

import sys
import time
from pathlib import Path

from common.errors import BadInput
from pipeline.cli.watch.snapshot import Watcher
from pipeline.cli.watch.view import view

REFRESH = 1.0
"""Seconds between two looks at the folder."""


def watch(run: Path, stage: str | None, once: bool) -> None:
    """Show the run. BadInput where it cannot be read at first; what cannot be read later, because a
    folder is just being replaced, is read the next time."""
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, emoji=False, highlight=False)
    watcher = Watcher(run, stage)
    snapshot = watcher.snapshot(time.time())
    if once or not sys.stdout.isatty() or snapshot.finished:
        console.print(view(snapshot, console.width, height=1_000))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while not snapshot.finished:
                live.update(view(snapshot, console.width, console.height), refresh=True)
                time.sleep(REFRESH)
                try:
                    snapshot = watcher.snapshot(time.time())
                except (OSError, BadInput):
                    continue
            live.update(view(snapshot, console.width, console.height), refresh=True)
        except KeyboardInterrupt:  # the way to leave; the run does not notice
            return

"""TensorBoard: event files in `tracking/tensorboard/<stage>`. Needs neither torch nor TensorFlow.

A curve that is begun again replaces its files. The new file begins with a session log, at which a
TensorBoard that is watching forgets the old points."""

import html
import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from pipeline.tracking.interface import StageRun, Table

_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+\-.!|~=:/\r\n\t]")


class TensorBoardTracker:
    """Writes event files."""

    rewrites: ClassVar[bool] = True
    prefix: ClassVar[str] = "train/"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self._writer: Any = None

    def check(self) -> None:
        """It works wherever it is installed."""

    def begin(self, run: StageRun, known: str | None) -> tuple[str, int | None]:
        """Open the folder of the stage, empty."""
        self._close()
        place = self.folder / run.name
        shutil.rmtree(place, ignore_errors=True)
        # So that the event that a watching TensorBoard looks for has another file's name.
        self._writer = EventFileWriter(
            str(place), flush_secs=5, filename_suffix=f".{time.time_ns()}"
        )
        self._add(0, session_log=SessionLog(status=SessionLog.START))
        self._text(0, "config", f"<pre>{escaped(json.dumps(run.config, indent=1))}</pre>")
        return run.name, None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in values.items():
            self._add(step, summary=scalar_pb(name, value))

    def table(self, step: int, table: Table) -> None:
        """Add a text with a Markdown table."""
        lines = [table.columns, ["---"] * len(table.columns)]
        rows = [[escaped(str(cell)) for cell in row] for row in table.rows]
        texts = [f"| {' | '.join(line)} |" for line in [*lines, *rows]]
        self._text(step, table.name, "\n".join(texts))

    def end(self, step: int, summary: Mapping[str, float], complete: bool) -> None:
        """Add the figures of the stage as scalars."""
        self.log(step, summary)
        self._close()

    def _text(self, step: int, name: str, markdown: str) -> None:
        self._add(step, summary=text_pb(name, markdown))

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def escaped(text: str) -> str:
    """A text that Markdown and HTML show as it is, on one line of a table."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", html.escape(text))

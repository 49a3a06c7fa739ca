"""The runner's side: starts a process for each tracker and tells it which stage runs.

Nothing here waits for a tracker, except for a moment at the start and at the end of a run. A
tracker that fails is off for the rest of the run, which goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from common.errors import BadInput
from pipeline.checkout import ROOT
from pipeline.tracking.registry import require_installed
from pipeline.tracking.sender import FINISH_SECONDS

FOLDER = "tracking"
"""Folder of a run for what trackers keep: their memory, their logs, and what they write for
themselves."""
START_SECONDS = 60
"""The time that a tracker has to load its library."""
Tell = Callable[[str], None]


class TrackerProcess:
    """One tracker in its process."""

    def __init__(self, name: str, folder: Path, project: str, tell: Tell) -> None:
        self.name, self.tell = name, tell
        self.problem: str | None = None
        """Why it is off."""
        self.unusable: BadInput | None = None
        self.decided = threading.Event()
        """It is ready, or will never be."""
        self._log = folder / f"{name}.log"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        arguments = [name, str(folder.absolute()), project]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.tracking.sender", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # a signal to the runner is none to its trackers
            )
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    def send(self, **message: str) -> None:
        """Send a message without waiting."""
        assert self.process.stdin is not None
        data = (json.dumps(message) + "\n").encode()
        try:
            if self.problem is None and os.write(self.process.stdin.fileno(), data) != len(data):
                self.stop("it is stuck")
        except BlockingIOError:
            self.stop("it is stuck")
        except BrokenPipeError:
            pass  # it has ended, and `_hear` says why

    def stop(self, problem: str) -> None:
        """End it at once, because of a problem."""
        self._fail(problem)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self, until: float) -> None:
        """Let it send the rest, until a time of the monotonic clock."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop(f"it did not send the rest within {FINISH_SECONDS} s")
        self._ear.join()

    def _hear(self) -> None:
        """Receive what it says until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "unusable" in answer:
                message = f"runtime.report_to: {answer['unusable']}"
                self.unusable = BadInput(message, answer["remedy"])
            if "note" in answer:
                self.tell(f"{self.name}: {answer['note']}")
            if "ready" in answer:
                self.decided.set()
        code = self.process.wait()
        if code and not (self.unusable or self.problem or self.decided.is_set()):
            self.unusable = BadInput(
                f"runtime.report_to: {self.name} cannot be started: {self._last_words()}",
                f"see {self._log}, or leave it out of runtime.report_to",
            )
        elif code and self.unusable is None:
            late = code == -signal.SIGALRM
            self._fail("it did not send the rest in time" if late else self._last_words())
        self.decided.set()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        return ascii(said[-1].strip())[1:-1][:300] if said else "it ended"

    def _fail(self, problem: str) -> None:
        if self.problem is None:
            self.problem = (
                f"{self.name}: {problem}; nothing more is sent to it in this run (log: {self._log})"
            )
            self.tell(self.problem)


class Trackers:
    """The trackers of a run; none cost nothing."""

    def __init__(self, names: Sequence[str], run: Path, project: str, tell: Tell) -> None:
        self.names, self.folder, self.project, self.tell = names, run / FOLDER, project, tell
        self.running: list[TrackerProcess] = []

    def start(self) -> None:
        """Start them and see that each can work. BadInput where one cannot."""
        for name in self.names:
            require_installed(name)
        if self.names:
            self.folder.mkdir(exist_ok=True)
        self.running = [
            TrackerProcess(name, self.folder, self.project, self.tell) for name in self.names
        ]
        until = time.monotonic() + START_SECONDS
        for one in self.running:
            if not one.decided.wait(max(0.0, until - time.monotonic())):
                one.stop(f"it did not start within {START_SECONDS} s")
            if one.unusable:
                raise one.unusable

    def begin(self, stage: str, folder: Path, partial: Path) -> None:
        """A stage begins to work in `partial`, or goes on there."""
        self._send("begin", stage, folder, partial)

    def finish(self, stage: str, folder: Path, partial: Path) -> None:
        """A stage is finished."""
        self._send("finish", stage, folder, partial)

    def _send(self, do: str, stage: str, folder: Path, partial: Path) -> None:
        for one in self.running:
            paths = {"folder": str(folder.absolute()), "partial": str(partial.absolute())}
            one.send(do=do, stage=stage, **paths)

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait a little for the rest, and say again which trackers do not have everything."""
        failed = [one for one in self.running if one.problem]
        until = time.monotonic() + FINISH_SECONDS + 2
        for one in self.running:
            one.close(until)
        for one in failed:
            self.tell(f"not all of this run was sent to {one.problem}")

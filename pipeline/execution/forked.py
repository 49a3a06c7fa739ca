"""Stages as forks of one process that has imported what they need (`nursery.py`): the runner's
side."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

from common.errors import RunFailed
from common.execution import devices_of
from pipeline.execution.gpus import visible
from pipeline.planning.plan import Node
from stages.declaration import StageConfig

POLL = 0.02
"""Seconds between two looks at a process that is waited for."""
ENGINE = "rollouts.preload"
"""The module that imports what a rollout engine needs."""
Fork = Callable[[Path, Mapping[str, str], int, BinaryIO], "Forked"]
"""Starts a process for an attempt with environment variables, a pipe to the runner and a log."""


class Nursery:
    """The process that forks stages. It is started by the first of them, and again if it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork_of(self, node: Node, threads: int) -> Fork | None:
        """What starts a stage's process; None where it is to be a new one: a stage that does not
        import torch, several processes, and with a GPU, as CUDA must not be asked for its devices
        before a fork."""
        module, name = node.config_type.split(":")
        kind: type[StageConfig] = getattr(importlib.import_module(module), name)
        devices = devices_of(node.execution)
        if not kind.imports_torch or not devices.alone or visible(os.environ):
            return None
        modules = [node.module] if node.module.startswith("stages.") else []
        in_process = devices.engine.kind == "in_process"
        if in_process and any(kind.model_validate(node.config).engines()):
            modules.append(ENGINE)
        return partial(self._start, {"modules": modules, "threads": threads})

    def _start(
        self,
        request: Mapping[str, Any],
        attempt: Path,
        variables: Mapping[str, str],
        channel: int,
        log: BinaryIO,
    ) -> "Forked":
        if not self.alive:
            self.close()
            self._open(variables, log)
        number = self.ask({**request, "start": str(attempt)}, (channel, log.fileno()))
        if number is None:
            raise RunFailed(
                f"the process from which stages are forked ended before it had started one: see"
                f" {log.name}",
                "run the same command again; if it was killed, give the machine more memory",
            )
        return Forked(self, number)

    def ask(self, request: Mapping[str, Any], handles: Sequence[int] = ()) -> int | None:
        """The answer to a request; None too if the process is gone."""
        assert self._link is not None
        try:
            socket.send_fds(self._link, [json.dumps(request).encode()], handles)
            packet = self._link.recv(64)
        except ConnectionError:
            packet = b""
        answer: int | None = json.loads(packet) if packet else None
        return answer

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it, and with it every fork that still runs."""
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._link = None

    def _open(self, variables: Mapping[str, str], log: BinaryIO) -> None:
        self._link, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "pipeline.execution.nursery"),
                    *(str(other.fileno()), str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(variables),
                pass_fds=(other.fileno(),),
                start_new_session=True,
            )


class Forked:
    """A stage's process, which is a child of the nursery."""

    def __init__(self, nursery: Nursery, number: int) -> None:
        self._nursery, self.pid = nursery, number
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs. Without the nursery the kernel has killed it."""
        if self.returncode is None:
            self.returncode = self._nursery.ask({"poll": self.pid})
            if self.returncode is None and not self._nursery.alive:
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(POLL)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """Send it SIGTERM. It asks nothing: a signal's handler calls this, maybe while an answer is
        waited for. The number is that of this process until `poll` has found it ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

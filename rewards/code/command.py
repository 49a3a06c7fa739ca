"""The command of a sandbox: bubblewrap's options, and the Python code that begins inside."""

import importlib.util
import itertools
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

MODULES = ("inside.wire", "inside.program", "inside.tester", "inside.processes", "inside.first")
BOOT = """
import marshal, os, sys, types
def take(count):
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            os._exit(1)
        data += part
    return data
modules, order = marshal.loads(take(int.from_bytes(take(8), "little")))
for name in ("rewards", "rewards.code", "rewards.code.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, code in modules:
    sys.modules[name] = types.ModuleType(name)
    setattr(sys.modules["rewards.code.inside"], name.rpartition(".")[2], sys.modules[name])
    exec(code, sys.modules[name].__dict__)
sys.modules["rewards.code.inside.first"].main(order)
"""
"""What Python runs first: it takes our modules from standard input, as no file of ours is
inside."""
WALL = 4
"""Seconds by the clock for each CPU second of a limit."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    seconds: float
    """CPU seconds of a process, for one test."""
    memory: int
    """Bytes, of one process and of all together."""
    processes: int
    """Processes and threads at once."""
    output: int
    """Bytes printed."""
    scratch: int
    """Bytes of files."""

    @property
    def wall(self) -> float:
        """Seconds by the clock for one test: more, as the machine's cores are busy."""
        return WALL * self.seconds


def command_line(limits: Limits) -> tuple[list[str], int | None]:
    """The command of a sandbox, and the user that its first process must become: root starts it
    without a user namespace, since the kernel does not limit root's processes."""
    root = os.geteuid() == 0
    uid = 10_000 + (os.getpid() * 64 + next(_numbers)) % 50_000 if root else None
    bwrap = shutil.which("bwrap") or "bwrap"
    rights = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    command = [
        *(bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--new-session"),
        *(rights if root else ["--unshare-user"]),
        *("--clearenv", "--hostname", "sandbox", "--setenv", "MALLOC_ARENA_MAX", "1"),
        *("--setenv", "PYTHONHASHSEED", "0"),
        *_binds(),
        *("--perms", "1777", "--size", str(limits.scratch), "--tmpfs", "/scratch"),
        *("--remount-ro", "/", "--chdir", "/scratch"),
        *(_python(), "-s", "-S", "-P", "-X", "utf8", "-c", BOOT),
        str(os.getpid()),  # for whoever looks at the processes of this machine
    ]
    return command, uid


def _python() -> str:
    """This Python, outside of any virtual environment."""
    return os.path.realpath(sys.executable)


@cache
def _binds() -> list[str]:
    """What is visible inside, read-only: Python and the system's libraries, each in its place."""
    python, library = Path(_python()), Path(os.__file__).parent
    shared = sorted(python.parents[1].glob("lib*/libpython*.so*"))
    paths = [Path("/usr/lib"), Path("/usr/lib64"), python, library, *shared]
    folders = {parent for path in paths for parent in path.parents}
    binds = []
    for folder in sorted(folders - {Path("/")}):
        binds += ["--perms", "0755", "--dir", str(folder)]
    for path in paths:
        binds += ["--ro-bind-try", str(path), str(path)]
    for path in (Path("/lib"), Path("/lib64")):
        target = ["--symlink", os.readlink(path)] if path.is_symlink() else ["--ro-bind-try", path]
        binds += [str(word) for word in (*target, path)]
    binds += ["--perms", "0755", "--dir", "/dev"]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"):
        binds += ["--dev-bind", device, device]
    return binds


@cache
def modules() -> list[tuple[str, Any]]:
    """Our modules that run inside, compiled."""
    found = []
    for name in MODULES:
        spec = importlib.util.find_spec(f"rewards.code.{name}")
        assert spec is not None and isinstance(spec.loader, InspectLoader)
        found.append((spec.name, spec.loader.get_code(spec.name)))
    return found

"""Processes of this machine, as a test sees them."""

import time
from pathlib import Path


def cmdline(process):
    """The command line of a process; empty for none."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def status(process):
    """State and parent of a process: `("S", 7)`; a state of its own, "", for none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def children(process):
    """Process ids of the processes that `process` started."""
    all_ids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [one for one in all_ids if status(one)[1] == process]


def engine_process(server):
    """Process id of the engine of a server."""
    [found] = [child for child in children(server.child.pid) if "EngineCore" in cmdline(child)]
    return found


def gone(processes, seconds=10.0):
    """Whether all processes end within some seconds; a zombie has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(status(process)[0] in ("", "Z") for process in processes):
            return True
        time.sleep(0.1)
    return False

"""No process outlives the one that started it.

The kernel's parent-death signal reaches a process that hangs or is paused. It is sent when the
*thread* that started the process ends, so servers are started from a thread that lives as long as
its process (`process.py`)."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent, of process id `parent`, dies. Exits at
    once if it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)

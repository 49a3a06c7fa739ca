"""No process outlives the one that started it.

The kernel's parent-death signal reaches a process that hangs or is paused. It is sent when the
*thread* that started the process ends, so servers are started from a thread that lives as long as
its process (`process.py`)."""

import ctypes
import os
import signal
import sys

from rollouts.served import STARTER

PR_SET_PDEATHSIG = 1


def die_with_starter() -> None:
    """Make the kernel kill this process when the one that started it dies, if the environment names
    that; exit at once if it has died. The processes that this one starts find this one's name."""
    starter = os.environ.get(STARTER)
    if starter is not None:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(starter):
            sys.exit(1)
    os.environ[STARTER] = str(os.getpid())

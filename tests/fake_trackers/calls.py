"""What the fakes of tracker libraries have in common: calls are kept in a file, as on a server, and
an environment variable makes them fail."""

import json
import os
import time
from pathlib import Path

CALLS, FAULT = "FAKE_TRACKER_CALLS", "FAKE_TRACKER_FAULT"
"""Environment variables: the file, and `raise`, `hang` or `import`."""


def called(name, *values):
    """Keep a call. When a figure arrives, the fault happens."""
    if name in ("log", "log_batch"):
        if os.environ.get(FAULT) == "raise":
            raise ConnectionError("the quota is \x1b[31mspent")
        while os.environ.get(FAULT) == "hang":
            time.sleep(60)
    with Path(os.environ[CALLS]).open("a") as handle:
        handle.write(json.dumps([name, *values]) + "\n")


def calls(path, name):
    """What was given in the calls of that name."""
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [values for found, *values in lines if found == name]

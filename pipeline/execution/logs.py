"""The logs of a stage's processes: `stage.log` is that of process 0, `stage-rank-1.log` that of
process 1, `server-0.log` that of the first rollout server."""

from pathlib import Path

LOG = "stage.log"
OTHERS = "stage-rank-"
"""What the names of the logs of the other processes begin with."""
SERVERS = "server-"
"""What the names of the servers' logs begin with."""


def log_of(folder: Path, rank: int) -> Path:
    """The log of process `rank` of the stage that works in `folder`."""
    return folder / (f"{OTHERS}{rank}.log" if rank > 0 else LOG)


def is_log(name: str) -> bool:
    """Whether a file in a stage's folder is the log of one of its processes."""
    return name == LOG or (name.startswith((OTHERS, SERVERS)) and name.endswith(".log"))


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of the log, indented; empty if somebody has removed it."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 20_000))
            text = handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(f"\n  | {line}" for line in text.rstrip().splitlines()[-lines:])

"""Timing in pairs, the machine's own limits, and result files that say where they come from.

Times of one machine vary more from minute to minute than the differences that matter, so two sides
are timed in turn, in one process, and compared by their medians. A result file keeps every part
that is measured, with its commit: the same command measures only what is missing or whose code
changed since."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from common.files import read_json, write_json

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
CHANGES = "+changes"
"""Added to a commit where the working tree differs from it."""


def medians(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each side over `rounds` rounds, all sides in turn in each, after one round
    to warm up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_rate(dtype: torch.dtype = torch.float32, size: int = 2048) -> float:
    """Floating-point operations a second of a large square matrix product: the best of several."""
    one, other = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    return 2 * size**3 / min(_times(lambda: one @ other, 8))


def bandwidth(gigabytes: float = 1.0) -> float:
    """Bytes a second that a copy larger than the caches moves, read and written: the best of
    several."""
    source = torch.ones(int(gigabytes * 2**30) // 4)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / min(_times(lambda: target.copy_(source), 6))


def _times(run: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count + 1):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found[1:]


def machine() -> str:
    """The processor and its cores in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {name}, {memory:.0f} GiB, torch {torch.__version__}"


def commit() -> str:
    """The commit of the code, with `+changes` where the working tree differs from it outside of the
    results."""
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", ".", ":!benchmarks/results"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return run.stdout.strip() + (CHANGES if changed.stdout.strip() else "")


def unchanged(since: str, paths: Sequence[str]) -> bool:
    """Whether these files are what they were at a commit, which must be one without `+changes`."""
    if since.endswith(CHANGES):
        return False
    return subprocess.run(["git", "diff", "--quiet", since, "--", *paths], cwd=ROOT).returncode == 0


class Results:
    """`results/<name>.json`: the command, the machine and figures by part, written after every
    part."""

    def __init__(self, name: str, command: str) -> None:
        self.path = RESULTS / f"{name}.json"
        self.head = {"command": command, "commit": commit(), "machine": machine()}
        old = read_json(self.path) if self.path.is_file() else {}
        self.parts: dict[str, Any] = (
            old["parts"] if old.get("machine") == self.head["machine"] else {}
        )

    def part(self, name: str, paths: Sequence[str], measure: Callable[[], Any]) -> Any:
        """The figures of a part, measured unless they are there from a commit since which `paths`
        did not change."""
        old = self.parts.get(name)
        if old is None or not unchanged(old["commit"], paths):
            self.parts[name] = {"commit": self.head["commit"], "figures": measure()}
            self.write({})
            print(f"{name}: {json.dumps(self.parts[name]['figures'])}", flush=True)
        return self.parts[name]["figures"]

    def write(self, figures: Mapping[str, Any]) -> None:
        """Write the file, with the figures that a reader looks for above the parts."""
        write_json(self.path, {**self.head, **figures, "parts": self.parts})


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = table
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

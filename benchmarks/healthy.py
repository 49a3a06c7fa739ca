"""How near healthy training comes to the limits at which it counts as sick
(`common/divergence.py`).

    .venv/bin/python -m benchmarks.healthy runs

Reads every `metrics.jsonl` below a folder: how many stages, in how many a detector would have fired
at any step, the largest gradient norm over the median of its stage, the largest loss of SFT and DPO
over that of the first step (or over three nats), and the lowest entropy of RL over that of its
first five steps."""

import sys
from glob import glob
from pathlib import Path
from statistics import fmean, median

from common.divergence import DivergenceLimits
from common.files import read_json_lines
from training.divergence import FIRST, LOW, divergence


def main() -> None:
    paths = glob(
        f"{sys.argv[1]}/**/metrics.jsonl", recursive=True
    )  # through links too, unlike Path.rglob
    stages = [rows for path in paths if (rows := read_json_lines(Path(path)))]
    fired = sum(
        any(divergence(rows[:end], DivergenceLimits()) for end in range(1, len(rows) + 1))
        for rows in stages
    )
    norms = [[row["grad_norm"] for row in rows if row.get("grad_norm")] for rows in stages]
    entropies = [
        [row["entropy"] for row in rows if "entropy" in row and "reward" in row] for rows in stages
    ]
    losses = [
        [row["loss"] for row in rows if "loss" in row and "reward" not in row] for rows in stages
    ]
    highest = max(max(values) / max(values[0], LOW) for values in losses if values)
    largest = max(max(values) / median(values) for values in norms if values)
    lowest = min(min(values) / fmean(values[:FIRST]) for values in entropies if values)
    found = (
        f"gradient at most {largest:.1f}, loss at most {highest:.2f}, entropy at least {lowest:.2f}"
    )
    print(f"{len(stages)} stages, {fired} stopped; {found}")


if __name__ == "__main__":
    main()

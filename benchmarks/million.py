"""The curriculum on a pool of a million prompts: time of a draw, memory and file size.

.venv/bin/python -m benchmarks.million        # writes benchmarks/results/million.json
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import RESULTS, commit, machine
from benchmarks.sft_step import peak_gib
from common.files import write_json
from curriculum.asks import Ask, Outcome
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.rows import Entry, Observation

PROMPTS, TRIED, KINDS, STEPS = 1_000_000, 50_000, 200, 12


def main() -> None:
    figures: dict[str, float] = {"prompts": PROMPTS, "tried": TRIED, "cells_of_kind": KINDS}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        start = time.perf_counter()
        ledger.add(
            Entry(f"source:{n:016x}", f"capability{n % 4}", "source", Beta(1, 1), settings=f"level {n % KINDS}")
            for n in range(PROMPTS)
        )
        figures["add_seconds"] = time.perf_counter() - start
        tried = rng.choice(PROMPTS, TRIED, replace=False)
        ledger.observe(
            [
                Observation(f"source:{n:016x}", int(k), 8 - int(k))
                for n, k in zip(tried, rng.integers(0, 9, TRIED), strict=True)
            ],
            0,
            decay=0.95,
        )
        figures["file_mib"] = (Path(folder) / "ledger.sqlite").stat().st_size / 2**20
        before = peak_gib()
        start = time.perf_counter()
        curriculum = Curriculum(Posterior(pilot=0, refilter_every=10_000), ledger, groups=64, group_size=8, seed=0)
        figures["open_seconds"] = time.perf_counter() - start
        draws, steps = [], []
        for version in range(1, STEPS + 1):
            start = time.perf_counter()
            asking = curriculum.step(version)
            asks = next(asking)
            draws.append(time.perf_counter() - start)
            try:
                while True:
                    asks = asking.send([answer(ask, rng) for ask in asks])
            except StopIteration:
                steps.append(time.perf_counter() - start)
        start = time.perf_counter()
        ledger.snapshot(Path(folder) / "copy.sqlite")
        figures["snapshot_seconds"] = time.perf_counter() - start
    figures |= {
        "draw_milliseconds": 1000 * statistics.median(draws),
        "step_milliseconds": 1000 * statistics.median(steps),
    }
    figures |= {"peak_gib": peak_gib(), "peak_gib_before_opening": before}
    head = {"command": "python -m benchmarks.million", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "million.json", {**head, **figures})
    print((RESULTS / "million.json").read_text())


def answer(ask: Ask, rng: np.random.Generator) -> Outcome:
    passes = int(rng.integers(0, ask.rollouts + 1))
    return Outcome(passes, ask.rollouts - passes, {}, 10 * ask.rollouts)


if __name__ == "__main__":
    main()

"""The curriculum on a pool of a million prompts: time of a draw, memory and file size; RL's time to
its first rollouts.

.venv/bin/python -m benchmarks.million        # writes benchmarks/results/million.json
"""

import statistics
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS, commit, machine
from benchmarks.sft_step import peak_gib
from common.files import write_json
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation
from curriculum.requests import RolloutRequest, RolloutResult
from models.nano import nano_tokenizer
from prompts.schema import Prompt
from rewards.grade import grade
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage

PROMPTS, TRIED, KINDS, STEPS = 1_000_000, 50_000, 200, 12


def main() -> None:
    figures: dict[str, float] = {"prompts": PROMPTS, "tried": TRIED, "cells_of_kind": KINDS}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        start = time.perf_counter()
        ledger.add(
            NewPrompt(
                f"source:{n:016x}",
                f"capability{n % 4}",
                "source",
                Beta(1, 1),
                settings=f"level {n % KINDS}",
            )
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
        curriculum = Curriculum(
            Posterior(pilot=0, refilter_every=10_000), ledger, groups=64, group_size=8, seed=0
        )
        figures["open_seconds"] = time.perf_counter() - start
        draws, steps = [], []
        for version in range(1, STEPS + 1):
            start = time.perf_counter()
            asking = curriculum.step(version)
            requests = next(asking)
            draws.append(time.perf_counter() - start)
            try:
                while True:
                    requests = asking.send([answer(request, rng) for request in requests])
            except StopIteration:
                steps.append(time.perf_counter() - start)
        start = time.perf_counter()
        ledger.snapshot(Path(folder) / "copy.sqlite")
        figures["snapshot_seconds"] = time.perf_counter() - start
        figures |= first_rollouts(ledger)
    figures |= {
        "draw_milliseconds": 1000 * statistics.median(draws),
        "step_milliseconds": 1000 * statistics.median(steps),
    }
    figures |= {"peak_gib": peak_gib(), "peak_gib_before_opening": before}
    head = {"command": "python -m benchmarks.million", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "million.json", {**head, **figures})
    print((RESULTS / "million.json").read_text())


class Asked(Exception):
    """RL wants its first rollouts."""


class OnlyTokens:
    """An engine with a tokenizer and nothing else."""

    max_model_len = 512

    def __init__(self) -> None:
        self.tokenizer, self.count = nano_tokenizer(), 0

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        self.count += 1
        found: Any = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return list(found)

    def generate(self, *_: Any, **__: Any) -> Any:
        raise Asked


def first_rollouts(ledger: Ledger) -> dict[str, float]:
    """Seconds from prompts in memory and a ledger to the first rollouts, and prompts tokenised by
    then; and how long tokenising all of them would take, from the first 10,000."""
    prompts = {
        f"source:{n:016x}": Prompt(
            f"source:{n:016x}",
            [{"role": "user", "content": f"What is {n} plus {7 * n} minus 3? " * 4}],
            "1",
            "exact",
            f"capability{n % 4}",
            "source",
            None,
            {},
        )
        for n in range(PROMPTS)
    }
    stage = {
        "id": "rl",
        "kind": "rl",
        "from": "base",
        "on": "prompts",
        "steps": 1,
        "learning_rate": 1e-4,
    }
    engine = OnlyTokens()
    start = time.perf_counter()
    collector = RolloutCollector(RlStage.model_validate(stage), prompts, ledger, engine, grade, 0)
    with suppress(Asked):
        collector.collect(STEPS + 1)
    seconds, tokenised = time.perf_counter() - start, engine.count
    start = time.perf_counter()
    for prompt in islice(prompts.values(), 10_000):
        engine.encode(prompt.messages)
    everything = (time.perf_counter() - start) * PROMPTS / 10_000
    return {
        "first_rollouts_seconds": seconds,
        "tokenised_by_then": tokenised,
        "tokenising_all_seconds": everything,
    }


def answer(request: RolloutRequest, rng: np.random.Generator) -> RolloutResult:
    passes = int(rng.integers(0, request.rollouts + 1))
    return RolloutResult(passes, request.rollouts - passes, {}, 10 * request.rollouts)


if __name__ == "__main__":
    main()

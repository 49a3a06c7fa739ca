"""The curriculum on a pool of a million prompts: time per draw and step, memory, file size; and the
time until RL asks for its first rollouts.

.venv/bin/python -m benchmarks.million        # writes benchmarks/results/million.json
"""

import statistics
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.harness import RESULTS, commit, machine
from common.files import write_json
from common.process_memory import peak_memory_mib
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation
from curriculum.requests import RolloutRequest, RolloutResult
from models.chat import encode_chat
from models.nano import nano_tokenizer
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.interface import RolloutEngine
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage

PROMPTS, TRIED, KINDS, STEPS = 1_000_000, 50_000, 200, 12
"""Prompts in the pool, those with rollouts of their own, difficulty settings, measured steps."""
TOKENISED = 10_000
"""Prompts from which the time to tokenise all of them is extrapolated."""


def main() -> None:
    figures: dict[str, float] = {"prompts": PROMPTS, "tried": TRIED, "cells_of_kind": KINDS}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        figures["add_seconds"] = fill(ledger, rng)
        figures["file_mib"] = (Path(folder) / "ledger.sqlite").stat().st_size / 2**20
        before = peak_memory_mib() / 1024
        figures |= measured_steps(ledger, rng)
        start = time.perf_counter()
        ledger.snapshot(Path(folder) / "copy.sqlite")
        figures["snapshot_seconds"] = time.perf_counter() - start
        figures |= first_rollouts(ledger)
    figures |= {"peak_gib": peak_memory_mib() / 1024, "peak_gib_before_opening": before}
    head = {"command": "python -m benchmarks.million", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "million.json", {**head, **figures})
    print((RESULTS / "million.json").read_text())


def id_of(number: int) -> str:
    return f"source:{number:016x}"


def fill(ledger: Ledger, rng: np.random.Generator) -> float:
    """Fill the ledger with all prompts and with rollouts of some; the seconds that adding the
    prompts takes."""
    start = time.perf_counter()
    ledger.add(
        NewPrompt(
            id_of(n), f"capability{n % 4}", "source", Beta(1, 1), settings=f"level {n % KINDS}"
        )
        for n in range(PROMPTS)
    )
    seconds = time.perf_counter() - start
    tried = rng.choice(PROMPTS, TRIED, replace=False)
    passes = rng.integers(0, 9, TRIED)
    observations = [
        Observation(id_of(n), int(k), 8 - int(k)) for n, k in zip(tried, passes, strict=True)
    ]
    ledger.observe(observations, 0, decay=0.95)
    return seconds


def measured_steps(ledger: Ledger, rng: np.random.Generator) -> dict[str, float]:
    """Seconds to open the curriculum; milliseconds of a step's draw and of a whole step without its
    rollouts, the median over the steps."""
    start = time.perf_counter()
    curriculum = Curriculum(
        Posterior(pilot=0, refilter_every=10_000), ledger, groups=64, group_size=8, seed=0
    )
    opened = time.perf_counter() - start
    draws, steps = [], []
    for version in range(1, STEPS + 1):
        start = time.perf_counter()
        step = curriculum.step(version)
        requests = next(step)
        draws.append(time.perf_counter() - start)
        with suppress(StopIteration):
            while True:
                requests = step.send([answer(request, rng) for request in requests])
        steps.append(time.perf_counter() - start)
    return {
        "open_seconds": opened,
        "draw_milliseconds": 1000 * statistics.median(draws),
        "step_milliseconds": 1000 * statistics.median(steps),
    }


def answer(request: RolloutRequest, rng: np.random.Generator) -> RolloutResult:
    passes = int(rng.integers(0, request.rollouts + 1))
    return RolloutResult(passes, request.rollouts - passes, {}, 10 * request.rollouts)


class FirstRollouts(Exception):
    """RL asks for its first rollouts."""


class TokenizerOnly:
    """As much of a rollout engine as RL uses until its first rollouts."""

    max_model_len = 512

    def __init__(self) -> None:
        self.tokenizer, self.encoded = nano_tokenizer(), 0

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        self.encoded += 1
        return encode_chat(self.tokenizer, messages)

    def generate(self, *_: Any, **__: Any) -> Any:
        raise FirstRollouts


def first_rollouts(ledger: Ledger) -> dict[str, float]:
    """Seconds from prompts in memory and a ledger to the first rollouts, and prompts tokenised by
    then; seconds to tokenise all prompts, extrapolated."""
    prompts = {prompt.id: prompt for prompt in map(prompt_of, range(PROMPTS))}
    settings = {"id": "rl", "kind": "rl", "from": "base", "on": "prompts"}
    config = RlStage.model_validate({**settings, "steps": 1, "learning_rate": 1e-4})
    engine = TokenizerOnly()
    start = time.perf_counter()
    collector = RolloutCollector(config, prompts, ledger, cast(RolloutEngine, engine), Grader(), 0)
    with suppress(FirstRollouts):
        collector.collect(STEPS + 1)
    seconds, tokenised = time.perf_counter() - start, engine.encoded
    start = time.perf_counter()
    for prompt in islice(prompts.values(), TOKENISED):
        engine.encode(prompt.messages)
    everything = (time.perf_counter() - start) * PROMPTS / TOKENISED
    return {
        "first_rollouts_seconds": seconds,
        "tokenised_by_then": tokenised,
        "tokenising_all_seconds": everything,
    }


def prompt_of(number: int) -> Prompt:
    content = f"What is {number} plus {7 * number} minus 3? " * 4
    return Prompt(
        id_of(number),
        [{"role": "user", "content": content}],
        "1",
        "exact",
        f"capability{number % 4}",
        "source",
        None,
        {},
    )


if __name__ == "__main__":
    main()

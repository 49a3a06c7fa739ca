"""What an evaluation costs beside the bare engine: the same requests by `evals.protocol.ask`, with
memory, verifiers and answers, and by one call of vLLM, in turns.

    .venv/bin/python -m benchmarks.evaluation
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import RESULTS
from common.execution import ExecutionConfig
from common.files import write_json
from common.reply_cache import ReplyCache
from common.versions import versions
from evals.config import SuiteConfig
from evals.protocol import ask
from evals.remembered import RememberedEngine
from evals.suites import load_suite
from models.packaged import resolve_dense
from pipeline.store.record import commit, machine
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts import sampling
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from stages.answering import BATCHES

MODEL = "smollm2-135m-instruct"
SUITES = (
    SuiteConfig(name="gsm8k", limit=128, max_tokens=32),
    SuiteConfig(name="basic_arithmetic", limit=256),
)
ROUNDS = 4
"""The first one warms up and is not counted."""


def evaluated(engine: Engine, suite: SuiteConfig, prompts: list[Prompt], execution: Any) -> None:
    """The suite as the evaluate stage asks it, with an empty memory."""
    with TemporaryDirectory() as folder, ReplyCache(Path(folder) / "replies.sqlite") as cache:
        remembered = RememberedEngine(
            lambda: engine, Path(resolve_dense(MODEL)), engine._config, cache, "w"
        )
        batch = BATCHES * execution.max_num_seqs
        with Grader() as grader:
            grader.prepare(prompts)
            ask(remembered, suite, prompts, batch, lambda count: None, grader)


def bare(engine: Engine, suite: SuiteConfig, prompts: list[Prompt]) -> None:
    """The same requests as one call of vLLM, from their tokens."""
    tokens = [engine.encode(prompt.messages) for prompt in prompts]
    settings = sampling.generating(1, 0.0, 1.0, suite.answer_length(), 0)
    engine._run(tokens, [settings] * len(tokens))


def seconds(call: Callable[[], None], engine: Engine) -> float:
    engine._llm.reset_prefix_cache()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(rounds: int) -> dict[str, Any]:
    execution = ExecutionConfig()
    engine = Engine(Path(resolve_dense(MODEL)), RolloutConfig(), 0, execution)
    rows = []
    try:
        for suite in SUITES:
            prompts = load_suite(suite, None)
            times: dict[str, list[float]] = {"bare": [], "evaluation": []}
            for _ in range(rounds):
                times["bare"].append(seconds(lambda: bare(engine, suite, prompts), engine))  # noqa: B023
                times["evaluation"].append(
                    seconds(lambda: evaluated(engine, suite, prompts, execution), engine)  # noqa: B023
                )
            kept = {name: own[1:] for name, own in times.items()}
            ratios = [a / b for a, b in zip(kept["bare"], kept["evaluation"], strict=True)]
            rows.append(
                {
                    "suite": suite.name,
                    "prompts": len(prompts),
                    **{f"{name}_s": median(own) for name, own in kept.items()},
                    "throughput": median(ratios),
                    "throughputs": ratios,
                }
            )
    finally:
        engine.close()
    about = {"commit": commit(), "machine": machine(), "versions": versions()}
    return {"model": MODEL, "rounds": rounds - 1, "rows": rows, **about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    measured = measure(parser.parse_args().rounds)
    write_json(RESULTS / "evaluation.json", measured)
    print("| suite | prompts | bare vLLM, s | evaluation, s | throughput of bare |")
    print("| --- | --- | --- | --- | --- |")
    for row in measured["rows"]:
        print(
            f"| {row['suite']} | {row['prompts']} | {row['bare_s']:.1f} |"
            f" {row['evaluation_s']:.1f} | {100 * row['throughput']:.1f} %"
            f" ({', '.join(f'{100 * one:.1f}' for one in row['throughputs'])}) |"
        )


if __name__ == "__main__":
    main()

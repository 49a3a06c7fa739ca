"""Compare judges with known difficulty, with the bare engine, and with their own cache.

    make bench-judges             # or: .venv/bin/python -m benchmarks.judges

- `auc`: probability that the judge finds an easy prompt easier than a hard prompt of the same
  family (ties 1/2), by family and overall, with a 95 % bootstrap interval over prompts. Easy and
  hard are settings of the family.
- `solved`: share of attempts that the judge got right, by family and level. It bounds what the
  judge can learn about difficulty from attempts.
- `throughput`: tokens per second of an `attempts` judge, with cache and grading, and of the engine
  alone on the same requests, alternating in one process; `ratio` is the first over the second.
- `cached`: seconds of a first run over seconds of a second one.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Results
from common.reply_cache import ReplyCache
from evals.config import SuiteConfig
from evals.suites import load_suite
from judges.ask import JudgeSession, judge_prompts
from judges.attempts import Attempts
from judges.audit import auc, resamples
from judges.config import AttemptsJudge, JudgeConfig, PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from judges.verdict import Verdict
from models.packaged import resolve_dense
from prompts.config import ReasoningGymSource
from prompts.sample import sample
from prompts.schema import Prompt, with_system
from prompts.sources import load_source
from rewards.grader import Grader
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from stages.judge_filter.backends import judge_of

EACH = 40
"""Prompts per family and level."""
ROUNDS = 4
"""Timed rounds of judge and bare engine, alternating."""
SUMS = [("4 + 5 =", "9"), ("61 - 18 =", "43"), ("27 + 30 =", "57")]
WORDS = [
    ("house, green", "green, house"),
    ("cold, walk, sky", "sky, walk, cold"),
    ("a, red, tree, far", "far, tree, red, a"),
]
EXAMPLES = {
    "chain_sum": SUMS,
    **{
        name: [(f"Calculate {question}", answer) for question, answer in SUMS]
        for name in ("plus", "minus", "mult", "div")
    },
    "word_sequence_reversal": [
        (f"Reverse the order: {question}", answer) for question, answer in WORDS
    ],
}
"""Examples (question, answer) per capability for SmolLM2. Nano was trained on the form."""
ENGINE = ("rollouts/engine.py", "rollouts/sampling.py", "rollouts/vllm_settings.py")
CODE = ("judges", *ENGINE, "benchmarks/judges.py")
MODELS = {
    "smollm2": "smollm2-135m-instruct",
    "nano": str(ROOT / "runs/bench-curriculum/start/bench-curriculum/03-sft/checkpoint"),
}
"""SmolLM2 as shipped, and the nano model that the curriculum benchmark starts from (made by `make
bench-curriculum`)."""


def _levels(
    question: str, *names: str, easy: tuple[float, ...], hard: tuple[float, ...]
) -> list[dict[str, Any]]:
    """A family's question with its easy and its hard settings, in this order."""
    return [
        {"question": question, "settings": dict(zip(names, level, strict=True))}
        for level in (easy, hard)
    ]


TERMS = ("min_terms", "max_terms", "min_digits", "max_digits")
LETTERS = (
    "min_word_len",
    "max_word_len",
    "min_words",
    "max_words",
    "min_corruption_level",
    "max_corruption_level",
)
COPIED = (1, 1, 0.0, 0.0)
NUMBERS = ("min_value", "max_value", "min_numbers", "max_numbers")
LEVELS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "smollm2": {
        "chain_sum": _levels("{expression} =", *TERMS, easy=(2, 2, 1, 1), hard=(4, 4, 3, 3)),
        "word_sequence_reversal": _levels(
            "Reverse the order: {words}", "min_words", "max_words", easy=(2, 2), hard=(7, 8)
        ),
    },
    "nano": {
        "gcd": _levels("gcd {numbers}", *NUMBERS, easy=(100, 999, 7, 8), hard=(1, 60, 2, 2)),
        "letter_jumble": _levels(
            "copy {scrambled_words}", *LETTERS, easy=(4, 5, *COPIED), hard=(9, 10, *COPIED)
        ),
        "spell_backward": _levels(
            "reverse {word}", "min_word_len", "max_word_len", easy=(4, 5), hard=(9, 10)
        ),
    },
}
"""By model and family: the easy and the hard settings."""

LevelledPrompts = list[tuple[Prompt, str, bool]]
"""(prompt, family, whether it is of the easy level)."""


def levelled_prompts(model: str) -> LevelledPrompts:
    """The prompts of known difficulty for the judges of a model."""
    pool: LevelledPrompts = []
    for family, levels in LEVELS[model].items():
        for place, level in enumerate(levels):
            source = ReasoningGymSource(
                source="reasoning_gym", family=family, count=2 * EACH, seed=90 + place, **level
            )
            pool += [(prompt, family, place == 0) for prompt in load_source(source)[:EACH]]
    if model == "smollm2":
        for easy, digits in ((True, 1), (False, 3)):
            whole = load_suite(SuiteConfig(name="basic_arithmetic"), None)
            chosen = [prompt for prompt in whole if f"_{digits}d{digits}d_" in prompt.id]
            pool += [(prompt, "basic_arithmetic", easy) for prompt in sample(chosen, EACH, 0)]
    system = "Answer only." if model == "smollm2" else None
    return [
        (replace(p, messages=with_system(p.messages, system)), family, easy)
        for p, family, easy in pool
    ]


def judges(model: str) -> dict[str, JudgeConfig]:
    """The judges that are measured, by kind."""
    name = MODELS[model]
    shown = {
        part: [{"question": q, "answer": a} for q, a in tasks] for part, tasks in EXAMPLES.items()
    }
    attempts = {"kind": "attempts", "model": name, "attempts": 8, "max_tokens": 32}
    return {
        "attempts": AttemptsJudge.model_validate(
            attempts | ({"examples": shown} if model == "smollm2" else {})
        ),
        "rubric": RubricJudge(kind="rubric", model=name, max_tokens=16),
        "pairwise": PairwiseJudge(kind="pairwise", model=name, opponents=3),
    }


def judge_session(cache: ReplyCache, folder: str) -> JudgeSession:
    began = Path(folder) / f"{time.perf_counter_ns()}.json"
    return JudgeSession(cache, "benchmark", began, lambda *_, **__: None, lambda: False)


def ranked(model: str, kind: str, engine: Engine) -> dict[str, Any]:
    """How well one kind of judge ranks easy before hard prompts."""
    pool = levelled_prompts(model)
    judge = judge_of(judges(model)[kind], EngineBackend(engine), Grader())
    with tempfile.TemporaryDirectory() as folder:
        verdicts = judge_prompts(
            [prompt for prompt, _, _ in pool], judge, judge_session(ReplyCache(None), folder)
        ).verdicts
    families = sorted({family for _, family, _ in pool})
    parts = {
        name: [n for n, (_, family, _) in enumerate(pool) if family == name] for name in families
    }
    figures: dict[str, Any] = {
        "auc": {name: area(pool, verdicts, places) for name, places in parts.items()}
    }
    figures["auc"]["mean"] = statistics.fmean(value["mean"] for value in figures["auc"].values())
    figures["unjudged"] = sum(verdict.ease is None for verdict in verdicts)
    if kind == "attempts":
        figures["solved"] = {name: solved(pool, verdicts, places) for name, places in parts.items()}
    return figures


def area(
    pool: LevelledPrompts, verdicts: Sequence[Verdict], places: Sequence[int]
) -> dict[str, float]:
    """The AUC over the prompts at `places`, with its interval."""
    known = [n for n in places if verdicts[n].ease is not None]
    eases, easy = (
        np.array([verdicts[n].ease for n in known], dtype=float),
        np.array([pool[n][2] for n in known]),
    )
    values = auc(eases, easy, resamples(len(known), 0))
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return {"mean": float(values[0]), "low": float(low), "high": float(high), "prompts": len(known)}


def solved(
    pool: LevelledPrompts, verdicts: Sequence[Verdict], places: Sequence[int]
) -> dict[str, float]:
    """Share of graded attempts that are right, by level."""
    shares = {}
    for name, easy in (("easy", True), ("hard", False)):
        mine = [verdicts[n] for n in places if pool[n][2] == easy]
        shares[name] = sum(v.passed for v in mine) / max(sum(v.graded for v in mine), 1)
    return shares


def throughput(engine: Engine) -> dict[str, float]:
    """Tokens per second of the judge and of the engine alone, and the speed-up by the cache."""
    prompts = [prompt for prompt, _, _ in levelled_prompts("smollm2")][::2]
    config = AttemptsJudge(kind="attempts", model="m", attempts=8, max_tokens=16, retries=0)
    rates: dict[str, list[float]] = {"judge": [], "bare": []}
    cached = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            settings = config.model_copy(update={"seed": number})
            judge = Attempts(settings, EngineBackend(engine), Grader())
            with ReplyCache(Path(folder) / f"{number}.sqlite") as cache:
                first, result = timed(
                    partial(judge_prompts, prompts, judge, judge_session(cache, folder))
                )
                second, _ = timed(
                    partial(judge_prompts, prompts, judge, judge_session(cache, folder))
                )
            bare, tokens = timed(partial(tokens_of_engine, engine, prompts, settings, number))
            if number:
                rates["judge"].append(result.tokens / first)
                rates["bare"].append(tokens / bare)
                cached.append(first / second)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    pairs = [judge / bare for judge, bare in zip(rates["judge"], rates["bare"], strict=True)]
    return {**medians, "ratio": statistics.median(pairs), "cached": statistics.median(cached)}


def tokens_of_engine(
    engine: Engine, prompts: Sequence[Prompt], config: AttemptsJudge, seed: int
) -> int:
    """Number of tokens that the bare engine generates for the judge's requests."""
    ids = [engine.encode(prompt.messages) for prompt in prompts]
    seeds = [1000 * seed + n for n in range(len(ids))]
    groups = engine.generate(
        ids,
        samples=config.attempts,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        seeds=seeds,
    )
    return sum(len(rollout.token_ids) for group in groups for rollout in group)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> None:
    """One model per process, because a process cannot start a second engine."""
    results = Results("judges", "make bench-judges")
    if len(sys.argv) == 1:
        for model in MODELS:
            if os.spawnl(
                os.P_WAIT, sys.executable, sys.executable, "-m", "benchmarks.judges", model
            ):
                raise SystemExit(f"the part of {model} failed")
        print(results.path.read_text())
        return
    model = sys.argv[1]
    longest = {"smollm2": 1024, "nano": 128}[model]
    engine = Engine(resolve_dense(MODELS[model]), RolloutConfig(max_model_len=longest), 0)
    figures: dict[str, Any] = {}
    for kind in judges(model):
        # Nano was not trained on English: it can attempt tasks but not rate them.
        if model == "smollm2" or kind == "attempts":
            figures[f"{model}_{kind}"] = results.part(
                f"{model}_{kind}", CODE, partial(ranked, model, kind, engine)
            )
    if model == "smollm2":
        figures["throughput"] = results.part("throughput", CODE, partial(throughput, engine))
    results.write({})


if __name__ == "__main__":
    main()

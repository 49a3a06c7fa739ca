"""Judges against known difficulty, against a bare engine, and against their own memory.

    make bench-judges             # or: .venv/bin/python -m benchmarks.judges

- `auc`: probability that of an easy and a hard prompt of one family the judge finds the easy one
  easier (ties 1/2), by family and over all, with a 95 % bootstrap interval over prompts. Easy and
  hard are the family's own settings.
- `solved`: share of attempts that the judge got right, by family and level: what it can know of
  difficulty by trying.
- `throughput`: tokens a second of an `attempts` judge, cache and grading included, over those of
  the engine alone on the same requests, both in turn in one process.
- `cached`: seconds of a first run over those of a second one.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Results
from evals.packaged import basic_arithmetic
from judges.ask import Asking, judge_prompts
from judges.attempts import Attempts
from judges.audit import auc, resamples
from judges.cache import Cache
from judges.config import AttemptsJudge, JudgeConfig, PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from judges.verdict import Verdict
from models.packaged import resolve_dense
from prompts.config import ReasoningGymSource
from prompts.sample import sample
from prompts.schema import Prompt, with_system
from prompts.sources import load_source
from rewards.grade import grade
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from stages.judge_filter.backends import judge_of

EACH = 40
"""Prompts of a family and level."""
ROUNDS = 4
"""Timed rounds of judge and bare engine, in turn."""
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
"""What SmolLM2 is shown of each capability, question and answer; nano was taught the form."""
CODE = ("judges", "rollouts/engine.py", "benchmarks/judges.py")
MODELS = {
    "smollm2": "smollm2-135m-instruct",
    "nano": str(ROOT / "runs/bench-curriculum/start/bench-curriculum/03-sft/checkpoint"),
}
"""SmolLM2 as shipped, and the nano that the curriculum's benchmark starts from (`make
bench-curriculum` makes it)."""


def _levels(
    question: str, *names: str, easy: tuple[float, ...], hard: tuple[float, ...]
) -> list[dict[str, Any]]:
    """A family's question with its easy and its hard settings."""
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

Graded = list[tuple[Prompt, str, bool]]
"""Prompts with their family and whether they are of its easy level."""


def graded(model: str) -> Graded:
    """The prompts of known difficulty for a judge."""
    found: Graded = []
    for family, levels in LEVELS[model].items():
        for place, level in enumerate(levels):
            source = ReasoningGymSource(
                source="reasoning_gym", family=family, count=2 * EACH, seed=90 + place, **level
            )
            found += [(prompt, family, place == 0) for prompt in load_source(source)[:EACH]]
    if model == "smollm2":
        for easy, digits in ((True, 1), (False, 3)):
            chosen = [
                prompt
                for prompt in basic_arithmetic()
                if set(prompt.metadata["digits"]) == {digits}
            ]
            found += [(prompt, "basic_arithmetic", easy) for prompt in sample(chosen, EACH, 0)]
    system = "Answer only." if model == "smollm2" else None
    return [
        (replace(p, messages=with_system(p.messages, system)), family, easy)
        for p, family, easy in found
    ]


def judges(model: str) -> dict[str, JudgeConfig]:
    name = MODELS[model]
    shown = {
        part: [{"question": q, "answer": a} for q, a in tasks] for part, tasks in EXAMPLES.items()
    }
    trying = {"kind": "attempts", "model": name, "attempts": 8, "max_tokens": 32}
    return {
        "attempts": AttemptsJudge.model_validate(
            trying | ({"examples": shown} if model == "smollm2" else {})
        ),
        "rubric": RubricJudge(kind="rubric", model=name, max_tokens=16),
        "pairwise": PairwiseJudge(kind="pairwise", model=name, opponents=3),
    }


def asking(cache: Cache, folder: str) -> Asking:
    began = Path(folder) / f"{time.perf_counter_ns()}.json"
    return Asking(cache, "benchmark", began, lambda *_, **__: None, lambda: False)


def ranked(model: str, kind: str, engine: Engine) -> dict[str, Any]:
    """How one kind of judge ranks easy before hard."""
    pool = graded(model)
    judge = judge_of(judges(model)[kind], EngineBackend(engine))
    with tempfile.TemporaryDirectory() as folder:
        verdicts = judge_prompts(
            [prompt for prompt, _, _ in pool], judge, asking(Cache(None), folder)
        ).verdicts
    families = sorted({family for _, family, _ in pool})
    parts = {
        name: [n for n, (_, family, _) in enumerate(pool) if family == name] for name in families
    }
    found: dict[str, Any] = {
        "auc": {name: area(pool, verdicts, places) for name, places in parts.items()}
    }
    found["auc"]["mean"] = statistics.fmean(value["mean"] for value in found["auc"].values())
    found["unjudged"] = sum(verdict.ease is None for verdict in verdicts)
    if kind == "attempts":
        found["solved"] = {name: solved(pool, verdicts, places) for name, places in parts.items()}
    return found


def area(pool: Graded, verdicts: Sequence[Verdict], places: Sequence[int]) -> dict[str, float]:
    known = [n for n in places if verdicts[n].ease is not None]
    eases, easy = (
        np.array([verdicts[n].ease for n in known], dtype=float),
        np.array([pool[n][2] for n in known]),
    )
    values = auc(eases, easy, resamples(len(known), 0))
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return {"mean": float(values[0]), "low": float(low), "high": float(high), "prompts": len(known)}


def solved(pool: Graded, verdicts: Sequence[Verdict], places: Sequence[int]) -> dict[str, float]:
    """Share of graded attempts that are right, easy and hard."""
    found = {}
    for name, easy in (("easy", True), ("hard", False)):
        mine = [verdicts[n] for n in places if pool[n][2] == easy]
        found[name] = sum(v.passed for v in mine) / max(sum(v.graded for v in mine), 1)
    return found


def throughput(engine: Engine) -> dict[str, float]:
    """Tokens a second of the judge over those of the engine alone, in turn; and what the cache
    saves."""
    prompts = [prompt for prompt, _, _ in graded("smollm2")][::2]
    config = AttemptsJudge(kind="attempts", model="m", attempts=8, max_tokens=16, retries=0)
    rates: dict[str, list[float]] = {"judge": [], "bare": []}
    cached = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            settings = config.model_copy(update={"seed": number})
            judge = Attempts(settings, EngineBackend(engine), grade)
            with Cache(Path(folder) / f"{number}.sqlite") as cache:
                first, judged = timed(
                    lambda j=judge, c=cache: judge_prompts(prompts, j, asking(c, folder))
                )
                second, _ = timed(
                    lambda j=judge, c=cache: judge_prompts(prompts, j, asking(c, folder))
                )
            bare, tokens = timed(lambda n=number, c=settings: alone(engine, prompts, c, n))
            if number:
                rates["judge"].append(judged.tokens / first)
                rates["bare"].append(tokens / bare)
                cached.append(first / second)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    pairs = [judge / bare for judge, bare in zip(rates["judge"], rates["bare"], strict=True)]
    return {**medians, "ratio": statistics.median(pairs), "cached": statistics.median(cached)}


def alone(engine: Engine, prompts: Sequence[Prompt], config: AttemptsJudge, seed: int) -> int:
    """Tokens that the bare engine generates."""
    ids = [engine.encode(prompt.messages) for prompt in prompts]
    seeds = [1000 * seed + n for n in range(len(ids))]
    settings = {
        "samples": config.attempts,
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
    }
    return sum(
        len(one.token_ids)
        for group in engine.generate(ids, seeds=seeds, **settings)
        for one in group
    )


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> None:
    """One model a process: an engine cannot be followed by another."""
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
        # Nano was taught no English: it can try, not rate.
        if model == "smollm2" or kind == "attempts":
            figures[f"{model}_{kind}"] = results.part(
                f"{model}_{kind}", CODE, lambda k=kind: ranked(model, k, engine)
            )
    if model == "smollm2":
        figures["throughput"] = results.part("throughput", CODE, lambda: throughput(engine))
    results.write({})


if __name__ == "__main__":
    main()

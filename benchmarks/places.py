"""What a capability with few useful prompts gets of a step: the present rule, and the one before it
by which other capabilities took every place that lacked a useful prompt.

    .venv/bin/python -m benchmarks.places       # prints the table of docs/curriculum.md

The policy is simulated: capability `a` has 100 prompts of given pass rates, `b` 100 around 50 %."""

from collections import Counter
from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult
from curriculum.select import NEAR, USEFUL

SEEDS, STEPS, EACH = 5, 16, 100
Generator = np.random.Generator
POOLS: dict[str, Callable[[Generator], float]] = {
    "mean 12 %, few medium": lambda rng: rng.beta(0.8, 6),
    "10 %": lambda rng: 0.1,
    "5 %": lambda rng: 0.05,
    "2 %": lambda rng: 0.02,
    "0.1 %": lambda rng: 0.001,
    "97 %": lambda rng: 0.97,
    "50 %, one prompt in ten; else 0.3 %": lambda rng: 0.5 if rng.random() < 0.1 else 0.003,
    "30 %": lambda rng: 0.3,
}
"""The pass rate of a prompt of `a`."""


def counted(rate: Callable[[Generator], float], seed: int) -> Counter[str]:
    """The groups trained on and the rollouts of each capability in a simulated stage."""
    rng, chance = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    rates = {f"a{n}": rate(rng) for n in range(EACH)}
    rates |= {f"b{n}": rng.beta(2, 2) for n in range(EACH)}
    ledger, totals = Ledger(None), Counter[str]()
    ledger.add(NewPrompt(id, id[0], "s", Beta(1, 1)) for id in rates)
    curriculum = Curriculum(Posterior(), ledger, groups=12, group_size=8, seed=seed)
    for version in range(STEPS):
        step = curriculum.step(version)
        try:
            requests = next(step)
            while True:
                results = []
                for one in requests:
                    totals[f"{one.id[0]} rollouts"] += one.rollouts
                    passes = int(chance.binomial(one.rollouts, rates[one.id]))
                    results.append(RolloutResult(passes, one.rollouts - passes))
                requests = step.send(results)
        except StopIteration as end:
            totals.update(f"{id[0]} groups" for id in end.value.train)
    return totals


def cells(rate: Callable[[Generator], float], least: float) -> str:
    """Means per step, where a place is kept for prompts of at least this usefulness."""
    with patch("curriculum.kinds.NEAR", least):
        totals = sum((counted(rate, seed) for seed in range(SEEDS)), Counter[str]())
    mean = {name: count / (SEEDS * STEPS) for name, count in totals.items()}
    groups = ", ".join(f"{mean.get(f'{name} groups', 0):.1f}" for name in "ab")
    rollouts = ", ".join(f"{mean.get(f'{name} rollouts', 0):.0f}" for name in "ab")
    return f"{groups} | {rollouts}"


def main() -> None:
    for name, rate in POOLS.items():
        print(f"| {name} | {cells(rate, USEFUL)} | {cells(rate, NEAR)} |", flush=True)


if __name__ == "__main__":
    main()

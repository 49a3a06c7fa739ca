"""What is left of the curriculum `posterior` without one of its parts, where that part should help
most: over ten times as many steps as in `make bench-curriculum`, with a policy that forgets what it
does not train and that loses one kind of prompt altogether half way.

    .venv/bin/python -m benchmarks.drift     # prints a table; benchmarks/results/drift.json

The policy is simulated. A prompt's log-odds are its own offset plus the level of its kind. A level
rises with the groups of its kind that are trained on, in proportion to their spread of rewards, and
falls a little every step. So a memory of prompts that were solved once goes stale: review, probes
and exploration are there to notice. The score is the mean pass rate of all prompts. All arms train
on equal steps; tokens are counted as rollouts."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.curriculum_settings import ARMS
from benchmarks.curves import interval
from benchmarks.harness import RESULTS, commit, machine, markdown
from common.files import write_json
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult

SEEDS, STEPS, GROUPS, GROUP_SIZE = 10, 300, 12, 8
EACH = 300
LEVELS: Mapping[str, float] = {"solved": 3.0, "easy": 1.0, "medium": -1.0, "hard": -4.0}
"""The kinds of prompts, and their log-odds at the start."""
SPREAD_OF_OFFSETS = 1.2
LEARNT, FORGOTTEN, LOST = 0.25, 0.01, 4.0
"""Log-odds: gained where a whole step is of one kind at a pass rate of 50 %; lost by every kind in
every step; and lost by `solved` half way."""
ROLLOUTS, SCORE, AFTER = "rollouts", "score at the end", "mean score after the loss"
NAMES = ("posterior", *(name for name in ARMS if name.startswith("without_")))


class Forgetful:
    """A policy that learns what it trains on, and forgets the rest."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.levels = dict(LEVELS)
        self.kinds = {f"{kind}-{n}": kind for kind in LEVELS for n in range(EACH)}
        self.offsets = {id: rng.normal(0, SPREAD_OF_OFFSETS) for id in self.kinds}
        self.chance = np.random.default_rng(seed + 1000)

    def rate(self, id: str) -> float:
        return float(1 / (1 + np.exp(-self.levels[self.kinds[id]] - self.offsets[id])))

    def roll(self, id: str, rollouts: int) -> RolloutResult:
        passes = int(self.chance.binomial(rollouts, self.rate(id)))
        return RolloutResult(passes, rollouts - passes)

    def train(self, ids: list[str]) -> None:
        for id in ids:
            rate = self.rate(id)
            self.levels[self.kinds[id]] += LEARNT / GROUPS * 4 * rate * (1 - rate)
        for kind in self.levels:
            self.levels[kind] -= FORGOTTEN

    def score(self) -> float:
        return float(np.mean([self.rate(id) for id in self.kinds]))


def run(settings: Mapping[str, Any], seed: int) -> dict[str, float]:
    """The figures of one arm with one seed."""
    policy, ledger, scores, totals = Forgetful(seed), Ledger(None), [], Counter[str]()
    ledger.add(
        NewPrompt(id, "tasks", "s", Beta(1, 1), settings=kind) for id, kind in policy.kinds.items()
    )
    config = Posterior.model_validate(settings)
    curriculum = Curriculum(config, ledger, groups=GROUPS, group_size=GROUP_SIZE, seed=seed)
    for version in range(STEPS):
        if version == STEPS // 2:
            policy.levels["solved"] -= LOST
        policy.train(_step(curriculum, policy, version, totals))
        scores.append(policy.score())
    after = float(np.mean(scores[STEPS // 2 :]))
    return {SCORE: scores[-1], AFTER: after, ROLLOUTS: float(totals[ROLLOUTS])}


def _step(
    curriculum: Curriculum, policy: Forgetful, version: int, totals: Counter[str]
) -> list[str]:
    """The prompts that a step trains on."""
    step = curriculum.step(version)
    try:
        requests = next(step)
        while True:
            totals[ROLLOUTS] += sum(one.rollouts for one in requests)
            requests = step.send([policy.roll(one.id, one.rollouts) for one in requests])
    except StopIteration as end:
        return list(end.value.train)


def main() -> None:
    found = {name: [run(ARMS[name], seed) for seed in range(SEEDS)] for name in NAMES}
    arms: dict[str, Any] = {}
    rows = [["arm", SCORE, f"{SCORE}, less the whole's", f"{AFTER}, less the whole's", ROLLOUTS]]
    for name, runs in found.items():
        less = {
            figure: interval(
                [a[figure] - b[figure] for a, b in zip(runs, found["posterior"], strict=True)]
            )
            for figure in (SCORE, AFTER)
        }
        own = {
            figure: interval([one[figure] for one in runs]) for figure in (SCORE, AFTER, ROLLOUTS)
        }
        arms[name] = {"own": own, "less_the_whole": less}
        shown = [f"{v['mean']:+.3f} [{v['low']:+.3f}, {v['high']:+.3f}]" for v in less.values()]
        rows.append([name, f"{own[SCORE]['mean']:.3f}", *shown, f"{own[ROLLOUTS]['mean']:,.0f}"])
        print(rows[-1], flush=True)
    head = {"command": "python -m benchmarks.drift", "commit": commit(), "machine": machine()}
    write_json(RESULTS / "drift.json", {**head, "seeds": SEEDS, "arms": arms})
    print(markdown(rows))


if __name__ == "__main__":
    main()

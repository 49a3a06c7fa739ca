"""A simulated policy to test the curriculum: prompts with known, drifting pass rates, rolled out at
random."""

import numpy as np

from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult

LEVELS = {
    "trivial": (40.0, 1.0),
    "easy": (8.0, 2.0),
    "medium": (2.0, 2.0),
    "hard": (1.0, 8.0),
    "hopeless": (0.3, 60.0),
}
"""Beta of the prompts' pass rates by difficulty."""


class SimulatedPolicy:
    """`drift` is added to every prompt's log-odds at each version."""

    def __init__(self, each=200, drift=0.0, seed=0, capabilities=("a", "b")):
        self.rng, self.drift = np.random.default_rng(seed), drift
        self.entries, self.odds = [], {}
        for capability in capabilities:
            for level, (a, b) in LEVELS.items():
                for n in range(each):
                    id = f"{capability}-{level}-{n}"
                    self.entries.append(NewPrompt(id, capability, "s", Beta(1, 1), settings=level))
                    rate = np.clip(self.rng.beta(a, b), 1e-6, 1 - 1e-6)
                    self.odds[id] = np.log(rate / (1 - rate))

    def ledger(self, path=None):
        ledger = Ledger(path)
        ledger.add(self.entries)
        return ledger

    def rate(self, id, version):
        return 1 / (1 + np.exp(-self.odds[id] - self.drift * version))

    def roll(self, request, version, seed):
        """The result of a request, independent of all other requests."""
        chance = np.random.default_rng(
            [seed, version, sum(map(ord, request.id)), len(request.purpose), hash_of(request.id)]
        )
        passes = int(chance.binomial(request.rollouts, self.rate(request.id, version)))
        return RolloutResult(passes, request.rollouts - passes, {}, tokens=10 * request.rollouts)


def hash_of(text):
    return int.from_bytes(text.encode()[-6:], "big")


def take(curriculum, policy, version, seed=0):
    """One step of a curriculum: its selection and all its requests."""
    asking, asked = curriculum.step(version), []
    try:
        requests = next(asking)
        while True:
            asked += requests
            requests = asking.send([policy.roll(request, version, seed) for request in requests])
    except StopIteration as end:
        return end.value, asked

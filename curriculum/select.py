"""Which prompts to train on and to probe. Equal estimates and seed give equal results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.quotas import apportion
from common.seeds import derive
from curriculum.candidates import Estimates, Weigh, WeightedPrompts
from curriculum.pool import Pool
from curriculum.posterior import Floats

BAND_SOFTNESS = 0.1
"""Width of the Gaussian falloff outside the band, as a distance in pass rate."""
SHARPNESS = 4.0
"""Exponent of usefulness in the draw. 1 spends rollouts on prompts of little use; a higher one
draws from fewer prompts."""
USEFUL = 0.2
"""Least usefulness of a prompt of medium difficulty."""
NEAR = 0.02
"""Least usefulness for which a capability keeps a place that it has no useful prompt for. A prompt
passed 5 % of the time has as much: one in three of its groups of 8 is mixed, and with pilots of 2 a
mixed group takes 2.5 times the rollouts that one of medium difficulty takes."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many prompts of each capability a step trains on."""

    by_capability: dict[str, int]
    fair: dict[str, int]
    """The places by share, before any are taken over."""
    useful: dict[str, int]
    """Useful prompts."""
    quota_shift: dict[str, int]
    """Difference to the capability's share: negative where it lacks prompts, positive where it
    takes over the difference; empty when there is none."""


def quotas(
    count: int,
    sizes: Mapping[str, int],
    shares: Mapping[str, float],
    useful: Mapping[str, int],
    room: Mapping[str, int],
    seed: int,
) -> Quotas:
    """Divide `count` prompts by `shares`, or by the pool's `sizes` where there are none.

    A capability gets no more places than it has `room` for; the others take over the difference.
    Fractions are rounded at random, so that steps of a few prompts keep the shares on average."""
    wanted = (
        {name: round(shares.get(name, 0.0) * 1_000_000) for name in sizes}
        if shares
        else dict(sizes)
    )
    fair = apportion(count, wanted, seed=seed)
    room = {name: room[name] if wanted[name] else 0 for name in sizes}
    given = apportion(min(count, sum(room.values())), wanted, room, seed=seed)
    short = any(given[name] < fair[name] and given[name] == room[name] for name in fair)
    quota_shift = (
        {name: given[name] - fair[name] for name in sorted(fair) if given[name] != fair[name]}
        if short
        else {}
    )
    return Quotas(given, fair, dict(useful), quota_shift)


# The names of the next three functions are part of seeds (`probes`): renaming one changes draws.


def at_random(known: Estimates) -> Floats:
    """The same weight for every prompt."""
    return np.ones_like(known.a)


def by_age(known: Estimates) -> Floats:
    """Weight by versions since the last rollouts."""
    return known.age + 1


def by_uncertainty(known: Estimates) -> Floats:
    """Weight by the variance of the posterior."""
    a, b = known.a, known.b
    total = a + b
    return a * b / (total * total * (total + 1))


def usefulness(band: tuple[float, float], group_size: int) -> Weigh:
    """P(a group is mixed) times 4 times the expected variance of a reward times a preference for
    the band, between 0 and 1.

    The variance of rewards of 0 and 1 is E[p (1 - p)]. The preference is 1 where the expected pass
    rate lies inside the band, and falls off outside as exp(-(distance / BAND_SOFTNESS)^2 / 2)."""
    low, high = band

    def weigh(known: Estimates) -> Floats:
        a, b = known.a, known.b
        total = a + b
        mean = a / total
        spread = np.maximum(a * b / (total * (total + 1)) + known.excess, 0.0)
        distance = np.maximum(np.maximum(low - mean, mean - high), 0.0)
        preference = np.exp(-((distance / BAND_SOFTNESS) ** 2) / 2)
        return known.mixed(group_size) * 4 * spread * preference

    return weigh


def sharpened(weigh: Weigh) -> Weigh:
    """The weights raised to SHARPNESS, as the draw uses them."""
    return lambda known: weigh(known) ** SHARPNESS


@dataclass(frozen=True, slots=True)
class Draw:
    """Ids of the prompts drawn, in the order to roll them out."""

    ids: list[str]
    explored: frozenset[str]
    """Those drawn from the weights for exploration."""


def draw(
    weighted: WeightedPrompts,
    wanted: Mapping[str, int],
    seed: int,
    explore: WeightedPrompts | None = None,
    share: float = 0.0,
) -> Draw:
    """Draw prompts by weight, `wanted` of each capability; fewer only when there are no more.

    A `share` of all prompts, rounded at random, is drawn from `explore` instead.
    """
    rng = np.random.default_rng(seed)
    ideal = share * sum(wanted.values())
    rounded = math.floor(ideal + rng.random())
    exploring = apportion(rounded, wanted, wanted, seed=derive(seed, "explore")) if ideal else {}
    explored: set[str] = set()
    chosen: list[str] = []
    for capability, count in wanted.items():
        first = (
            explore.sample(capability, exploring[capability], rng) if explore and exploring else []
        )
        explored.update(first)
        others = [id for id in weighted.sample(capability, count, rng) if id not in explored]
        chosen += first + others[: count - len(first)]
    order = rng.permutation(len(chosen))
    return Draw([chosen[i] for i in order], frozenset(explored))


def probes(pool: Pool, budget: int, version: int, seed: int) -> list[str]:
    """Ids of the prompts that a re-filtering probes, at most `budget`: half of them are drawn by
    age and half by uncertainty. By uncertainty alone, a prompt with a certain low estimate would
    never be probed again."""
    rng = np.random.default_rng(derive(seed, "probes"))
    chosen: list[str] = []
    free = pool.free([])
    sizes = pool.sizes(free)
    for weigh, count in ((by_age, (budget + 1) // 2), (by_uncertainty, budget // 2)):
        wanted = apportion(
            min(count, sum(sizes.values())), sizes, sizes, seed=derive(seed, weigh.__name__)
        )
        weighted = pool.weighted(free, weigh, version)
        for capability, quota in wanted.items():
            chosen += weighted.sample(capability, quota, rng)
    return list(dict.fromkeys(chosen))

"""Which prompts to train on, to probe, to retire and to reactivate. Equal pool, config and seed
give equal results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.quotas import apportion
from common.seeds import derive
from curriculum.candidates import Estimates, Weigh, WeightedPrompts
from curriculum.config import Posterior
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
RETIRE_EVIDENCE = 8.0
"""Observations, after fading, that retiring a prompt needs."""
RETIRE_DRAWS = 2
"""Rollout groups that retiring a prompt needs. One is not enough: a prompt solved 90 % of the time
passes a whole group of 8 in 43 % of cases."""
REACTIVATE_MARGIN = 0.05
"""A prompt is reactivated when its estimate lies this far below `retire_above`, so that it does not
change back and forth."""
REACTIVATE_FAILS = 0.5
"""Fails, after fading, that reactivating a prompt needs. Fading alone also lowers the mean, and
must not reactivate."""


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


def probes(pool: Pool, config: Posterior, budget: int, version: int, seed: int) -> list[str]:
    """Ids of the prompts that a re-filtering probes: at most `budget`, of which at most a quarter
    are retired.

    Of the others, half are drawn by age and half by uncertainty. By uncertainty alone, a prompt
    with a certain low estimate would never be probed again. Of the retired, a share `review` is
    drawn by age."""
    retired = pool.retired & ~pool.unfit
    review = min(math.ceil(config.review * retired.sum()), budget // 4)
    rng = np.random.default_rng(derive(seed, "probes"))
    chosen: list[str] = []
    for mask, weigh, count in (
        (retired, by_age, review),
        (pool.free([]), by_age, (budget - review + 1) // 2),
        (pool.free([]), by_uncertainty, (budget - review) // 2),
    ):
        sizes = pool.sizes(mask)
        wanted = apportion(
            min(count, sum(sizes.values())), sizes, sizes, seed=derive(seed, weigh.__name__)
        )
        weighted = pool.weighted(mask, weigh, version)
        for capability, quota in wanted.items():
            chosen += weighted.sample(capability, quota, rng)
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True)
class Transitions:
    """Ids of the prompts to retire and to reactivate, in order."""

    retire: list[str]
    reactivate: list[str]


def transitions(pool: Pool, config: Posterior, version: int) -> Transitions:
    """Which prompts to retire and to reactivate, on the evidence faded to policy `version`.

    A prompt is retired when its posterior mean exceeds `retire_above` on at least RETIRE_EVIDENCE
    observations from at least RETIRE_DRAWS rollout groups. A retired one is reactivated when it was
    observed since then, has at least REACTIVATE_FAILS fails, and its mean lies REACTIVATE_MARGIN
    below `retire_above`."""
    tried = np.flatnonzero(pool.seen >= 0)
    a, b = pool.posterior(tried, version)
    mean = a / (a + b)
    left = pool.decay ** (version - pool.seen[tried])
    evidence, fails = left * (pool.passes[tried] + pool.fails[tried]), left * pool.fails[tried]
    retired = pool.retired[tried]
    easy = (
        ~retired
        & (pool.drawn[tried] >= RETIRE_DRAWS)
        & (evidence >= RETIRE_EVIDENCE)
        & (mean > config.retire_above)
    )
    observed_since = pool.seen[tried] > pool.changed[tried]
    harder = mean < config.retire_above - REACTIVATE_MARGIN
    unlearned = retired & observed_since & (fails >= REACTIVATE_FAILS) & harder
    retire, reactivate = (
        [pool.ids[position] for position in tried[mask].tolist()] for mask in (easy, unlearned)
    )
    return Transitions(retire, reactivate)

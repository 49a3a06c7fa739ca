"""Which prompts to practise on, to probe, to let rest. The same pool, config and seed give the same
answer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.quotas import apportion
from common.seeds import derive
from curriculum.config import Posterior
from curriculum.pool import Pool, Weigh, Weighed
from curriculum.posterior import Floats, mixed

BAND_SOFTNESS = 0.1
"""How fast the preference for the band falls outside it, as a distance in pass rate."""
SHARPNESS = 4.0
"""Exponent of usefulness in the draw: 1 wastes rollouts on what is a little useful, more narrows
the choice."""
USEFUL = 0.2
"""Least usefulness of a prompt that a capability's place may count on."""
RETIRE_EVIDENCE = 8.0
"""Observations, after fading, that retiring needs."""
RETIRE_DRAWS = 2
"""Groups that retiring needs: one alone proves little, as a prompt solved 90 % of the time looks
solved always in 43 % of groups of 8."""
RECALL_MARGIN = 0.05
"""How far below `retire_above` the pass rate must be believed to recall a prompt, so that none goes
to and fro."""
RECALL_FAILS = 0.5
"""Failures, after fading, that recalling needs: forgetting alone, which also lowers the mean,
recalls nothing."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many prompts of each capability a step practises on."""

    by_capability: dict[str, int]
    quota_shift: dict[str, int]
    """Places given up for want of useful prompts (negative) and taken over (positive); empty when
    none moved."""


def places(
    count: int,
    sizes: Mapping[str, int],
    shares: Mapping[str, float],
    useful: Mapping[str, int],
    seed: int,
) -> Places:
    """Share `count` places out by `shares`, or by the pool's `sizes` where there are none.

    A capability gets no more places than it has `useful` prompts; the others take what it cannot.
    Whole places are rounded at random, so that steps of a few keep the shares on average."""
    wanted = (
        {name: round(shares.get(name, 0.0) * 1_000_000) for name in sizes}
        if shares
        else dict(sizes)
    )
    fair = apportion(count, wanted, seed=seed)
    room = {name: useful[name] if wanted[name] else 0 for name in sizes}
    given = apportion(min(count, sum(room.values())), wanted, room, seed=seed)
    short = any(given[name] < fair[name] and given[name] == room[name] for name in fair)
    quota_shift = (
        {name: given[name] - fair[name] for name in sorted(fair) if given[name] != fair[name]}
        if short
        else {}
    )
    return Places(given, quota_shift)


def at_random(a: Floats, b: Floats, age: Floats) -> Floats:
    """The same weight for every prompt."""
    return np.ones_like(a)


def by_age(a: Floats, b: Floats, age: Floats) -> Floats:
    """Weight by versions since the last look."""
    return age + 1


def by_uncertainty(a: Floats, b: Floats, age: Floats) -> Floats:
    """Weight by the variance of the believed pass rate."""
    total = a + b
    return a * b / (total * total * (total + 1))


def usefulness(band: tuple[float, float], group_size: int) -> Weigh:
    """P(a group is mixed) times 4 E[p (1 - p)] times a preference for the band, between 0 and 1.

    The preference is 1 where the believed pass rate (posterior mean) lies inside the band and falls
    off outside as exp(-(distance / BAND_SOFTNESS)^2 / 2)."""
    low, high = band

    def weigh(a: Floats, b: Floats, age: Floats) -> Floats:
        total = a + b
        mean, spread = a / total, a * b / (total * (total + 1))
        distance = np.maximum(np.maximum(low - mean, mean - high), 0.0)
        return mixed(a, b, group_size) * 4 * spread * np.exp(-((distance / BAND_SOFTNESS) ** 2) / 2)

    return weigh


def sharpened(weigh: Weigh) -> Weigh:
    """The weights that the draw goes by."""
    return lambda a, b, age: weigh(a, b, age) ** SHARPNESS


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn, in the order to practise it."""

    ids: list[str]
    explored: frozenset[str]
    """Those drawn by age, whatever is believed of them."""


def draw(
    weighed: Weighed,
    wanted: Mapping[str, int],
    seed: int,
    explore: Weighed | None = None,
    share: float = 0.0,
) -> Draw:
    """Draw prompts by weight, `wanted` of each capability; fewer only when no more are there.

    The `share` of all places, rounded at random, is drawn from `explore` instead.
    """
    rng = np.random.default_rng(seed)
    ideal = share * sum(wanted.values())
    lookers = math.floor(ideal + rng.random())
    exploring = apportion(lookers, wanted, wanted, seed=derive(seed, "explore")) if ideal else {}
    explored: set[str] = set()
    chosen: list[str] = []
    for capability, count in wanted.items():
        found = (
            explore.sample(capability, exploring[capability], rng) if explore and exploring else []
        )
        explored.update(found)
        rest = [id for id in weighed.sample(capability, count, rng) if id not in explored]
        chosen += found + rest[: count - len(found)]
    order = rng.permutation(len(chosen))
    return Draw([chosen[i] for i in order], frozenset(explored))


def probes(pool: Pool, config: Posterior, budget: int, version: int, seed: int) -> list[str]:
    """The prompts that a re-filtering probes: at most `budget`, of which at most a quarter are
    resting ones.

    Of the practising ones, half are drawn by age and half by uncertainty: by certainty alone, a
    prompt believed to be hopeless would never be looked at again. Of the resting, a `review` share,
    the longest unseen more often."""
    resting = pool.resting & ~pool.unfit
    review = min(math.ceil(config.review * resting.sum()), budget // 4)
    rng = np.random.default_rng(derive(seed, "probes"))
    chosen: list[str] = []
    for mask, weigh, count in (
        (resting, by_age, review),
        (pool.free([]), by_age, (budget - review + 1) // 2),
        (pool.free([]), by_uncertainty, (budget - review) // 2),
    ):
        sizes = pool.sizes(mask)
        wanted = apportion(
            min(count, sum(sizes.values())), sizes, sizes, seed=derive(seed, weigh.__name__)
        )
        weighed = pool.weighed(mask, weigh, version)
        for capability, places_ in wanted.items():
            chosen += weighed.sample(capability, places_, rng)
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True)
class Transitions:
    """Changes of state that the evidence asks for, ids in order."""

    retire: list[str]
    recall: list[str]


def transitions(pool: Pool, config: Posterior, version: int) -> Transitions:
    """Who rests from now on and who comes back, on the evidence faded to policy `version`.

    A prompt rests when its posterior mean exceeds `retire_above` on at least RETIRE_EVIDENCE
    observations from at least RETIRE_DRAWS groups. A resting one comes back when a group observed
    since then brought failures (RECALL_FAILS) and the mean lies RECALL_MARGIN below `retire_above`.
    """
    tried = np.flatnonzero(pool.seen >= 0)
    a, b = pool.posterior(tried, version)
    mean = a / (a + b)
    left = pool.decay ** (version - pool.seen[tried])
    evidence, fails = left * (pool.passes[tried] + pool.fails[tried]), left * pool.fails[tried]
    resting = pool.resting[tried]
    easy = (
        ~resting
        & (pool.drawn[tried] >= RETIRE_DRAWS)
        & (evidence >= RETIRE_EVIDENCE)
        & (mean > config.retire_above)
    )
    again = pool.seen[tried] > pool.changed[tried]
    hard = resting & again & (fails >= RECALL_FAILS) & (mean < config.retire_above - RECALL_MARGIN)
    retire, recall = ([pool.ids[place] for place in tried[mask].tolist()] for mask in (easy, hard))
    return Transitions(retire, recall)

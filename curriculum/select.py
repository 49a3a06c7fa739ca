"""Which prompts to practise on, to probe, to let rest: pure functions of plain rows.

The same rows, config and seed give the same answer, in whatever order the rows come. Every choice is made by keys
hashed from the seed and the prompt's id, so one prompt more or less leaves the other keys as they are.
"""

import math
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from common.quotas import apportion
from common.seeds import derive
from curriculum.config import CurriculumConfig
from curriculum.rows import Row

BAND_SOFTNESS = 0.1
"""How fast the preference for the band falls outside it, as a distance in pass rate."""
RETIRE_EVIDENCE = 8.0
"""Observations, after fading, that retiring needs."""
RETIRE_DRAWS = 2
"""Groups that retiring needs: one alone proves little, as a prompt solved 90 % of the time looks solved always in 43 %
of groups of 8."""
RECALL_MARGIN = 0.05
"""How far below `retire_above` the pass rate must be believed to recall a prompt, so that none goes to and fro."""
RECALL_FAILS = 0.5
"""Failures, after fading, that recalling needs: forgetting alone, which also lowers the mean, recalls nothing."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What `draw` chose."""

    ids: list[str]
    """In the order to practise them; fewer than asked only when no more are there."""
    explored: frozenset[str]
    """Those drawn at random, whatever is believed of them."""
    moved: dict[str, int]
    """Places by capability (negative: given up for want of prompts, positive: taken over); empty when none moved."""


@dataclass(frozen=True, slots=True)
class Transitions:
    """Changes of state that the evidence asks for, ids in order."""

    retire: list[str]
    recall: list[str]


def usefulness(row: Row, config: CurriculumConfig, group_size: int, version: int) -> float:
    """Weight of a prompt in the draw: P(its group is mixed) times a preference for the band, between 0 and 1.

    The preference is 1 where the believed pass rate (posterior mean) lies inside the band and falls off outside as
    exp(-(distance / BAND_SOFTNESS)^2 / 2).
    """
    posterior = row.posterior(config.decay, version)
    low, high = config.band
    distance = max(low - posterior.mean, 0.0, posterior.mean - high)
    return posterior.mixed(group_size) * math.exp(-((distance / BAND_SOFTNESS) ** 2) / 2)


def draw(
    rows: Sequence[Row],
    count: int,
    config: CurriculumConfig,
    group_size: int,
    version: int,
    seed: int,
    exclude: AbstractSet[str] = frozenset(),
) -> Draw:
    """Draw `count` different prompts that are neither resting nor in `exclude`.

    Capabilities get places in proportion to all their rows, resting ones included. Of a capability's places the share
    `explore` goes to prompts at random, the rest to prompts by `usefulness`. Whole places are rounded at random, so
    that draws of a few keep the shares on average.
    """
    free: dict[str, list[Row]] = {row.capability: [] for row in rows}
    for row in rows:
        if not row.resting and row.id not in exclude:
            free[row.capability].append(row)
    quotas, moved = _quotas(rows, free, count, derive(seed, "quotas"))
    exploring = _exploring(quotas, config.explore, seed)

    def useful(row: Row) -> float:
        return usefulness(row, config, group_size, version)

    explored: set[str] = set()
    chosen: list[str] = []
    for capability, places in quotas.items():
        random_ones = _sample(free[capability], exploring[capability], lambda row: 1.0, derive(seed, "explore"))
        explored.update(random_ones)
        rest = [row for row in free[capability] if row.id not in explored]
        chosen += random_ones + _sample(rest, places - len(random_ones), useful, derive(seed, "useful"))
    chosen.sort(key=lambda id: (derive(seed, "order", id), id))
    return Draw(chosen, frozenset(explored), moved)


def refilter_choice(rows: Sequence[Row], config: CurriculumConfig, version: int, seed: int) -> list[str]:
    """The prompts that a re-filtering probes, at most `probes` that practise and a `review` share of the resting.

    Of the first, half (rounded up) are those not observed for longest, never observed ones first, and half those whose
    pass rate is least certain: by certainty alone, a prompt believed to be hopeless would never be looked at again.
    Of the resting, those not observed for longest, the share rounded up.
    """
    practising = [row for row in rows if not row.resting]
    resting = [row for row in rows if row.resting]

    def oldest(row: Row) -> tuple[float, ...]:
        return (-1 if row.seen_version is None else row.seen_version, derive(seed, "probe", row.id))

    def least_certain(row: Row) -> tuple[float, ...]:
        return (-row.posterior(config.decay, version).variance, *oldest(row))

    chosen = _first(practising, math.ceil(config.probes / 2), oldest)
    rest = [row for row in practising if row.id not in set(chosen)]
    chosen += _first(rest, config.probes - math.ceil(config.probes / 2), least_certain)
    return chosen + _first(resting, math.ceil(config.review * len(resting)), oldest)


def transitions(rows: Sequence[Row], config: CurriculumConfig, version: int) -> Transitions:
    """Who rests from now on and who comes back, on the evidence faded to policy `version`.

    A prompt rests when its posterior mean exceeds `retire_above` on at least RETIRE_EVIDENCE observations from at least
    RETIRE_DRAWS groups. A resting one comes back when a group observed since then brought failures (RECALL_FAILS) and
    the mean lies RECALL_MARGIN below `retire_above`.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    retire = [row.id for row in ordered if not row.resting and _too_easy(row, config, version)]
    recall = [row.id for row in ordered if row.resting and _hard_again(row, config, version)]
    return Transitions(retire, recall)


def _too_easy(row: Row, config: CurriculumConfig, version: int) -> bool:
    if row.drawn < RETIRE_DRAWS or sum(row.evidence(config.decay, version)) < RETIRE_EVIDENCE:
        return False
    return row.posterior(config.decay, version).mean > config.retire_above


def _hard_again(row: Row, config: CurriculumConfig, version: int) -> bool:
    if row.seen_version is None or row.state_version is None or row.seen_version <= row.state_version:
        return False
    _, fails = row.evidence(config.decay, version)
    mean = row.posterior(config.decay, version).mean
    return fails >= RECALL_FAILS and mean < config.retire_above - RECALL_MARGIN


def _quotas(
    rows: Sequence[Row], free: dict[str, list[Row]], count: int, seed: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Places by capability, and how they differ from the capabilities' own shares."""
    sizes = dict.fromkeys(free, 0)
    for row in rows:
        sizes[row.capability] += 1
    capacity = {capability: len(members) for capability, members in free.items()}
    fair = apportion(count, sizes, seed=seed) if sizes else {}
    quotas = apportion(min(count, sum(capacity.values())), sizes, capacity, seed=seed)
    short = any(quotas[name] < fair[name] and quotas[name] == capacity[name] for name in fair)
    moved = {name: quotas[name] - fair[name] for name in sorted(fair) if quotas[name] != fair[name]} if short else {}
    return quotas, moved


def _exploring(quotas: dict[str, int], share: float, seed: int) -> dict[str, int]:
    """How many of each capability's places explore; the overall share is rounded up or down at random."""
    ideal = share * sum(quotas.values())
    total = math.floor(ideal)
    if derive(seed, "explore share") / 2**31 < ideal - total:
        total += 1
    return apportion(total, quotas, quotas, seed=derive(seed, "explore quotas"))


def _sample(rows: Collection[Row], count: int, weight: Callable[[Row], float], seed: int) -> list[str]:
    """`count` ids without replacement, each next one in proportion to its weight among those left.

    Sorting by exponential variates -log(u) / weight does that (Efraimidis and Spirakis); weight 0 comes last.
    """

    def key(row: Row) -> tuple[float, str]:
        uniform = (derive(seed, row.id) + 0.5) / 2**31
        size = weight(row)
        return (-math.log(uniform) / size if size > 0 else math.inf, row.id)

    return [row.id for row in sorted(rows, key=key)[:count]]


def _first(rows: Sequence[Row], count: int, key: Callable[[Row], tuple[float, ...]]) -> list[str]:
    return [row.id for row in sorted(rows, key=lambda row: (*key(row), row.id))[:count]]

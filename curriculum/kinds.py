"""The five ways to choose what to practise on, one generator each: it yields what to roll out, and
returns what trains.

Between a `yield` and the next line the rollouts have been made and booked: `step.tallies` holds the
step's groups."""

from collections.abc import Callable, Generator

from common.seeds import derive
from curriculum.config import DynamicSampling, Posterior, Refilter
from curriculum.posterior import Beta
from curriculum.requests import RolloutRequest
from curriculum.select import (
    USEFUL,
    by_age,
    draw,
    places,
    probes,
    sharpened,
    transitions,
    usefulness,
)
from curriculum.step import Step

Decide = Generator[list[RolloutRequest], None, list[str]]
"""Yields asks; returns the prompts whose groups count in the loss, those without a spread of
rewards included."""


def uniform(step: Step) -> Decide:
    """GRPO: a batch at random, all of it counted."""
    ids = step.at_random(0)
    yield step.whole(ids)
    return ids


def drop_zero_variance(step: Step) -> Decide:
    """A batch at random; what has no spread counts nowhere."""
    yield step.whole(step.at_random(0))
    return step.mixed()


def dynamic_sampling(step: Step) -> Decide:
    """Batches at random until enough groups have a spread (DAPO, Yu et al. 2025, arXiv:2503.14476,
    section 3.2)."""
    config = step.config
    assert isinstance(config, DynamicSampling)
    for round_ in range(config.max_rounds):
        if len(step.mixed()) >= step.groups or not (ids := step.at_random(round_)):
            break
        yield step.whole(ids)
    return step.mixed()[: step.groups]


def refilter(step: Step) -> Decide:
    """Every so often try the whole pool, then practise at random on what lay in the band (Llama 4,
    Meta 2025)."""
    config = step.config
    assert isinstance(config, Refilter)
    if step.version % config.refilter_every == 0:
        ids = [id for id, unfit in zip(step.pool.ids, step.pool.unfit, strict=True) if not unfit]
        outcomes = yield from step.probed(ids, config.probe_attempts)
        low, high = config.band
        graded = {
            id: seen.passes / (seen.passes + seen.fails)
            for id, seen in outcomes.items()
            if seen.passes + seen.fails
        }
        resting = {id for id, rests in zip(step.pool.ids, step.pool.resting, strict=True) if rests}
        outside = {id for id, rate in graded.items() if not low <= rate <= high}
        step.move(sorted(outside - resting), sorted((resting - outside) & graded.keys()))
    yield step.whole(step.at_random(0))
    return step.mixed()


def posterior(step: Step) -> Decide:
    """Draw by foretold usefulness, pilot, commit, replace only what did not come."""
    config = step.config
    assert isinstance(config, Posterior)
    if step.version and step.version % config.refilter_every == 0:
        yield from _review(step, config)
    weigh = usefulness(step.band, step.group_size)
    free = step.pool.select(step.pool.free([]), step.version)
    useful, left = free.weighed(weigh).at_least(USEFUL), free.sizes()
    room = useful if sum(useful.values()) >= step.groups else left
    wanted = places(
        step.groups, step.pool.sizes(), config.shares, room, derive(step.seed, "places")
    )
    step.quota_shift = wanted.quota_shift
    for round_ in range(config.max_rounds):
        observed = step.mixed_by_capability()
        missing = {
            name: max(count - observed[name], 0) for name, count in wanted.by_capability.items()
        }
        missing = {name: min(count, left[name]) for name, count in missing.items()}
        if not sum(missing.values()):
            break
        by_use, looked = free.weighed(sharpened(weigh)), free.weighed(by_age)
        found = draw(by_use, missing, derive(step.seed, "draw", round_), looked, config.explore)
        yield from _commit(step, config, found.ids)
        free = step.pool.select(step.pool.free(step.tallies), step.version)
        left = free.sizes()
    return step.mixed()


def _commit(
    step: Step, config: Posterior, ids: list[str]
) -> Generator[list[RolloutRequest], None, None]:
    """Pilot the prompts whose groups are not sure to have a spread; roll the rest out where the
    pilot promises one."""
    believed = step.believed(ids)
    sizes = {id: _size(beta, step.group_size, config) for id, beta in believed}
    sure = {id for id, beta in believed if beta.mixed(sizes[id]) >= config.sure}
    whole = {id for id in ids if id in sure or not 0 < config.pilot < sizes[id]}
    yield [
        RolloutRequest(id, sizes[id], "group")
        if id in whole
        else RolloutRequest(id, config.pilot, "pilot")
        for id in ids
    ]
    piloted = [id for id in ids if id not in whole and not step.rests(id)]
    rest = []
    for id, beta in step.believed(piloted):
        more = sizes[id] - config.pilot
        if step.tallies[id].chance(beta, more) >= config.commit_above:
            rest.append(RolloutRequest(id, more, "rest"))
    if rest:
        yield rest


def _size(beta: Beta, group_size: int, config: Posterior) -> int:
    """The group size at which a hard prompt's group is likely to have a spread, `largest_group` at
    most."""
    size = group_size
    while beta.mean < 0.5 and size < config.largest_group and beta.mixed(size) < config.sure:
        size += 1
    return size


def _review(step: Step, config: Posterior) -> Generator[list[RolloutRequest], None, None]:
    """Probe what is oldest or least certain; let rest what is too easy, recall what slipped
    back."""
    rollouts = config.probe_share * step.groups * step.group_size * config.refilter_every
    budget = int(rollouts / config.probe_attempts)
    if budget:
        ids = probes(step.pool, config, budget, step.version, step.seed)
        yield from step.probed(ids, config.probe_attempts)
    change = transitions(step.pool, config, step.version)
    step.move(change.retire, change.recall)


KINDS: dict[str, Callable[[Step], Decide]] = {
    kind.__name__: kind
    for kind in (uniform, drop_zero_variance, dynamic_sampling, refilter, posterior)
}

"""The six kinds of curriculum, one generator each: it yields what to roll out, and returns what
trains.

When a `yield` returns, the rollouts have been made and recorded: `step.counts` holds the step's
groups."""

from collections.abc import Callable, Generator, Sequence

from common.seeds import derive
from curriculum.config import DynamicSampling, Gaussian, Posterior, Refilter
from curriculum.posterior import Prediction
from curriculum.profile import Profile
from curriculum.requests import RolloutRequest
from curriculum.select import (
    NEAR,
    USEFUL,
    by_age,
    draw,
    probes,
    sharpened,
    usefulness,
)
from curriculum.stage_start import PROFILE
from curriculum.step import Step

KindGenerator = Generator[list[RolloutRequest], None, list[str]]
"""Yields requests; returns the prompts whose groups count in the loss, mixed or not."""


def uniform(step: Step) -> KindGenerator:
    """GRPO: a random batch, all of which counts."""
    ids = step.at_random(0)
    yield step.whole(ids)
    return ids


def drop_zero_variance(step: Step) -> KindGenerator:
    """A random batch, of which the mixed groups count."""
    yield step.whole(step.at_random(0))
    return step.mixed()


def dynamic_sampling(step: Step) -> KindGenerator:
    """Random batches until enough groups are mixed (DAPO, Yu et al. 2025, arXiv:2503.14476,
    section 3.2)."""
    config = step.config
    assert isinstance(config, DynamicSampling)
    for round_ in range(config.max_rounds):
        if len(step.mixed()) >= step.groups or not (ids := step.at_random(round_)):
            break
        yield step.whole(ids)
    return step.mixed()[: step.groups]


def refilter(step: Step) -> KindGenerator:
    """Probe the whole pool at intervals, and in between draw at random from the prompts inside the
    band (Llama 4, Meta 2025)."""
    config = step.config
    assert isinstance(config, Refilter)
    if step.version % config.refilter_every == 0:
        counts = yield from step.probe(step.fit(), config.probe_attempts)
        low, high = config.band
        rates = {
            id: group.passes / (group.passes + group.fails)
            for id, group in counts.items()
            if group.passes + group.fails
        }
        retired = {id for id, is_in in zip(step.pool.ids, step.pool.retired, strict=True) if is_in}
        outside = {id for id, rate in rates.items() if not low <= rate <= high}
        step.change_states(sorted(outside - retired), sorted((retired - outside) & rates.keys()))
    yield step.whole(step.at_random(0))
    return step.mixed()


def gaussian(step: Step) -> KindGenerator:
    """Profile the pool, and draw prompts whose pass rates follow a Gaussian with a falling mean
    (Nemotron 3 Nano, NVIDIA 2025, arXiv:2512.20848)."""
    config = step.config
    assert isinstance(config, Gaussian)
    remembered = step.ledger.remembered(PROFILE, None)
    profile = None if remembered is None else Profile(**remembered)
    step.figures["profiled"] = float(profile is None or profile.plateau(config.plateau_steps))
    if profile is None or step.figures["profiled"]:
        counts = yield from step.probe(step.fit(), config.probe_attempts)
        profile = Profile.of(step.pool, counts, step.version)
    mean = config.start_mean + step.progress * (config.end_mean - config.start_mean)
    step.figures["target_mean"] = mean
    yield step.whole(step.weighted(profile.weights(step.pool, mean, config.deviation)))
    step.ledger.remember(PROFILE, profile.after(step.pool, step.counts).to_json())
    return step.mixed()


def posterior(step: Step) -> KindGenerator:
    """Draw by predicted usefulness, roll out pilots, commit, and draw replacements for groups that
    are not mixed.

    The replacements' pilots go out together with the rest of the groups committed to a round
    before, as few large lists of requests take less time than many small ones. A group whose rest
    is under way counts as mixed: most are, and one that is not is replaced a round later. Drawing
    more in advance would leave groups over."""
    config = step.config
    assert isinstance(config, Posterior)
    if step.version and step.version % config.refilter_every == 0:
        yield from _refilter_pool(step, config)
    weigh = usefulness(step.band, step.group_size)
    free = step.pool.candidates(step.pool.free([]), step.version)
    weighted, left = free.weighted(weigh), free.sizes()
    useful = weighted.at_least(USEFUL)
    room = weighted.at_least(NEAR) if sum(useful.values()) >= step.groups else left
    wanted = step.divided(useful, room, derive(step.seed, "places"))
    rest: list[RolloutRequest] = []
    for round_ in range(config.max_rounds):
        missing = _missing(step, rest, wanted, left)
        by_use, explore = free.weighted(sharpened(weigh)), free.weighted(by_age)
        drawn = draw(by_use, missing, derive(step.seed, "draw", round_), explore, config.explore)
        if not rest and not drawn.ids:
            break
        rest = yield from _begin_and_complete(step, config, drawn.ids, rest)
        free = step.pool.candidates(step.pool.free(step.counts), step.version)
        left = free.sizes()
    if rest:
        yield rest
    return step.mixed()


def _missing(
    step: Step, rest: Sequence[RolloutRequest], wanted: dict[str, int], left: dict[str, int]
) -> dict[str, int]:
    """Groups still missing by capability, at most as many as prompts are left. Those whose `rest`
    is under way are not missing."""
    begun = {*step.mixed(), *(request.id for request in rest)}
    have = step.by_capability(sorted(begun))
    return {name: min(max(count - have[name], 0), left[name]) for name, count in wanted.items()}


def _begin_and_complete(
    step: Step, config: Posterior, ids: list[str], rest: list[RolloutRequest]
) -> Generator[list[RolloutRequest], None, list[RolloutRequest]]:
    """Roll out the `rest` of groups, and of new ones (`ids`) pilots, or the whole where it is
    almost certain to be mixed. Returns the rest of the new groups that are likely to be mixed."""
    posteriors = step.posteriors(ids)
    sizes = {id: _group_size(beta, step.group_size, config) for id, beta in posteriors}
    sure = {id for id, beta in posteriors if beta.mixed(sizes[id]) >= config.sure}
    whole = {id for id in ids if id in sure or not 0 < config.pilot < sizes[id]}
    yield rest + [
        RolloutRequest(id, sizes[id], "group")
        if id in whole
        else RolloutRequest(id, config.pilot, "pilot")
        for id in ids
    ]
    piloted = [id for id in ids if id not in whole and not step.is_retired(id)]
    committed = []
    for id, beta in step.posteriors(piloted):
        more = sizes[id] - config.pilot
        if step.counts[id].mixed_probability(beta, more) >= config.commit_above:
            committed.append(RolloutRequest(id, more, "rest"))
    return committed


def _group_size(beta: Prediction, group_size: int, config: Posterior) -> int:
    """The size at which a hard prompt's group is almost certain to be mixed, at most
    `largest_group`."""
    size = group_size
    while beta.mean < 0.5 and size < config.largest_group and beta.mixed(size) < config.sure:
        size += 1
    return size


def _refilter_pool(step: Step, config: Posterior) -> Generator[list[RolloutRequest], None, None]:
    """Probe the prompts with the oldest or least certain estimates."""
    rollouts = config.probe_share * step.groups * step.group_size * config.refilter_every
    budget = int(rollouts / config.probe_attempts)
    if budget:
        ids = probes(step.pool, budget, step.version, step.seed)
        yield from step.probe(ids, config.probe_attempts)


KINDS: dict[str, Callable[[Step], KindGenerator]] = {
    kind.__name__: kind
    for kind in (uniform, drop_zero_variance, dynamic_sampling, refilter, gaussian, posterior)
}

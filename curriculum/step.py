"""One step as the kinds of curriculum see it: the pool, the rollouts so far, and the actions they
can take."""

from collections.abc import Generator, Mapping, Sequence

import numpy as np

from common.seeds import derive
from curriculum.accounting import GroupCounts
from curriculum.candidates import WeightedPrompts
from curriculum.config import CurriculumConfig
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Floats, Prediction
from curriculum.prompt_index import Mask
from curriculum.requests import RolloutRequest, Shortage
from curriculum.select import Quotas, at_random, draw, quotas


class Step:
    """`groups` groups of `group_size` rollouts each are wanted at policy `version`."""

    def __init__(
        self,
        config: CurriculumConfig,
        ledger: Ledger,
        pool: Pool,
        *,
        version: int,
        groups: int,
        group_size: int,
        band: tuple[float, float],
        progress: float,
        seed: int,
    ) -> None:
        self.config, self.ledger, self.pool = config, ledger, pool
        self.version, self.groups, self.group_size = version, groups, group_size
        self.band = band
        """Pass rates of medium difficulty at this step."""
        self.progress = progress
        """Share of the stage's steps that lie behind, from 0 at the first to 1 at the last."""
        self.seed = seed
        self.counts: dict[str, GroupCounts] = {}
        """The step's groups by prompt, in the order of their first rollouts."""
        self.probe_counts: dict[str, GroupCounts] = {}
        self.quotas: Quotas | None = None
        """How the step's places were first divided."""
        self.figures: dict[str, float] = {}
        """What a kind reports of itself."""
        self.retired = self.reactivated = 0
        """Prompts retired and reactivated in this step."""

    def at_random(self, round_: int) -> list[str]:
        """A random batch of prompts that are not retired and were not rolled out in this step,
        divided by capability."""
        free = self.pool.free(self.counts)
        return self._batch(free, self.pool.weighted(free, at_random, self.version), round_)

    def weighted(self, weights: Floats) -> list[str]:
        """A batch of prompts that are not retired, drawn by weights in the pool's order and divided
        by capability."""
        free = self.pool.free(self.counts)
        positions = np.flatnonzero(free)
        prompts = WeightedPrompts.each(self.pool.index, positions, weights[positions])
        return self._batch(free, prompts, 0)

    def _batch(self, free: Mask, prompts: WeightedPrompts, round_: int) -> list[str]:
        seed, room = derive(self.seed, "batch", round_), self.pool.sizes(free)
        return draw(prompts, self.divided(room, room, seed), seed).ids

    def divided(
        self, useful: Mapping[str, int], room: Mapping[str, int], seed: int
    ) -> dict[str, int]:
        """The step's places by capability, as many as there is room for. The first division of a
        step is kept, to report what falls short."""
        given = quotas(self.groups, self.pool.sizes(), self.config.shares, useful, room, seed)
        self.quotas = self.quotas or given
        return given.by_capability

    def fit(self) -> list[str]:
        """The prompts that can be rolled out, retired or not."""
        return [id for id, unfit in zip(self.pool.ids, self.pool.unfit, strict=True) if not unfit]

    def whole(self, ids: Sequence[str]) -> list[RolloutRequest]:
        """Requests for whole groups."""
        return [RolloutRequest(id, self.group_size, "group") for id in ids]

    def probe(
        self, ids: Sequence[str], attempts: int
    ) -> Generator[list[RolloutRequest], None, Mapping[str, GroupCounts]]:
        """Roll prompts out only to measure them; returns the counts by prompt."""
        yield [RolloutRequest(id, attempts, "probe") for id in ids]
        return {id: self.probe_counts[id] for id in ids}

    def posteriors(self, ids: Sequence[str]) -> list[tuple[str, Prediction]]:
        """Prompts with what is foretold of their rewards."""
        return list(zip(ids, self.pool.posteriors(ids, self.version), strict=True)) if ids else []

    def is_retired(self, id: str) -> bool:
        """Whether a prompt is retired. One that cannot be rolled out is retired as soon as that is
        known."""
        return bool(self.pool.retired[self.pool.index.position[id]])

    def mixed(self) -> list[str]:
        """The prompts whose groups are mixed."""
        return [id for id, group in self.counts.items() if group.mixed]

    def by_capability(self, ids: Sequence[str]) -> dict[str, int]:
        """The number of prompts of each capability."""
        index = self.pool.index
        return index.by_capability(index.capability[index.positions(ids)])

    @property
    def quota_shift(self) -> dict[str, int]:
        """What the capabilities gave up of their places, and took over."""
        return self.quotas.quota_shift if self.quotas else {}

    def shortages(self, trained: Sequence[str]) -> dict[str, Shortage]:
        """The capabilities that fall short of their share for want of useful prompts."""
        if self.quotas is None:
            return {}
        sizes, groups = self.pool.sizes(), self.by_capability(trained)
        return {
            name: Shortage(
                places,
                groups[name],
                max(-self.quota_shift.get(name, 0), 0),
                self.quotas.useful[name],
                sizes[name],
                round(self.pool.mean_rate(name, self.version), 4),
            )
            for name, places in sorted(self.quotas.fair.items())
            if max(self.quotas.useful[name], groups[name]) < places
        }

    def change_states(self, retire: Sequence[str], reactivate: Sequence[str]) -> None:
        """Retire some prompts and reactivate others."""
        with self.ledger.transaction():
            self.ledger.retire(retire, self.version)
            self.ledger.reactivate(reactivate, self.version)
        self.pool.refresh([*retire, *reactivate])
        self.retired += len(retire)
        self.reactivated += len(reactivate)

"""One step as the kinds of curriculum see it: the pool, the rollouts so far, and the actions they
can take."""

from collections.abc import Generator, Mapping, Sequence

from common.quotas import apportion
from common.seeds import derive
from curriculum.accounting import GroupCounts
from curriculum.config import CurriculumConfig
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Prediction
from curriculum.requests import RolloutRequest
from curriculum.select import at_random, draw


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
        seed: int,
    ) -> None:
        self.config, self.ledger, self.pool = config, ledger, pool
        self.version, self.groups, self.group_size = version, groups, group_size
        self.band = band
        """Pass rates of medium difficulty at this step."""
        self.seed = seed
        self.counts: dict[str, GroupCounts] = {}
        """The step's groups by prompt, in the order of their first rollouts."""
        self.probe_counts: dict[str, GroupCounts] = {}
        self.quota_shift: dict[str, int] = {}
        self.retired = self.reactivated = 0
        """Prompts retired and reactivated in this step."""

    def at_random(self, round_: int) -> list[str]:
        """A random batch of prompts that are not retired and were not rolled out in this step,
        divided by capability."""
        free = self.pool.free(self.counts)
        room, shares = self.pool.sizes(free), self.config.shares
        sizes = (
            {name: round(shares.get(name, 0.0) * 1_000_000) for name in room}
            if shares
            else self.pool.sizes()
        )
        room = {name: count if sizes[name] else 0 for name, count in room.items()}
        seed = derive(self.seed, "batch", round_)
        wanted = apportion(min(self.groups, sum(room.values())), sizes, room, seed=seed)
        return draw(self.pool.weighted(free, at_random, self.version), wanted, seed).ids

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

    def mixed_by_capability(self) -> dict[str, int]:
        index = self.pool.index
        return index.by_capability(index.capability[index.positions(self.mixed())])

    def change_states(self, retire: Sequence[str], reactivate: Sequence[str]) -> None:
        """Retire some prompts and reactivate others."""
        with self.ledger.transaction():
            self.ledger.retire(retire, self.version)
            self.ledger.reactivate(reactivate, self.version)
        self.pool.refresh([*retire, *reactivate])
        self.retired += len(retire)
        self.reactivated += len(reactivate)

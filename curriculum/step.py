"""One step as the kinds of curriculum see it: the pool, what was rolled out so far, and the moves
they can make."""

from collections.abc import Generator, Mapping, Sequence

from common.quotas import apportion
from common.seeds import derive
from curriculum.accounting import GroupCounts
from curriculum.config import CurriculumConfig
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Beta
from curriculum.requests import RolloutRequest
from curriculum.select import at_random, draw


class Step:
    """`groups` of `group_size` rollouts each are wanted at policy `version`."""

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
        self.tallies: dict[str, GroupCounts] = {}
        """The step's groups by prompt, in the order of their first rollouts."""
        self.probes: dict[str, GroupCounts] = {}
        self.quota_shift: dict[str, int] = {}
        self.retired = self.recalled = 0

    def at_random(self, round_: int) -> list[str]:
        """A batch of prompts that do not rest and were not rolled out in this step, at random by
        capability."""
        free = self.pool.free(self.tallies)
        room, shares = self.pool.sizes(free), self.config.shares
        sizes = (
            {name: round(shares.get(name, 0.0) * 1_000_000) for name in room}
            if shares
            else self.pool.sizes()
        )
        room = {name: count if sizes[name] else 0 for name, count in room.items()}
        seed = derive(self.seed, "batch", round_)
        wanted = apportion(min(self.groups, sum(room.values())), sizes, room, seed=seed)
        return draw(self.pool.weighed(free, at_random, self.version), wanted, seed).ids

    def whole(self, ids: Sequence[str]) -> list[RolloutRequest]:
        return [RolloutRequest(id, self.group_size, "group") for id in ids]

    def probed(
        self, ids: Sequence[str], attempts: int
    ) -> Generator[list[RolloutRequest], None, Mapping[str, GroupCounts]]:
        """Roll prompts out to measure them; what came, by prompt."""
        yield [RolloutRequest(id, attempts, "probe") for id in ids]
        return {id: self.probes[id] for id in ids}

    def believed(self, ids: Sequence[str]) -> list[tuple[str, Beta]]:
        """What is believed of some prompts now."""
        return list(zip(ids, self.pool.believed(ids, self.version), strict=True)) if ids else []

    def rests(self, id: str) -> bool:
        """Whether a prompt rests; one that cannot be rolled out does from the moment that this is
        found out."""
        return bool(self.pool.resting[self.pool.place[id]])

    def mixed(self) -> list[str]:
        """The prompts whose groups have a spread of rewards."""
        return [id for id, tally in self.tallies.items() if tally.mixed]

    def mixed_by_capability(self) -> dict[str, int]:
        found = dict.fromkeys(self.pool.capabilities, 0)
        for id in self.mixed():
            found[self.pool.capabilities[self.pool.capability[self.pool.place[id]]]] += 1
        return found

    def move(self, retire: Sequence[str], recall: Sequence[str]) -> None:
        """Let prompts rest or bring them back."""
        with self.ledger.transaction():
            self.ledger.retire(retire, self.version)
            self.ledger.recall(recall, self.version)
        self.pool.refresh([*retire, *recall])
        self.retired, self.recalled = self.retired + len(retire), self.recalled + len(recall)

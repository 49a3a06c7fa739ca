"""Which completions go through the model together: as few and as even forward passes as the limit
allows.

Rollouts with a fault have no part in the loss and are not computed. Similar lengths go together,
because a pass is padded to its longest row. A group whose members lie in two passes has its prompt
computed in both. With several processes each takes an even part of every pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from common.quotas import even_parts
from rollouts.interface import Rollout
from stages.rl.groups import Group


@dataclass(frozen=True, slots=True)
class Part:
    """Completions of one prompt that go through the model together."""

    prompt_ids: list[int]
    """Prompt tokens."""
    rollouts: list[Rollout]
    advantages: list[float]
    """One per rollout, computed over its whole group."""

    @property
    def completions(self) -> list[list[int]]:
        return [rollout.token_ids for rollout in self.rollouts]


Pass = list[Part]
"""What goes through the model together."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one process trains on in a step."""

    passes: list[Pass]
    """As many on every process. An empty one stands beside passes of other processes."""
    loss_tokens: int
    """Completion tokens of the whole step, which the loss is divided by."""
    lag: int
    """Versions between the policy that sampled and the one that trains."""


def forward_passes(groups: Sequence[Group], limit: int) -> list[Pass]:
    """The usable members of the groups in passes of at most `limit` sequences; no pass without
    groups."""
    wholes = [
        Part(g.prompt_ids, [member.rollout for member in g.usable], g.advantages())
        for g in _ordered(groups)
    ]
    rows = [
        (whole, place) for whole, part in enumerate(wholes) for place in range(len(part.rollouts))
    ]
    passes, start = [], 0
    for size in even_parts(len(rows), limit):
        together = groupby(rows[start : start + size], key=lambda row: row[0])
        passes.append(
            [_some(wholes[whole], [place for _, place in mine]) for whole, mine in together]
        )
        start += size
    return passes


def dealt(passes: Sequence[Pass], processes: int) -> list[list[Pass]]:
    """The passes of each process: an even part of every pass, in order. A part is empty where a
    pass has fewer rows than there are processes."""
    shares = [_dealt(one, processes) for one in passes]
    return [[share[rank] for share in shares] for rank in range(processes)]


def _dealt(one: Pass, processes: int) -> list[Pass]:
    rows = [(part, place) for part in one for place in range(len(part.rollouts))]
    fewest, more = divmod(len(rows), processes)
    shares, start = [], 0
    for rank in range(processes):
        size = fewest + (rank < more)
        together = groupby(rows[start : start + size], key=lambda row: id(row[0]))
        mine = [list(same) for _, same in together]
        shares.append([_some(same[0][0], [place for _, place in same]) for same in mine])
        start += size
    return shares


def _ordered(groups: Sequence[Group]) -> list[Group]:
    """By the length of the longest sequence."""

    def key(group: Group) -> tuple[int, str]:
        return len(group.prompt_ids) + max(
            len(m.rollout.token_ids) for m in group.usable
        ), group.prompt_id

    return sorted(groups, key=key)


def _some(part: Part, places: Sequence[int]) -> Part:
    return replace(
        part,
        rollouts=[part.rollouts[i] for i in places],
        advantages=[part.advantages[i] for i in places],
    )

"""Which completions go through the model together: as few and as even forward passes as the limit
allows.

Rollouts with a fault have no part in the loss and are not computed. Similar lengths go together,
because a pass is padded to its longest row. A group whose members lie in two passes has its prompt
computed in both."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def forward_passes(groups: Sequence[Group], limit: int) -> list[list[Part]]:
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


def _ordered(groups: Sequence[Group]) -> list[Group]:
    """By the length of the longest sequence."""

    def key(group: Group) -> tuple[int, str]:
        return len(group.prompt_ids) + max(
            len(m.rollout.token_ids) for m in group.usable
        ), group.prompt_id

    return sorted(groups, key=key)


def _some(part: Part, places: Sequence[int]) -> Part:
    return Part(
        part.prompt_ids, [part.rollouts[i] for i in places], [part.advantages[i] for i in places]
    )

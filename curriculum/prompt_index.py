"""The columns of a ledger's prompts that never change, and where to find a prompt in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


class PromptIndex:
    """Prompts in the order of their ids, with their capability and difficulty group.

    `groups` is the number of difficulty groups, whose ids count from 1."""

    def __init__(
        self,
        ids: tuple[str, ...],
        capabilities: Sequence[str],
        difficulty_groups: Sequence[Any],
        groups: int,
    ) -> None:
        self.ids = ids
        self.position = {id: position for position, id in enumerate(ids)}
        self.capabilities = sorted(set(capabilities))
        numbers = {name: number for number, name in enumerate(self.capabilities)}
        self.capability = np.array([numbers[name] for name in capabilities], dtype=np.int16)
        """Number of each prompt's capability."""
        self.difficulty_group = np.array(difficulty_groups, dtype=np.int64)
        """Id of each prompt's narrowest difficulty group."""
        self.group_capability = np.zeros(groups + 1, dtype=np.int16)
        """Number of the capability of each difficulty group's prompts, by the group's id."""
        self.group_capability[self.difficulty_group] = self.capability
        self._by_group = np.argsort(self.difficulty_group, kind="stable")
        self._bounds = np.searchsorted(self.difficulty_group[self._by_group], np.arange(groups + 2))

    def positions(self, ids: Sequence[str]) -> Indices:
        return np.array([self.position[id] for id in ids], dtype=np.int64)

    def members(self, group_id: int, mask: Mask) -> Indices:
        """Positions of a difficulty group's prompts that are in `mask`."""
        inside = self._by_group[self._bounds[group_id] : self._bounds[group_id + 1]]
        return inside[mask[inside]]

    def by_capability(self, capabilities: NDArray[np.int16]) -> dict[str, int]:
        """How often each capability's number occurs."""
        counts = np.bincount(capabilities, minlength=len(self.capabilities))
        return dict(zip(self.capabilities, counts.tolist(), strict=True))

"""The difficulty ledger: one SQLite row per prompt and one per difficulty group, kept from the
judge filter through RL to DPO.

Changes are transactions, so a crash leaves the ledger before or after a change. A damaged file is
refused with its name. What the numbers mean is in `curriculum.records` and
`curriculum.posterior`."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from common.errors import RunFailed
from curriculum.database import open_file, upgrade, write_copy
from curriculum.difficulty_groups import DifficultyGroup
from curriculum.ledger_tables import LedgerTables
from curriculum.records import EVIDENCE, NewPrompt, Observation, PromptRecord, PromptState
from curriculum.sql_rows import added, merged


class Ledger(LedgerTables):
    """An open ledger and the changes that stages make to it."""

    @classmethod
    def restore(cls, snapshot: Path, path: Path) -> "Ledger":
        """Copy `snapshot` to `path`, replacing any file there, and open the copy; one that was
        written before rewards were graded is brought up to date. Raises RunFailed if the snapshot
        is not a complete ledger."""
        if not snapshot.exists():
            raise RunFailed(f"there is no ledger at {snapshot}", "redo the stage that writes it")
        source = open_file(snapshot, earlier=True)
        try:
            write_copy(source, path)
        finally:
            source.close()
        upgrade(path)
        return cls(path)

    def add(self, prompts: Iterable[NewPrompt]) -> None:
        """Add prompts, all or none. One that is there already stays as it is; RunFailed if it
        differs."""
        prior_means: dict[int, list[float]] = {}
        with self.transaction():
            for prompt in prompts:
                if self._holds(prompt):
                    continue
                group_ids = self._group_path(prompt)
                self._put(
                    PromptRecord(
                        id=prompt.id,
                        capability=prompt.capability,
                        source=prompt.source,
                        prior=prompt.prior,
                        settings=prompt.settings,
                        difficulty_group=group_ids[-1],
                        verdict=prompt.verdict,
                    )
                )
                for group_id in group_ids:
                    prior_means.setdefault(group_id, []).append(prompt.prior.mean)
            for group_id, means in prior_means.items():
                self._add_members(group_id, means)

    def observe(self, observations: Iterable[Observation], version: int, *, decay: float) -> None:
        """Record groups of rollouts sampled from policy `version`. Older evidence is first faded by
        `decay` per version.

        Raises ValueError for a version before the last one seen, and records nothing then.
        """
        with self.transaction():
            for observation in observations:
                record = self.record(observation.id)
                passes, fails = record.evidence(decay, version)
                rewards, squares = record.reward_sums(decay, version)
                if observation.passes + observation.fails and not observation.continuation:
                    self._observe_groups(record.difficulty_group, observation, version, decay)
                self._put(
                    replace(
                        record,
                        passes=passes + observation.passes,
                        fails=fails + observation.fails,
                        rewards=rewards + sum(observation.rewards),
                        squares=squares + sum(one * one for one in observation.rewards),
                        seen_version=version,
                        drawn=record.drawn + (not observation.continuation),
                        faults=added(record.faults, observation.faults),
                    )
                )

    def trained(self, ids: Iterable[str], *, decay: float) -> None:
        """Fade the evidence of prompts that were trained on once by `decay`: training changed their
        pass rates."""
        with self.transaction():
            for id in ids:
                record = self.record(id)
                faded = {name: decay * getattr(record, name) for name in EVIDENCE}
                self._put(replace(record, **faded))

    def merge(self, other: "Ledger", *, decay: float) -> None:
        """Add the observations of another ledger of the same prompts, and take its states where
        they changed later.

        Both must start from the same ledger and have observations of their own: those that both
        hold count twice."""
        with self.transaction():
            for theirs in other.records():
                self._put(merged(self.record(theirs.id), theirs, decay))
            groups = self.difficulty_groups()
            for id, group in other.difficulty_groups().items():
                if group.version or group.rollout_groups:
                    self._put_group(id, groups[id].merged(group, decay))

    def retire(self, ids: Iterable[str], version: int) -> None:
        """Retire active or reactivated prompts. Raises ValueError if one is retired already."""
        self._change_state(ids, ("active", "reactivated"), "retired", version)

    def reactivate(self, ids: Iterable[str], version: int) -> None:
        """Reactivate retired prompts. Raises ValueError if one is not retired."""
        self._change_state(ids, ("retired",), "reactivated", version)

    def _holds(self, prompt: NewPrompt) -> bool:
        """Whether the prompt is there already. Raises RunFailed if it is there with other
        values."""
        held = self._find(prompt.id)
        if held is None:
            return False
        for name in ("capability", "source", "settings", "prior", "verdict"):
            if getattr(held, name) != getattr(prompt, name):
                raise RunFailed(
                    f"the ledger {self.name} holds prompt {prompt.id} with {name}"
                    f" {getattr(held, name)!r}, but the new one has {getattr(prompt, name)!r}",
                    "redo the stage that wrote the ledger",
                )
        return True

    def _group_path(self, prompt: NewPrompt) -> list[int]:
        """Ids of the prompt's difficulty groups from wide to narrow; missing ones are created."""
        ids: list[int] = []
        for name in prompt.path:
            key = (ids[-1] if ids else None, name)
            if key not in self._group_ids:
                self._group_ids[key] = len(self._group_ids) + 1
                self._put_group(self._group_ids[key], DifficultyGroup(*key))
            ids.append(self._group_ids[key])
        return ids

    def _add_members(self, group_id: int, means: list[float]) -> None:
        self._execute(
            "UPDATE difficulty_groups SET members = members + ?, prior_means = prior_means + ?"
            " WHERE id = ?",
            (len(means), math.fsum(means), group_id),
        )

    def _observe_groups(
        self, group_id: int | None, observation: Observation, version: int, decay: float
    ) -> None:
        """Add a group of rollouts to a difficulty group and to those around it."""
        while group_id is not None:
            group = self._find_group(group_id).at(version, decay)
            self._put_group(
                group_id,
                group.with_rollouts(observation.passes, observation.rewards, observation.surprise),
            )
            group_id = group.parent

    def _change_state(
        self, ids: Iterable[str], before: tuple[PromptState, ...], after: PromptState, version: int
    ) -> None:
        with self.transaction():
            for id in ids:
                record = self.record(id)
                if record.state not in before:
                    raise ValueError(f"prompt {id} is {record.state} and cannot become {after}")
                self._put(replace(record, state=after, state_version=version))

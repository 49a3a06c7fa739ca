"""Notes about a step, each given once: prompts that cannot be rolled out, and capabilities with too
few useful prompts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG, counted, main_fault, remedy_of
from curriculum.requests import Shortage
from prompts.schema import Prompt
from stages.rl.collector import StepBatch

NAMED = 3
"""Prompts of one step that are named; the others are counted."""
SETTLED = 5
"""Steps in which a capability falls short before that is said, so that the figures mean
something."""
UNUSABLE = {
    TOO_LONG: "longer than {limit} tokens (rollouts.max_model_len less max_tokens)",
    NOT_ENCODED: "cannot be encoded",
}
"""The wording for prompts that cannot be rolled out, by reason."""


@dataclass
class Short:
    """The steps in which a capability fell short of its share."""

    first: int
    last: int = 0
    steps: int = 0
    places: int = 0
    trained: int = 0
    taken: int = 0

    def add(self, step: int, one: Shortage) -> None:
        self.last, self.steps = step, self.steps + 1
        self.places, self.trained = self.places + one.places, self.trained + one.trained
        self.taken += one.taken

    def text(self, name: str, now: Shortage) -> str:
        """What a person is told; `now` is the last step's shortage."""
        return (
            f"{name} falls short of its share: {self.places / self.steps:.1f} places a step,"
            f" {now.useful} useful prompts of {now.prompts} (mean pass rate {now.rate:.2f})."
            f" In {self.steps} steps from {self.first} to {self.last} it trained {self.trained}"
            f" groups in {self.places} places, of which others took {self.taken}"
        )


class Notes:
    """Remembers the notes given, and by capability the rollouts, those that could not be graded and
    the shortages, since the process started."""

    def __init__(
        self, prompts: Mapping[str, Prompt], limit: int, last: int, note: Callable[[str], None]
    ) -> None:
        """`last` is the number of the stage's last step."""
        self.prompts, self.limit, self.last, self.note = prompts, limit, last, note
        self.short: dict[str, Short] = {}
        self.told = set[str]()
        """Capabilities whose shortage was said."""
        self.rollouts = Counter[str]()
        self.ungraded: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def step(self, step: int, batch: StepBatch) -> None:
        """Give the notes that are new at a step."""
        for group in batch.rolled_out:
            self.rollouts[group.capability] += len(group.members)
            cut_off = sum(member.cut_off for member in group.usable)
            self.ungraded[group.capability] += group.faults + Counter({CUT_OFF: cut_off})
        self._unusable(step, batch)
        for name, one in batch.shortages.items():
            self.short.setdefault(name, Short(step)).add(step, one)
        self._shortages(step, batch.shortages)

    def _shortages(self, step: int, now: Mapping[str, Shortage]) -> None:
        """Say of each capability once that it falls short, by how much and what to change."""
        for name in sorted(now.keys() - self.told):
            if self.short[name].steps >= SETTLED or step == self.last:
                self.told.add(name)
                text = self.short[name].text(name, now[name])
                self.note(f"{text}. {self._remedy(name, now[name])}")

    def _remedy(self, name: str, now: Shortage) -> str:
        ungraded, rollouts = self.ungraded[name], self.rollouts[name]
        if reason := main_fault(ungraded, rollouts):
            said = f"Of {rollouts} rollouts {ungraded.total()} could not be graded"
            return f"{said} ({counted(ungraded)}): {remedy_of(reason)}"
        several = len({prompt.capability for prompt in self.prompts.values()}) > 1
        share = (
            "give it a smaller share (curriculum.shares)" if several else "lower prompts_per_step"
        )
        if now.prompts < now.places:
            return f"Add prompts of it, or {share}"
        if now.rate > 0.5:
            return f"Add harder prompts of it, or {share}"
        return f"Add easier prompts of it, lower drop_easiest, train SFT longer, or {share}"

    def _unusable(self, step: int, batch: StepBatch) -> None:
        for reason, what in UNUSABLE.items():
            prompts = [self.prompts[id] for id, why in batch.unusable.items() if why == reason]
            if prompts:
                named = ", ".join(prompt.named for prompt in prompts[:NAMED])
                more = f" and {len(prompts) - NAMED} more" if len(prompts) > NAMED else ""
                said = what.format(limit=self.limit)
                self.note(
                    f"step {step}: {said}: {named}{more}. Never rolled out; {remedy_of(reason)}"
                )

"""Notes about a step, each given once: prompts that cannot be rolled out, and capabilities with too
few useful prompts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG, counted, main_fault, remedy_of
from prompts.schema import Prompt
from stages.rl.collector import StepBatch

NAMED = 3
"""Prompts of one step that are named; the others are counted."""
UNUSABLE = {
    TOO_LONG: "longer than {limit} tokens (rollouts.max_model_len less max_tokens)",
    NOT_ENCODED: "cannot be encoded",
}
"""The wording for prompts that cannot be rolled out, by reason."""


class Notes:
    """Remembers the notes given, and by capability the rollouts and those that could not be graded,
    since the process started."""

    def __init__(
        self, prompts: Mapping[str, Prompt], limit: int, note: Callable[[str], None]
    ) -> None:
        self.prompts, self.limit, self.note = prompts, limit, note
        self.short = set[str]()
        self.rollouts = Counter[str]()
        self.ungraded: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def step(self, step: int, batch: StepBatch) -> None:
        """Give the notes that are new at a step."""
        for group in batch.rolled_out:
            self.rollouts[group.capability] += len(group.members)
            cut_off = sum(member.cut_off for member in group.usable)
            self.ungraded[group.capability] += group.faults + Counter({CUT_OFF: cut_off})
        self._unusable(step, batch)
        new = {name for name, places in batch.quota_shift.items() if places < 0} - self.short
        self.short |= new
        for reason, names in self._by_reason(new).items():
            few = (
                f"step {step}: too few useful prompts of {', '.join(names)}; others take their"
                " places"
            )
            self.note(f"{few}{reason}")

    def _by_reason(self, names: set[str]) -> dict[str, list[str]]:
        """The capabilities by reason: an empty one where their answers could be graded."""
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            ungraded, rollouts = self.ungraded[name], self.rollouts[name]
            reason = main_fault(ungraded, rollouts)
            said = (
                f". Of {rollouts} rollouts {ungraded.total()} could not be graded"
                f" ({counted(ungraded)})"
            )
            by_reason[f"{said}: {remedy_of(reason)}" if reason else ""].append(name)
        return by_reason

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

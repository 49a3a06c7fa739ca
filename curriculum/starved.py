"""Why a curriculum finds nothing to learn from: what could not be graded is looked at before
prompts are blamed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import RunFailed
from common.faults import counted, main_fault, remedy_of
from curriculum.pool import Pool
from curriculum.requests import RolloutResult


@dataclass
class Dry:
    """Steps in a row without a group to learn from, and what came of their rollouts."""

    steps: int = 0
    rollouts: int = 0
    ungraded: Counter[str] = field(default_factory=Counter)
    """Rollouts that no verifier called right or wrong, by reason."""

    def book(self, outcomes: Iterable[RolloutResult]) -> None:
        for seen in outcomes:
            self.rollouts += seen.passes + seen.fails + sum(seen.faults.values())
            self.ungraded.update(seen.ungraded)

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "rollouts": self.rollouts,
            "ungraded": dict(sorted(self.ungraded.items())),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Dry":
        return cls(value["steps"], value["rollouts"], Counter(value["ungraded"]))


def starved(dry: Dry, pool: Pool, before: int, version: int) -> RunFailed:
    """The end of a stage after so many dry steps, with `before` groups that it learnt from."""
    lost = dry.ungraded.total()
    steps = f"{dry.steps} steps in a row without a group that has passes and fails (step {version})"
    steps += f", after {before} groups that had both" if before else ""
    broken = (
        "lower learning_rate: training may have broken the policy (see reward in metrics.jsonl)"
    )
    if reason := main_fault(dry.ungraded, dry.rollouts):
        return RunFailed(
            f"{lost} of {dry.rollouts} rollouts could not be graded ({counted(dry.ungraded)}):"
            f" {steps}",
            remedy_of(reason) + (f"; or {broken}" if before else ""),
        )
    a, b = pool.posterior(np.arange(len(pool.ids)), version)
    solved, resting = int((a > b).sum()), int(pool.resting.sum())
    hopeless = len(a) - solved
    counts = f"{solved} prompts look solved and {hopeless} out of reach, {resting} of them rest"
    counts += (
        f"; {lost} of {dry.rollouts} rollouts could not be graded ({counted(dry.ungraded)})"
        if lost
        else ""
    )
    if solved > hopeless:
        return RunFailed(
            f"no useful prompt is left: {counts}; {steps}",
            "the pool is learnt: end RL here (fewer `steps`), or add harder prompts",
        )
    if before:
        return RunFailed(
            f"no prompt is solvable any more: {counts}; {steps}", f"{broken}; or add easier prompts"
        )
    return RunFailed(
        f"no prompt is solvable: {counts}; {steps}",
        "look at the answers in groups.jsonl: if they are right in another form, mend the verifier"
        " or the wording of the prompts; else add easier prompts, train SFT longer, or raise"
        " group_size (curriculum.largest_group for hard ones alone)",
    )

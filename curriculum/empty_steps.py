"""Why a curriculum finds nothing to learn from. Rollouts that could not be graded are considered
before the prompts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import RunFailed
from common.faults import counted, main_fault, remedy_of
from curriculum.pool import Pool
from curriculum.requests import RolloutResult

_BROKEN_POLICY = (
    "lower learning_rate: training may have broken the policy (see reward in metrics.jsonl)"
)


@dataclass
class EmptySteps:
    """Steps in a row without a mixed group, and their rollouts."""

    steps: int = 0
    rollouts: int = 0
    ungraded: Counter[str] = field(default_factory=Counter)
    """Rollouts that no verifier called right or wrong, by reason."""

    def record(self, results: Iterable[RolloutResult]) -> None:
        for result in results:
            self.rollouts += result.passes + result.fails + sum(result.faults.values())
            self.ungraded.update(result.ungraded)

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "rollouts": self.rollouts,
            "ungraded": dict(sorted(self.ungraded.items())),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "EmptySteps":
        return cls(value["steps"], value["rollouts"], Counter(value["ungraded"]))


def nothing_to_learn(empty: EmptySteps, pool: Pool, trained: int, version: int) -> RunFailed:
    """The error that ends a stage after too many empty steps; `trained` groups came before."""
    steps = f"{empty.steps} steps in a row without a group whose rewards differ (step {version})"
    steps += f", after {trained} groups whose rewards did" if trained else ""
    if reason := main_fault(empty.ungraded, empty.rollouts):
        return RunFailed(
            f"{_ungraded(empty)}: {steps}",
            remedy_of(reason) + (f"; or {_BROKEN_POLICY}" if trained else ""),
        )
    a, b = pool.posterior(np.arange(len(pool.ids)), version)
    solved = int((a > b).sum())
    too_hard = len(a) - solved
    details = (
        f"{solved} prompts look solved and {too_hard} too hard, {int(pool.retired.sum())} of them"
        " are retired"
    )
    details += f"; {_ungraded(empty)}" if empty.ungraded.total() else ""
    if solved > too_hard:
        return RunFailed(
            f"no useful prompt is left: {details}; {steps}",
            "the pool is solved: end RL here (fewer `steps`), or add harder prompts",
        )
    if trained:
        return RunFailed(
            f"no prompt is solvable any more: {details}; {steps}",
            f"{_BROKEN_POLICY}; or add easier prompts",
        )
    return RunFailed(
        f"no prompt is solvable: {details}; {steps}",
        "look at the answers in groups.jsonl: if they are right in another form, correct the"
        " verifier or the wording of the prompts; else add easier prompts, train SFT longer, or"
        " raise group_size (curriculum.largest_group for hard ones alone)",
    )


def _ungraded(empty: EmptySteps) -> str:
    return (
        f"{empty.ungraded.total()} of {empty.rollouts} rollouts could not be graded"
        f" ({counted(empty.ungraded)})"
    )

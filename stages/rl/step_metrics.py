"""The figures of an RL step, as they are logged."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from curriculum.ledger import Ledger
from models.packed import shared_rows
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from training.divergence import FAULTS

GAP, RATIO, SQUARED = "importance/gap", "importance/ratio", "importance/squared"
"""Means over the tokens of older rollouts: of the absolute log-probability gap in nats, of the
importance ratio and of its square."""
EFFECTIVE = "importance/effective_share"
"""Effective sample size (Kish 1965) as a share of the tokens: (sum of ratios)^2 / (tokens times the
sum of squared ratios). 1 is on-policy."""
Gather = Callable[[Any], Sequence[Any]]
"""Gives the values of all processes, from this one's."""


class StepMetrics:
    """Figures of the present optimiser step, until they are logged."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._sums: dict[str, tuple[float, int]] = {}
        self._largest: dict[str, float] = {}

    def update(self, values: Mapping[str, float]) -> None:
        """Add figures of the whole step."""
        self.values |= values

    def add_mean(self, name: str, mean: float, tokens: int) -> None:
        """Add the mean of one pass over its tokens; what is logged is the mean over the tokens of
        all passes of all processes."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + mean * tokens, count + tokens

    def add_largest(self, name: str, value: float) -> None:
        """Add the largest value of one pass; what is logged is the largest of all passes of all
        processes."""
        self._largest[name] = max(self._largest.get(name, value), value)

    def take(self, gather: Gather = lambda value: [value]) -> dict[str, float]:
        """The figures of the step, which are then forgotten. `gather` gives the values of all
        processes."""
        sums: dict[str, tuple[float, int]] = {}
        largest: dict[str, float] = {}
        for their_sums, their_largest in gather((self._sums, self._largest)):
            for name, (total, count) in their_sums.items():
                before = sums.get(name, (0.0, 0))
                sums[name] = before[0] + total, before[1] + count
            for name, value in their_largest.items():
                largest[name] = max(largest.get(name, value), value)
        means = {name: total / count for name, (total, count) in sums.items()}
        if squared := means.pop(SQUARED, None):
            means[EFFECTIVE] = means[RATIO] ** 2 / squared
        values = {**self.values, **means, **largest}
        self.values, self._sums, self._largest = {}, {}, {}
        return values


GENERATED = "tokens_generated_total"


class TokenTotals:
    """Completion tokens generated, those of evaluations included, prompt and completion tokens
    trained on, and tokens of judges' replies, since the stage began; counted on from the last line
    of `metrics.jsonl`."""

    def __init__(self, rows: Sequence[Mapping[str, float]]) -> None:
        last = rows[-1] if rows else {}
        self.generated: float = last.get(GENERATED, 0)
        self.trained: float = last.get("tokens_trained_total", 0)
        self.judged: float = last.get("judge_tokens_total", 0)

    def add(self, batch: StepBatch) -> dict[str, float]:
        """Count a step; the totals with it."""
        self.generated += batch.tokens
        self.trained += trained_tokens(batch)
        self.judged += batch.judge_tokens
        totals = {GENERATED: self.generated, "tokens_trained_total": self.trained}
        return totals | ({"judge_tokens_total": self.judged} if self.judged else {})

    def evaluated(self, tokens: int) -> dict[str, float]:
        """Count the tokens of an evaluation; the total with them."""
        self.generated += tokens
        return {GENERATED: self.generated}


def trained_tokens(batch: StepBatch) -> int:
    """Prompt and completion tokens that go through the model: a shared prompt counts once per
    row."""
    rows = (
        row
        for parts in batch.passes
        for part in parts
        for row in shared_rows(part.prompt_ids, part.completions)
    )
    return sum(len(prompt) + sum(map(len, completions)) for prompt, completions in rows)


def batch_metrics(batch: StepBatch, ledger: Ledger) -> dict[str, float]:
    """What a step's rollouts were, and the state of the ledger after them."""
    groups = [group for group in batch.rolled_out if not group.probe]
    usable = [member for group in groups for member in group.usable]
    graded = len(usable)
    faults = sum((group.faults for group in batch.rolled_out), Counter(batch.unusable.values()))
    cut_off = sum(member.cut_off for group in batch.rolled_out for member in group.members)
    rollouts = sum(len(group.members) for group in batch.rolled_out)
    values = {
        "reward": sum(member.reward for member in usable) / graded if graded else 0.0,
        "pass_rate": sum(group.passes for group in groups) / graded if graded else 0.0,
        **_by_part(usable),
        **_by_check(groups),
        "mixed_share": len(batch.trained) / len(groups) if groups else 0.0,
        "groups": len(groups),
        "rollouts": rollouts,
        "cut_off_share": cut_off / rollouts if rollouts else 0.0,
        "tokens_generated": batch.tokens,
        **({"judge_tokens": batch.judge_tokens} if batch.judge_tokens else {}),
        "probed": len(batch.rolled_out) - len(groups),
    }
    values |= {f"{FAULTS}{reason}": count for reason, count in sorted(faults.items()) if count}
    return {**values, **{f"ledger/{state}": count for state, count in ledger.counts().items()}}


def _by_part(members: Sequence[Member]) -> dict[str, float]:
    """The mean of each part of the reward, over the rollouts that have it."""
    labels = dict.fromkeys(label for member in members for label in member.parts)
    return {
        f"reward/{label}": fmean(m.parts[label] for m in members if label in m.parts)
        for label in labels
    }


def _by_check(groups: Sequence[Group]) -> dict[str, float]:
    """The mean of each sub-check over the rollouts that have it. One that a single prompt has, as
    an item of its own rubric, is no figure to follow from step to step."""
    found: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)
    for group in groups:
        for member in group.usable:
            for name, reward in member.checks.items():
                found[name].setdefault(group.prompt_id, []).append(reward)
    return {
        f"check/{name}": fmean(reward for own in by_prompt.values() for reward in own)
        for name, by_prompt in found.items()
        if len(by_prompt) > 1
    }

"""The figures of an RL step, as they are logged."""

from collections import Counter
from collections.abc import Mapping, Sequence

from curriculum.ledger import Ledger
from models.packed import shared_rows
from stages.rl.collector import StepBatch
from training.divergence import FAULTS


class StepMetrics:
    """Figures of the present optimiser step, until they are logged."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._sums: dict[str, tuple[float, int]] = {}

    def update(self, values: Mapping[str, float]) -> None:
        """Add figures of the whole step."""
        self.values |= values

    def add_mean(self, name: str, mean: float, tokens: int) -> None:
        """Add the mean of one pass over its tokens; what is logged is the mean over the tokens of
        all passes."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + mean * tokens, count + tokens
        self.values[name] = self._sums[name][0] / self._sums[name][1]

    def add_largest(self, name: str, value: float) -> None:
        """Add the largest value of one pass; what is logged is the largest of all passes."""
        self.values[name] = max(self.values.get(name, value), value)

    def take(self) -> dict[str, float]:
        """The figures of the step, which are then forgotten."""
        values, self.values, self._sums = self.values, {}, {}
        return values


class TokenTotals:
    """Completion tokens generated, and prompt and completion tokens trained on, since the stage
    began; counted on from the last line of `metrics.jsonl`."""

    def __init__(self, rows: Sequence[Mapping[str, float]]) -> None:
        last = rows[-1] if rows else {}
        self.generated: float = last.get("tokens_generated_total", 0)
        self.trained: float = last.get("tokens_trained_total", 0)

    def add(self, batch: StepBatch) -> dict[str, float]:
        """Count a step; the totals with it."""
        self.generated += batch.tokens
        self.trained += trained_tokens(batch)
        return {"tokens_generated_total": self.generated, "tokens_trained_total": self.trained}


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
    graded = sum(len(group.usable) for group in groups)
    faults = sum((group.faults for group in batch.rolled_out), Counter(batch.unusable.values()))
    cut_off = sum(member.cut_off for group in batch.rolled_out for member in group.members)
    rollouts = sum(len(group.members) for group in batch.rolled_out)
    values = {
        "reward": sum(group.passes for group in groups) / graded if graded else 0.0,
        "mixed_share": len(batch.trained) / len(groups) if groups else 0.0,
        "groups": len(groups),
        "rollouts": rollouts,
        "cut_off_share": cut_off / rollouts if rollouts else 0.0,
        "tokens_generated": batch.tokens,
        "probed": len(batch.rolled_out) - len(groups),
    }
    values |= {f"{FAULTS}{reason}": count for reason, count in sorted(faults.items()) if count}
    return {**values, **{f"ledger/{state}": count for state, count in ledger.counts().items()}}

"""Signs that a training diverged, read from the figures of each step: the stage stops with a
message.

The limits are the recipe's `runtime.divergence`. All history is in `metrics.jsonl`, so a resumed
stage knows it too."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median

from common.divergence import DivergenceLimits
from common.faults import CUT_OFF, counted, main_fault, remedy_of

StepMetrics = Mapping[str, float]
FIRST = 5
"""Steps that later ones are compared with."""
FAULTS = "faults/"
"""Prefix of the names of the faults' counts."""
LOW = 3.0
"""A first loss below this, in nats, is replaced by it: the few texts of one step may be easy."""


def divergence(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    """What is wrong after the last of a stage's steps, and the remedy; None while all is well."""
    signs = (not_a_number, exploding, diverging, collapsed, too_old, nothing_to_learn)
    for sign in (*signs, without_gradient):
        if problem := sign(rows, limits):
            return problem
    return None


def not_a_number(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    bad = [name for name, value in rows[-1].items() if not math.isfinite(value)]
    return (f"{', '.join(bad)} is not finite", "lower learning_rate") if bad else None


def exploding(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    """The gradient's norm before clipping, against the median of the steps that had one."""
    before, last = rows[: -limits.patience], rows[-limits.patience :]
    norms = [row["grad_norm"] for row in before if row.get("grad_norm")]
    if len(norms) < FIRST:
        return None
    usual = median(norms)
    if not _all(last, lambda row: row.get("grad_norm", 0.0) > limits.gradient_factor * usual):
        return None
    return (
        f"grad_norm is {last[-1]['grad_norm']:.3g}, and was {usual:.3g} before",
        "lower learning_rate",
    )


def diverging(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    """The loss against that of the first step. Not in RL, where the size of the loss depends on the
    advantages and means nothing."""
    first, last = rows[0].get("loss", math.inf), rows[-limits.patience :]
    limit = limits.loss_factor * max(first, LOW)
    if not _all(last, lambda row: "reward" not in row and row.get("loss", 0.0) > limit):
        return None
    return (
        f"the loss is {last[-1]['loss']:.3g}, and was {first:.3g} in the first step",
        "lower learning_rate",
    )


def collapsed(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    """In RL only: the entropy of the rollouts' tokens, in nats, against the first steps that
    trained."""
    values = [row["entropy"] for row in rows if "entropy" in row and "reward" in row]
    if len(values) < FIRST + limits.patience:
        return None
    first, last = fmean(values[:FIRST]), values[-limits.patience :]
    if max(last) >= limits.entropy_share * first:
        return None
    remedy = (
        "lower learning_rate, or go on from an earlier checkpoint with a lower one: the rollouts"
        " are all alike"
    )
    return f"the entropy is {last[-1]:.3g} nats, and was {first:.3g} in the first steps", remedy


def too_old(rows: Sequence[StepMetrics], limits: DivergenceLimits) -> tuple[str, str] | None:
    """In RL only: the effective sample size of rollouts that an older policy sampled, as a share of
    their tokens."""
    last, name = rows[-limits.patience :], "importance/effective_share"
    if not _all(last, lambda row: row.get(name, 1.0) < limits.effective_share):
        return None
    return (
        f"the effective sample size is {last[-1][name]:.2g} of the completion tokens: the policy"
        " moves too far in one step for rollouts of the version before",
        "lower learning_rate, or set ahead: 0",
    )


def nothing_to_learn(
    rows: Sequence[StepMetrics], limits: DivergenceLimits
) -> tuple[str, str] | None:
    last = rows[-limits.still_steps :]
    if len(last) < limits.still_steps or not _all(
        last, lambda row: row.get("mixed_share", 1.0) == 0
    ):
        return None
    ungraded, rollouts = _ungraded(last)
    if reason := main_fault(ungraded, rollouts):
        lost = (
            f"{ungraded.total()} of {rollouts} rollouts could not be graded ({counted(ungraded)})"
        )
        return f"{lost} in {len(last)} steps: nothing can be learnt from them", remedy_of(reason)
    rewards = {row["reward"] for row in last}
    said = f"always {rewards.pop():g}" if len(rewards) == 1 else "the same within every group"
    remedy = (
        "look at the verifier: groups.jsonl has what it graded; or take easier or harder prompts"
    )
    return f"the reward was {said} for {len(last)} steps: nothing can be learnt from it", remedy


def _ungraded(rows: Sequence[StepMetrics]) -> tuple[Counter[str], int]:
    """Rollouts of some steps that could not be graded, by reason, with those that `cut_off: zero`
    counts as wrong; and the number of all rollouts."""
    ungraded: Counter[str] = Counter()
    for row in rows:
        faults = {
            name.removeprefix(FAULTS): int(n) for name, n in row.items() if name.startswith(FAULTS)
        }
        cut_off = round(row.get("cut_off_share", 0.0) * row.get("rollouts", 0))
        ungraded.update(faults | {CUT_OFF: max(cut_off, faults.get(CUT_OFF, 0))})
    return ungraded, int(sum(row.get("rollouts", 0) for row in rows))


def without_gradient(
    rows: Sequence[StepMetrics], limits: DivergenceLimits
) -> tuple[str, str] | None:
    last = rows[-limits.still_steps :]
    if len(last) < limits.still_steps or not _all(last, lambda row: row.get("grad_norm") == 0):
        return None
    return (
        f"every gradient was zero for {len(last)} steps: nothing moves",
        "look at what `train` leaves to be trained",
    )


def _all(rows: Sequence[StepMetrics], holds: Callable[[StepMetrics], bool]) -> bool:
    return bool(rows) and all(holds(row) for row in rows)

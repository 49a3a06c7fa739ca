"""Log-probabilities of the engine against those of the trainer, token by token.

Of an engine in float32 they prove that rollouts come from the weights that train: its gap is below
1e-6 nats, and old weights are far above. An engine in bfloat16 drifts from the trainer by its
rounding, which is more than an optimiser step. There `held.py` proves the weights, and the drift
shows that the engine computes what the trainer does with them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from common.errors import RunFailed
from rollouts.interface import RolloutEngine, SeveralCopies

Rows = Sequence[Sequence[float]]
"""Log-probabilities of the tokens of each completion."""


@dataclass(frozen=True, slots=True)
class LogprobGap:
    """Difference between engine and trainer over tokens, in nats."""

    mean: float
    """Mean absolute difference."""
    largest: float
    """Largest absolute difference."""
    engine: float
    """Mean log-probability under the engine."""
    trainer: float
    """Mean log-probability under the trainer."""
    tokens: int
    """How many tokens were compared."""
    place: str = ""
    """Which of several servers was compared; empty for one engine."""
    ties_ruled_out: bool = False
    """Whether near ties of routers (`ties.py`) do not explain it."""


DRIFT_FACTOR = 8.0
"""How many times the drift of the first publication a later one may have."""


@dataclass
class Tolerance:
    """How far engine and trainer may differ: the one place that decides."""

    exact: bool
    """Whether the engine computes as the trainer does, up to the order of sums."""
    limit: float
    """Largest accepted mean absolute difference, in nats per token."""
    first: float | None = None
    """The drift of the first publication, which calibrates that of later ones; not read where the
    engine is exact."""

    def require(self, measured: LogprobGap, when: str) -> None:
        """RunFailed when a gap is past the tolerance."""
        if self.exact:
            require(measured, self.limit, when)
        else:
            limit, why = self._drift_limit()
            require_drift(measured, limit, why, when)

    def _drift_limit(self) -> tuple[float, str]:
        if self.first is None or DRIFT_FACTOR * self.first > self.limit:
            return self.limit, "drift_tolerance"
        return DRIFT_FACTOR * self.first, f"{DRIFT_FACTOR:g} times that of the first publication"


def gap(engine: Tensor, trainer: Tensor) -> LogprobGap:
    """The gap between two flat tensors of log-probabilities of the same tokens."""
    difference = (engine - trainer).abs()
    return LogprobGap(
        difference.mean().item(),
        difference.max().item(),
        engine.mean().item(),
        trainer.mean().item(),
        engine.numel(),
    )


def require(measured: LogprobGap, tolerance: float, when: str) -> None:
    """RunFailed when the mean gap is past the tolerance or not a number; `when` says after what."""
    if not measured.mean <= tolerance:
        raise RunFailed(
            f"parity check failed {when}{measured.place}: mean absolute log-probability gap"
            f" {measured.mean:.3g} over {measured.tokens} tokens is past the tolerance"
            f" {tolerance:g} ({_means(measured)})",
            "the rollouts do not come from the weights that train"
            + ("" if measured.ties_ruled_out else ", or a router was nearly tied between experts")
            + ": report this with the stage's log",
        )


def require_drift(measured: LogprobGap, limit: float, why: str, when: str) -> None:
    """RunFailed when an engine in bfloat16 drifts from the trainer by more than `limit`, or by what
    is not a number; `why` names where the limit comes from."""
    if not measured.mean <= limit:
        raise RunFailed(
            f"drift check failed {when}{measured.place}: mean absolute log-probability gap"
            f" {measured.mean:.3g} over {measured.tokens} tokens is past {limit:.3g}, {why}"
            f" ({_means(measured)})",
            "the engine has the weights that train and computes something else with them than the"
            " trainer: use `rollouts: {dtype: float32}`, or report this with the stage's log",
        )


def _means(measured: LogprobGap) -> str:
    return (
        f"engine mean {measured.engine:.6f}, trainer mean {measured.trainer:.6f}, largest gap"
        f" {measured.largest:.3g}"
    )


@torch.no_grad()
def trainer_logprobs(
    policy: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> Tensor:
    """Log-probability of every completion token (token ids) after its prompt under the trainer's
    policy: flat, float32, on the CPU. One forward pass a sequence."""
    was_training = policy.training
    policy.eval()
    rows = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion], device=next(policy.parameters()).device)
        logits = policy(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        rows.append(logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0])
    policy.train(was_training)
    return torch.cat(rows).cpu()


def check(
    engine: RolloutEngine,
    policy: nn.Module,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
) -> LogprobGap:
    """The gap between engine and policy on given sequences (token ids): the largest one where
    several copies of the policy answer."""
    return compare(engine, trainer_logprobs(policy, prompts, completions), prompts, completions)


def compare(
    engine: RolloutEngine,
    trainer: Tensor,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
) -> LogprobGap:
    """As `check`, with the trainer's log-probabilities given, flat."""
    return largest(engine, prompts, completions, lambda rows: gap(_flat(rows), trainer))


def largest(
    engine: RolloutEngine,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    measured: Callable[[Rows], LogprobGap],
) -> LogprobGap:
    """The gap that `measured` finds in an engine's log-probabilities of given sequences (token
    ids): the largest one where several copies of the policy answer, one that is not a number before
    all others."""
    if not isinstance(engine, SeveralCopies):
        return measured(engine.score(prompts, completions))
    gaps = [
        replace(measured(rows), place=f" on server {number}")
        for number, rows in enumerate(engine.score_each(prompts, completions))
    ]
    return max(gaps, key=lambda one: math.inf if math.isnan(one.mean) else one.mean)


def _flat(rows: Rows) -> Tensor:
    return torch.tensor([value for row in rows for value in row])

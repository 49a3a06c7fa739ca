"""The curriculum: requests rollouts, records them in the ledger, and selects what to train on.
Works with any trainer.

    curriculum = Curriculum(Posterior(), ledger, groups=16, group_size=8, seed=0)
    step = curriculum.step(version)
    requests = next(step)
    while True:
        try:
            requests = step.send([roll_out(request) for request in requests])  # RolloutResults
        except StopIteration as end:
            train(end.value)                                                   # a StepSelection
            break

All its state is in the ledger, so a copy of the ledger's file is enough to resume."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from common.errors import BadInput
from common.faults import UNFIT
from common.seeds import derive
from curriculum.accounting import GroupCounts, RolloutAccounting, difficulty_shares
from curriculum.candidates import Weigh
from curriculum.config import CurriculumConfig, Gaussian, Posterior
from curriculum.empty_steps import EmptySteps, nothing_to_learn
from curriculum.kinds import KINDS
from curriculum.ledger import Ledger
from curriculum.pool import Pool
from curriculum.posterior import Prediction
from curriculum.records import Observation
from curriculum.requests import RolloutRequest, RolloutResult, StepSelection
from curriculum.stage_start import (
    ACCOUNTING,
    EMPTY_STEPS,
    FIRST_VERSION,
    START,
    raised_band,
    remember_start,
)
from curriculum.step import Step

StepGenerator = Generator[list[RolloutRequest], Sequence[RolloutResult], StepSelection]


class Curriculum:
    """Selects `groups` prompts per step for groups of `group_size` rollouts."""

    def __init__(
        self,
        config: CurriculumConfig,
        ledger: Ledger,
        *,
        groups: int,
        group_size: int,
        seed: int,
        steps: int | None = None,
    ) -> None:
        """`steps` is the number of steps to come, which `gaussian` alone needs to know."""
        if steps is None and isinstance(config, Gaussian):
            raise ValueError("the curriculum `gaussian` needs the number of steps")
        self.config, self.ledger, self.steps = config, ledger, steps
        self.groups, self.group_size, self.seed = groups, group_size, seed
        self.pool = Pool(
            ledger, decay=config.decay, prior=getattr(config, "prior", "difficulty_groups")
        )
        if unknown := sorted(set(config.shares) - set(self.pool.capabilities)):
            have = ", ".join(self.pool.capabilities)
            raise BadInput(
                f"curriculum.shares names {', '.join(unknown)}",
                f"the prompts' capabilities are: {have}",
            )
        sums = ledger.remembered(ACCOUNTING, None)
        self.accounting = RolloutAccounting() if sums is None else RolloutAccounting.from_json(sums)
        empty = ledger.remembered(EMPTY_STEPS, None)
        self.empty = EmptySteps() if empty is None else EmptySteps.from_json(empty)

    def step(self, version: int, number: int | None = None) -> StepGenerator:
        """A step whose rollouts policy `version` samples: yields lists of requests, expects their
        results, returns what to train on.

        `number` tells the draws of steps of one version apart; not given, it is the version.

        Raises RunFailed after `empty_steps` steps in a row without a mixed group, one whose rewards
        have a spread.
        """
        pool_rate = self._mean(lambda known: known.mean, version)
        remember_start(self.ledger, self.pool, version, pool_rate)
        step = Step(
            self.config, self.ledger, self.pool,
            version=version, groups=self.groups, group_size=self.group_size,
            band=raised_band(self.config, self.ledger, pool_rate),
            progress=self._progress(version if number is None else number),
            seed=derive(self.seed, "step", version if number is None else number),
        )  # fmt: skip
        rates: list[float] = []  # estimated pass rates of the prompts drawn
        kind = KINDS[self.config.kind](step)
        try:
            requests = next(kind)
            while True:
                predicted = self.pool.posteriors([request.id for request in requests], version)
                rates += [
                    beta.mean
                    for beta, request in zip(predicted, requests, strict=True)
                    if request.purpose in ("group", "pilot")
                ]
                results = yield requests
                self._record(step, requests, predicted, results)
                requests = next(kind)
        except StopIteration as end:
            counted: list[str] = end.value
        return self._close(step, counted, pool_rate, rates)

    def _progress(self, number: int) -> float:
        """How far a step lies between the stage's first (0) and last one (1)."""
        done = number - self.ledger.remembered(FIRST_VERSION, 0)
        return min(done / max((self.steps or 1) - 1, 1), 1.0)

    def _record(
        self,
        step: Step,
        requests: Sequence[RolloutRequest],
        predicted: Sequence[Prediction],
        results: Sequence[RolloutResult],
    ) -> None:
        """Record the results in the ledger, the pool, the step's counts and the accounting; retire
        prompts that cannot be rolled out."""
        rolled_out = list(zip(requests, predicted, results, strict=True))
        observations = [self._observation(step, *one) for one in rolled_out]
        for one in rolled_out:
            self._count(step, *one)
        self.ledger.observe(observations, step.version, decay=self.config.decay)
        self.pool.refresh(request.id for request in requests)
        self.empty.record(results)
        unfit = {
            request.id for request, _, result in rolled_out if not UNFIT.isdisjoint(result.faults)
        }
        step.change_states(sorted(id for id in unfit if not step.is_retired(id)), [])

    def _observation(
        self, step: Step, request: RolloutRequest, predicted: Prediction, result: RolloutResult
    ) -> Observation:
        graded, surprise = result.passes + result.fails, None
        if self.pool.seen[self.pool.index.position[request.id]] >= 0 and graded:
            group = self.pool.group_estimate(request.id, step.version)
            surprise = result.passes / graded - predicted.mean + group.mean
        return Observation(
            request.id,
            result.passes,
            result.fails,
            result.faults,
            surprise,
            continuation=request.purpose == "rest",
            rewards=result.rewards,
        )

    def _count(
        self, step: Step, request: RolloutRequest, predicted: Prediction, result: RolloutResult
    ) -> None:
        """Add a result to its group's counts, and its prediction to the calibration."""
        if request.purpose == "probe":
            group = step.probe_counts[request.id] = GroupCounts()
            group.add(result)
            self.accounting.record(group, "probed")
            probability = predicted.mixed(request.rollouts)
        else:
            group = step.counts.setdefault(request.id, GroupCounts())
            probability = group.mixed_probability(predicted, request.rollouts)
            group.add(result)
            group.complete = request.purpose != "pilot"
        if probability < 1 and not result.faults:
            after_pilot = request.purpose == "rest"
            accounting = self.accounting
            calibration = accounting.committed if after_pilot else accounting.predicted
            calibration.record(probability, group.mixed)

    def _close(
        self, step: Step, counted: list[str], pool_rate: float, rates: list[float]
    ) -> StepSelection:
        train = [id for id in counted if step.counts[id].mixed]
        for id, group in step.counts.items():
            self.accounting.record(group, group.outcome(id in train))
        self._record_saved(step)
        short = step.shortages(train)
        self.empty = EmptySteps() if train else replace(self.empty, steps=self.empty.steps + 1)
        metrics = self.accounting.metrics() | self._metrics(step, train, pool_rate, rates)
        metrics |= {f"short/{name}": float(one.places - one.trained) for name, one in short.items()}
        with self.ledger.transaction():
            self.ledger.trained(train, decay=self.config.trained_decay)
            self.ledger.remember(ACCOUNTING, self.accounting.to_json())
            self.ledger.remember(EMPTY_STEPS, self.empty.to_json())
        self.pool.refresh(train)
        if self.empty.steps >= self.config.empty_steps:
            trained = self.accounting.groups["trained"]
            raise nothing_to_learn(self.empty, self.pool, trained, step.version)
        return StepSelection(train, counted, metrics, step.quota_shift, short)

    def _record_saved(self, step: Step) -> None:
        at_random = self._mean(lambda known: known.mixed(self.group_size), step.version)
        spent = [*step.counts.values(), *step.probe_counts.values()]
        rollouts = sum(group.rollouts for group in spent)
        tokens = sum(group.tokens for group in spent)
        self.accounting.record_saved(
            len(step.mixed()), rollouts, tokens, at_random, self.group_size
        )

    def _metrics(
        self, step: Step, train: list[str], pool_rate: float, rates: list[float]
    ) -> dict[str, float]:
        metrics = {"pool_rate": pool_rate, "drawn_rate": fmean(rates) if rates else 0.0}
        start = self.ledger.remembered(START, {}).get("difficulty_groups")
        if start and train:
            # How hard the prompts trained on now were for the policy that RL began with.
            index = self.pool.index
            groups = index.difficulty_group[index.positions(train)].tolist()
            metrics["start_difficulty"] = 1 - fmean(start[str(group_id)] for group_id in groups)
        if isinstance(self.config, Posterior):
            metrics |= {"band_low": step.band[0], "band_high": step.band[1]}
        shifts = {f"quota_shift/{name}": float(n) for name, n in step.quota_shift.items()}
        states = {"retired": step.retired, "reactivated": step.reactivated}
        return metrics | step.figures | difficulty_shares(rates) | shifts | states

    def _mean(self, value: Weigh, version: int) -> float:
        """The mean of a function of the posterior over the whole pool."""
        everyone = np.ones(len(self.pool.ids), dtype=np.bool_)
        return self.pool.weighted(everyone, value, version).mean_weight

"""The curriculum: asks for rollouts, books them in the ledger, and says what to train on. Works
with any trainer.

    curriculum = Curriculum(Posterior(), ledger, groups=16, group_size=8, seed=0)
    step = curriculum.step(version)
    asks = next(step)
    while True:
        try:
            asks = step.send([roll(ask) for ask in asks])      # an Outcome an ask
        except StopIteration as end:
            train(end.value)                                   # a Chosen
            break

Everything it remembers is in the ledger, so a copy of the ledger's file is all that resuming needs.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from common.errors import BadInput
from common.faults import UNFIT
from common.seeds import derive
from curriculum.accounting import GroupCounts, RolloutAccounting, difficulty_shares
from curriculum.config import CurriculumConfig, Posterior
from curriculum.kinds import KINDS
from curriculum.ledger import Ledger
from curriculum.pool import Pool, Weigh
from curriculum.posterior import Beta, mixed
from curriculum.records import Observation
from curriculum.requests import RolloutRequest, RolloutResult, StepSelection
from curriculum.starved import Dry, starved
from curriculum.step import Step

Requesting = Generator[list[RolloutRequest], Sequence[RolloutResult], StepSelection]
FIRST_VERSION = "first_version"
"""Under this name: the version of the policy that the stage began with; 0 if nothing is there."""
START = "start"
"""Under this name: the pass rates believed at step SETTLED, of the pool and by cell."""
SETTLED = 10
"""The step from which on the pool's pass rates are taken for known."""
DRY = "dry"
"""Under this name: the steps in a row without a group to learn from."""


def begin_stage(ledger: Ledger) -> None:
    """Begin a stage on what another one learnt: its sums go, and the policy's versions count on
    from its last.

    What had no room for an answer there comes back: it may have room here. A ledger without
    rollouts, a judge's, stays as it is."""
    seen = [
        version
        for row in ledger.columns("seen_version", "state_version")
        for version in row
        if version is not None
    ]
    if seen:
        with ledger.transaction():
            ledger.remember("account", None)
            ledger.remember(DRY, None)
            ledger.remember(FIRST_VERSION, max(seen) + 1)
            rows = ledger.columns("id", "state", "passes", "fails")
            unfit = [
                id for id, state, passes, fails in rows if state == "retired" and not passes + fails
            ]
            ledger.recall(unfit, max(seen) + 1)


class Curriculum:
    """Chooses `groups` prompts a step for groups of `group_size` rollouts."""

    def __init__(
        self, config: CurriculumConfig, ledger: Ledger, *, groups: int, group_size: int, seed: int
    ) -> None:
        self.config, self.ledger = config, ledger
        self.groups, self.group_size, self.seed = groups, group_size, seed
        self.pool = Pool(ledger, decay=config.decay, prior=getattr(config, "prior", "cells"))
        if unknown := sorted(set(config.shares) - set(self.pool.capabilities)):
            have = ", ".join(self.pool.capabilities)
            raise BadInput(
                f"curriculum.shares names {', '.join(unknown)}",
                f"the prompts' capabilities are: {have}",
            )
        kept = ledger.remembered("account", None)
        self.accounting = RolloutAccounting() if kept is None else RolloutAccounting.from_json(kept)
        dry = ledger.remembered(DRY, None)
        self.dry = Dry() if dry is None else Dry.from_json(dry)

    def step(self, version: int) -> Requesting:
        """A step of policy `version`: yields lists of asks, wants their outcomes, returns what to
        train on.

        Raises RunFailed after `empty_steps` steps in a row without a group to learn from.
        """
        pool_rate = self._mean(lambda a, b, age: a / (a + b), version)
        self._start(version, pool_rate)
        step = Step(
            self.config, self.ledger, self.pool,
            version=version, groups=self.groups, group_size=self.group_size,
            band=self._band(pool_rate), seed=derive(self.seed, "step", version),
        )  # fmt: skip
        rates: list[float] = []  # believed of what is drawn
        decide = KINDS[self.config.kind](step)
        try:
            requests = next(decide)
            while True:
                predicted = self.pool.believed([request.id for request in requests], version)
                drawn = [request.purpose in ("group", "pilot") for request in requests]
                rates += [beta.mean for beta, mine in zip(predicted, drawn, strict=True) if mine]
                outcomes = yield requests
                self._book(step, requests, predicted, outcomes)
                requests = next(decide)
        except StopIteration as end:
            counted: list[str] = end.value
        return self._close(step, counted, pool_rate, rates)

    def _book(
        self,
        step: Step,
        requests: Sequence[RolloutRequest],
        predicted: Sequence[Beta],
        outcomes: Sequence[RolloutResult],
    ) -> None:
        beliefs = self.pool.cell_beliefs(step.version)
        observations = []
        for request, beta, seen in zip(requests, predicted, outcomes, strict=True):
            place, graded = self.pool.place[request.id], seen.passes + seen.fails
            surprise = None
            if self.pool.seen[place] >= 0 and graded:
                surprise = (
                    seen.passes / graded
                    - beta.mean
                    + beliefs[int(self.pool.difficulty_group[place])].mean
                )
            more = request.purpose == "rest"
            observations.append(
                Observation(request.id, seen.passes, seen.fails, seen.faults, surprise, more)
            )
            if request.purpose == "probe":
                tally = GroupCounts(seen.passes, seen.fails, sum(seen.faults.values()), seen.tokens)
                step.probes[request.id] = tally
                self.accounting.book(tally, "probed")
                chance = beta.mixed(request.rollouts)
            else:
                tally = step.tallies.setdefault(request.id, GroupCounts())
                chance = tally.chance(beta, request.rollouts)
                tally.add(seen.passes, seen.fails, sum(seen.faults.values()), seen.tokens)
                tally.full = request.purpose != "pilot"
            if chance < 1 and not seen.faults:
                kind = self.accounting.committed if more else self.accounting.predicted
                kind.book(chance, tally.mixed)
        self.ledger.observe(observations, step.version, decay=self.config.decay)
        self.pool.refresh(request.id for request in requests)
        self.dry.book(outcomes)
        unfit = {
            request.id
            for request, seen in zip(requests, outcomes, strict=True)
            if not UNFIT.isdisjoint(seen.faults)
        }
        step.move(sorted(id for id in unfit if not step.rests(id)), [])

    def _close(
        self, step: Step, counted: list[str], pool_rate: float, rates: list[float]
    ) -> StepSelection:
        train = [id for id in counted if step.tallies[id].mixed]
        for id, tally in step.tallies.items():
            self.accounting.book(tally, tally.fate(id in train))
        at_random = self._mean(lambda a, b, age: mixed(a, b, self.group_size), step.version)
        spent = [*step.tallies.values(), *step.probes.values()]
        rollouts, tokens = (
            sum(tally.rollouts for tally in spent),
            sum(tally.tokens for tally in spent),
        )
        self.accounting.book_saved(len(step.mixed()), rollouts, tokens, at_random, self.group_size)
        self.dry = Dry() if train else replace(self.dry, steps=self.dry.steps + 1)
        metrics = self.accounting.metrics() | self._metrics(step, train, pool_rate, rates)
        with self.ledger.transaction():
            self.ledger.trained(train, decay=self.config.trained_decay)
            self.ledger.remember("account", self.accounting.to_json())
            self.ledger.remember(DRY, self.dry.to_json())
        self.pool.refresh(train)
        if self.dry.steps >= self.config.empty_steps:
            raise starved(self.dry, self.pool, self.accounting.groups["trained"], step.version)
        return StepSelection(train, counted, metrics, step.quota_shift)

    def _metrics(
        self, step: Step, train: list[str], pool_rate: float, rates: list[float]
    ) -> dict[str, float]:
        start = self.ledger.remembered(START, {}).get("cells")
        difficulty_groups = [str(self.pool.difficulty_group[self.pool.place[id]]) for id in train]
        metrics = {"pool_rate": pool_rate, "drawn_rate": fmean(rates) if rates else 0.0}
        if start and difficulty_groups:
            # How hard what is practised now was for the policy that RL began with.
            metrics["start_difficulty"] = 1 - fmean(
                start[difficulty_group] for difficulty_group in difficulty_groups
            )
        if isinstance(self.config, Posterior):
            metrics |= {"band_low": step.band[0], "band_high": step.band[1]}
        quota_shift = {f"moved/{name}": float(count) for name, count in step.quota_shift.items()}
        return (
            metrics
            | difficulty_shares(rates)
            | quota_shift
            | {"retired": step.retired, "recalled": step.recalled}
        )

    def _mean(self, value: Weigh, version: int) -> float:
        """The mean over the whole pool of a function of what is believed."""
        everyone = np.ones(len(self.pool.ids), dtype=np.bool_)
        return self.pool.weighed(everyone, value, version).mean_weight

    def _start(self, version: int, pool_rate: float) -> None:
        """Remember once how hard the pool was for the policy that training began with, when enough
        has been seen."""
        if version >= SETTLED and self.ledger.remembered(START, None) is None:
            difficulty_groups = {
                str(difficulty_group): belief.mean
                for difficulty_group, belief in self.pool.cell_beliefs(version).items()
            }
            self.ledger.remember(START, {"pool_rate": pool_rate, "cells": difficulty_groups})

    def _band(self, pool_rate: float) -> tuple[float, float]:
        """The band, moved to harder prompts in proportion to how much of the pool was solved since
        the start."""
        if not isinstance(self.config, Posterior):
            return 0.0, 1.0
        start = self.ledger.remembered(START, {"pool_rate": pool_rate})["pool_rate"]
        solved = min(max((pool_rate - start) / (1 - start), 0.0), 1.0)
        low, high = self.config.band
        down = self.config.raise_band * solved
        return max(low - down, 0.0), max(high - down, 0.0)

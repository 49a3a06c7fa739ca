"""RL's own evaluation within a step: publish, prove, ask the dev part, keep the best weights.

It comes after the optimiser and before the step is logged and saved. The next step publishes the
same weights again, which empties the engine's caches, and every rollout has a seed of its own: with
or without evaluations a stage trains on the same rollouts. One step ahead the rollouts of the next
step are waited for first, as nothing may sample while weights are published."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.stage import Inputs, StageContext
from evals.corners import graded_prompts
from stages.dev_part import HELD_OUT_INPUT
from stages.dev_prompts import dev_prompts, finite
from stages.rl.config import RlStage
from stages.rl.dev_scores import DevScores
from stages.rl.leader import Leader
from training import processes
from training.best import BestWeights
from training.publish import Probe, proof


class OwnEvaluation:
    """The evaluations of a stage; every process has one, process 0 also a leader and the scores."""

    def __init__(
        self,
        config: RlStage,
        context: StageContext,
        *,
        leader: Leader | None,
        scores: DevScores | None,
        start: Path | None,
    ) -> None:
        assert config.evaluate is not None
        self.config, self.settings, self.context = config, config.evaluate, context
        self.leader, self.scores = leader, scores
        self.best = BestWeights(context, start)

    def after_step(
        self,
        step: int,
        figures: dict[str, float],
        publish: Callable[[], Any],
        policy: Any,
        tokenizer: Any,
        probe: Probe,
    ) -> dict[str, float]:
        """Evaluate after optimiser step `step`, if it is due; the figures to log. `figures` are
        those of the step, `publish` gives the policy to the engine and proves it. All processes
        call it."""
        if self.scores is not None and "reward" in figures:
            self.scores.noted(step, figures["reward"])
        if not self.settings.due(step, self.config.steps):
            return {}
        if not processes.broadcast(self.context, finite(figures)):
            return {}
        began = time.perf_counter()
        if self.leader is not None:
            self.leader.rollouts.settle()
        publish()
        row = self.scores.evaluate(step) if self.scores is not None else None
        if processes.broadcast(self.context, self.settings.keep_best and bool(row and row["best"])):
            engine = self.leader.engine if self.leader else None
            self.best.keep(policy, tokenizer, proof(engine, policy, probe))
        return self._figures(row, time.perf_counter() - began)

    def _figures(self, row: dict[str, Any] | None, seconds: float) -> dict[str, float]:
        if row is None or self.leader is None:
            return {}
        score = {} if row["score"] is None else {"dev/score": row["score"]}
        totals = self.leader.recorder.totals.evaluated(row["tokens"])
        return {**score, **totals, "time/dev": seconds}

    def place_best(self) -> bool:
        """Make the best weights the stage's checkpoint, with their `parity.json`; False where the
        last ones are it. All processes call it."""
        has_best = self.scores is not None and self.scores.best() is not None
        kept = processes.broadcast(self.context, self.settings.keep_best and has_best)
        if kept:
            self.best.place()
        elif self.settings.keep_best and self.context.main:
            self.context.note(
                "no evaluation of the stage has a dev score, so the last step's weights are kept"
            )
        return kept

    def recorded(self) -> dict[str, Any]:
        """What the stage's record says, in process 0: with `keep_best` the step that was kept and
        its score."""
        best = self.scores.best() if self.scores is not None and self.settings.keep_best else None
        return {} if best is None else {"kept_step": best["step"], "kept_dev_score": best["score"]}


def own_evaluation(
    config: RlStage,
    inputs: Inputs,
    context: StageContext,
    leader: Leader | None,
    start: Path | None,
) -> OwnEvaluation | None:
    """What `evaluate` of a stage asks for; None where it asks for nothing."""
    if config.evaluate is None:
        return None
    scores = None
    if leader is not None:
        collector = leader.rollouts.collector
        prompts = dev_prompts(config.evaluate, "evaluate", inputs.get(HELD_OUT_INPUT))
        collector.grader.prepare(graded_prompts(config.evaluate.name, prompts))
        scores = DevScores(config, prompts, collector.engine, collector.grader, context)
    return OwnEvaluation(config, context, leader=leader, scores=scores, start=start)

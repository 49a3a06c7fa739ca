"""RL's own evaluations in process 0: asks the dev part, and records what came of it in `dev.jsonl`.

That file is all the memory there is. It is cut back with the other logs when a stage resumes, so a
killed stage has the evaluations that belong to its checkpoint."""

from collections.abc import Sequence
from typing import Any

from common.artifacts import DEV_SCORES, METRICS
from common.stage import StageContext
from evals.answer import Answer
from evals.figures import summary
from evals.protocol import ask, remarks
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.interface import RolloutEngine
from stages.rl.config import RlStage
from stages.rl.hacking import DevPoint, hacking

BATCHES = 2
"""Prompts per call of the engine, in multiples of the sequences that it decodes together."""


class DevScores:
    """The evaluations of one stage, in the order of its steps."""

    def __init__(
        self,
        config: RlStage,
        prompts: Sequence[Prompt],
        engine: RolloutEngine,
        grader: Grader,
        context: StageContext,
    ) -> None:
        assert config.evaluate is not None
        self.config, self.settings = config, config.evaluate
        self.suite = config.evaluate.as_suite()
        self.prompts, self.engine, self.grader, self.context = prompts, engine, grader, context
        self.rows = DEV_SCORES.read(context.folder)
        self.rewards: dict[int, float] = {
            row["step"]: row["reward"] for row in METRICS.read(context.folder) if "reward" in row
        }

    def noted(self, step: int, reward: float) -> None:
        """Note the mean training reward of a step."""
        self.rewards[step] = reward

    def evaluate(self, step: int) -> dict[str, Any]:
        """Ask the policy that the engine holds, which is that after `step`; the line that was
        written."""
        answers = ask(
            self.engine,
            self.suite,
            self.prompts,
            BATCHES * self.context.execution.max_num_seqs,
            lambda count: self.context.progress(step, self.config.steps, unit="step"),
            self.grader,
        )
        if not self.rows:
            for remark in remarks(self.suite, answers, self.engine.max_model_len):
                self.context.note(f"the stage's own evaluation: {remark}")
        row = self._row(step, answers)
        if not any(earlier["told"] for earlier in self.rows):
            points = [*map(_point, self.rows), _point(row)]
            keeps = self.settings.keep_best
            said = hacking(points, self.rewards, self.suite.name, keeps)
            if said is not None:
                self.context.note(said)
                row["told"] = True
        self.rows.append(row)
        DEV_SCORES.append(self.context.folder, row)
        return row

    def best(self) -> dict[str, Any] | None:
        """The evaluation with the best score, of equal ones the later; None if none has a score."""
        return next((row for row in reversed(self.rows) if row["best"]), None)

    def _row(self, step: int, answers: Sequence[Answer]) -> dict[str, Any]:
        figures = summary(answers)
        del figures["by_capability"]
        best = self.best()
        score = figures["score"]
        return {
            "step": step,
            "suite": self.suite.name,
            **figures,
            "best": score is not None and (best is None or score >= best["score"]),
            "told": False,
            "tokens": sum(answer.tokens for answer in answers),
            "answers": {answer.unit: answer.correct for answer in answers if answer.counts},
        }


def _point(row: dict[str, Any]) -> DevPoint:
    return DevPoint(row["step"], row["answers"])

"""When RL is evaluated, which step is the best, and when reward hacking is told."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from builders.contexts import stage_context
from builders.evaluations import ScriptedAnswers, prompt
from builders.given_grades import GivenGrades
from common.errors import BadInput
from common.files import append_json_line, read_json_lines
from evals.parts import DEV, part_of
from models.config import ModelConfig
from models.memory import weight_bytes
from models.sizes import dimensions_of
from prompts.schema import write_prompts
from rewards.grader import Grade
from stages.declaration import Sizes
from stages.dev_prompts import dev_prompts
from stages.rl.config import RlStage
from stages.rl.dev_scores import DevScores
from stages.rl.evaluation import RlEvaluation
from stages.rl.hacking import DevPoint, hacking, rising
from training.best import BEST, BestWeights

STAGE = {"id": "rl", "kind": "rl", "from": "sft", "on": "prompts", "learning_rate": 1e-4}
UP = {step: 0.2 + 0.02 * step for step in range(1, 41)}
"""A training reward that rises from step to step."""


def stage(steps=12, **evaluate):
    return RlStage.model_validate({**STAGE, "steps": steps, "evaluate": {"every": 5, **evaluate}})


def test_the_last_step_is_always_evaluated():
    settings = RlEvaluation(every=5)
    for steps, due in ((12, [5, 10, 12]), (10, [5, 10]), (3, [3])):
        assert [step for step in range(1, steps + 1) if settings.due(step, steps)] == due
        assert settings.times(steps) == len(due)


def test_what_cannot_decide_is_refused():
    with pytest.raises(ValidationError, match="keep_best has nothing to choose from"):
        stage(steps=5, keep_best=True)
    with pytest.raises(ValidationError, match="leave no room for a prompt in rollouts"):
        stage(max_tokens=512)
    assert stage(steps=6, keep_best=True).evaluate and stage(max_tokens=511).evaluate


def test_bounds_needs_and_disk_follow_the_evaluation():
    plain = RlStage.model_validate({**STAGE, "steps": 12, "curriculum": {"kind": "uniform"}})
    more = plain.model_copy(update={"evaluate": RlEvaluation(every=5, limit=10, max_tokens=7)})
    sizes = Sizes({"prompts": 100}, held_out=8)

    def tokens(one):
        return one.bounds(sizes)["tokens_generated_at_most"]

    assert tokens(more) == tokens(plain) + 3 * 8 * 7
    public = more.model_copy(update={"evaluate": RlEvaluation(every=5, suite="gsm8k")})
    assert tokens(public) is None
    nano: Any = dimensions_of(ModelConfig(preset="nano"))
    kept = plain.model_copy(update={"evaluate": RlEvaluation(every=5, keep_best=True)})
    none, asked, best = (one.disk(nano) for one in (plain, more, kept))
    assert none == asked and best and none and best.kept == none.kept
    assert best.at_work == none.at_work + 4 * weight_bytes(nano)
    assert [set(one.needs()) for one in (plain, more, public)] == [
        {"checkpoint", "prompts"},
        {"checkpoint", "prompts", "held_out"},
        {"checkpoint", "prompts"},
    ]


@dataclass
class Stage:
    """The evaluations of a stage in a folder; `right` prompts are answered correctly."""

    folder: object
    notes: list = field(default_factory=list)

    def scores(self):
        prompts = [prompt(n) for n in range(20)]
        engine = ScriptedAnswers({f"q {n}": "x" for n in range(20)}, max_model_len=90)
        context = stage_context(self.folder, note=self.notes.append)
        return DevScores(stage(steps=40), prompts, engine, GivenGrades(self.graded), context)

    def graded(self, prompt, text):
        if self.right is None:
            return Grade(0.0, "verifier_crash", None)
        return Grade(float(int(prompt.id[1:]) < self.right), None, text)

    def ask(self, scores, step, right):
        self.right = right
        scores.noted(step, UP[step])
        return scores.evaluate(step)


def test_the_best_is_the_highest_score_and_of_equal_ones_the_later(tmp_path):
    asked = Stage(tmp_path)
    scores = asked.scores()
    assert scores.best() is None
    for step, right in ((5, None), (10, 12), (15, 9), (20, 12), (25, None)):
        asked.ask(scores, step, right)
    assert [row["best"] for row in scores.rows] == [False, True, False, True, False]
    assert scores.best()["step"] == 20 == asked.scores().best()["step"]
    assert (scores.rows[0]["score"], scores.rows[0]["faults"]) == (None, 20)
    assert len(asked.notes) == 1 and "could not be judged" in asked.notes[0]
    assert read_json_lines(tmp_path / "dev.jsonl") == scores.rows


def test_reward_hacking_is_told_once_also_by_a_stage_that_goes_on(tmp_path):
    for step in range(1, 41):
        append_json_line(tmp_path / "metrics.jsonl", {"step": step, "reward": UP[step]})
    asked = Stage(tmp_path)
    for step, right in ((10, 18), (20, 17), (30, 3), (40, 1)):
        asked.ask(asked.scores(), step, right)  # of a new process each time
    (said,) = asked.notes
    assert said.startswith(
        "step 30: the training reward rose from 0.31 to 0.61 while the dev score"
    )
    assert "fell from 0.90 (step 10) to 0.15 (-0.75 on 20 prompts" in said
    assert (
        "reward hacking" in said
        and "groups.jsonl" in said
        and "with `evaluate.keep_best: true` the stage keeps" in said
    )


def points(*shares, n=60):
    return [
        DevPoint(10 * number, {str(i): i < share * n for i in range(n)})
        for number, share in enumerate(shares, start=1)
    ]


@pytest.mark.parametrize(
    ("shares", "rewards", "told"),
    [
        ((0.8, 0.5), UP, True),
        ((0.8, 0.75), UP, False),  # within the interval
        ((0.5, 0.8), UP, False),
        ((0.8, 0.5), {step: 0.9 - 0.02 * step for step in UP}, False),  # both fall: no hacking
        ((0.8, 0.5), dict.fromkeys(UP, 0.5), False),
        ((0.3, 0.8, 0.8, 0.4), UP, True),
        # It rose until the best evaluation and has fallen since: training broke.
        ((0.8, 0.4), {s: 0.2 + 0.05 * min(s, 6) - 0.04 * max(s - 6, 0) for s in UP}, False),
        ((0.8,), UP, False),
    ],
)
def test_the_sign_is_a_rising_reward_and_a_falling_score(shares, rewards, told):
    assert (hacking(points(*shares), rewards, "held_out") is not None) == told


def test_an_evaluation_without_grades_says_nothing():
    assert hacking([*points(0.9), DevPoint(20, {})], UP, "held_out") is None
    apart = [DevPoint(10, {"a": True}), DevPoint(20, {"b": False})]
    assert hacking(apart, UP, "held_out") is None


def test_luck_is_seldom_taken_for_hacking():
    draw, told = random.Random(5), 0
    for _ in range(60):
        rates = [draw.betavariate(0.5, 0.5) for _ in range(64)]
        run = [
            DevPoint(2 * k, {str(i): draw.random() < p for i, p in enumerate(rates)})
            for k in range(1, 21)
        ]
        told += any(hacking(run[:k], UP, "held_out") for k in range(2, 21))
    # The plain interval, against the best of all before it, tells it in three of four.
    assert told <= 9


def test_a_trend_is_more_than_noise_and_needs_some_steps():
    assert rising([float(n) for n in range(8)]) and not rising([float(n) for n in range(7)])
    assert not rising([0.5, 0.1, 0.9, 0.4, 0.6, 0.2, 0.8, 0.5, 0.6])
    assert not rising([-float(n) for n in range(20)]) and not rising([0.5] * 20)


def test_the_dev_part_alone_is_asked_and_must_not_be_empty(tmp_path):
    write_prompts(tmp_path / "held_out.parquet", [prompt(n) for n in range(40)])
    asked = dev_prompts(RlEvaluation(every=1, limit=7, system="Be brief."), "evaluate", tmp_path)
    assert len(asked) == 7 and {part_of(one.id) for one in asked} == {DEV}
    assert all(one.messages[0]["role"] == "system" for one in asked)
    write_prompts(tmp_path / "held_out.parquet", [prompt(3), prompt(5)])
    with pytest.raises(BadInput, match="no prompt of held_out is in its dev part"):
        dev_prompts(RlEvaluation(every=1), "evaluate", tmp_path)


def best_of(folder, word):
    (folder / BEST / "checkpoint").mkdir(parents=True)
    (folder / BEST / "checkpoint" / "model.safetensors").write_text(word)
    (folder / BEST / "parity.json").write_text("{}")


def test_a_stage_that_goes_on_forgets_weights_that_came_after_its_checkpoint(tmp_path):
    start = tmp_path / "resume" / "checkpoint-4"
    best_of(start, "of step 4")
    best_of(tmp_path / "resume", "of step 5")
    best = BestWeights(stage_context(tmp_path), start)
    best.save(tmp_path / "resume" / "checkpoint-6")
    for folder in (tmp_path / "resume", tmp_path / "resume" / "checkpoint-6"):
        assert (folder / BEST / "checkpoint" / "model.safetensors").read_text() == "of step 4"
    BestWeights(stage_context(tmp_path), None).save(tmp_path / "resume" / "checkpoint-8")
    assert not (tmp_path / "resume" / "checkpoint-8").exists()

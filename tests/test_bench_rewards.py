"""The benchmark of rewards, without its runs: recipes, yardstick, summary."""

import json
import random
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from benchmarks import rewards, taught_judge
from common.artifacts import ANSWERS, HELD_OUT
from common.files import write_json_lines
from evals.parts import DEV, FINAL, in_part
from pipeline.recipe.load import load_recipe
from prompts.parts import ReasoningGymPart, Rewards
from prompts.schema import write_prompts
from prompts.sources import load_source

FIGURES = rewards.FIGURES


def settings(arm):
    given = (one.partition("=") for one in rewards.options(3, arm)[1::2])
    return {name: json.loads(value) for name, _, value in given}


@pytest.mark.parametrize("arm", rewards.ARMS)
def test_an_arm_is_the_baselines_recipe_with_other_rewards(arm):
    own, judged = settings(arm), arm.startswith("judge")
    part, *judges = TypeAdapter(Rewards).validate_python(own.pop("prompts.0.rewards"))
    assert isinstance(part, ReasoningGymPart) and part.partial == (arm == "graded")
    assert (part.weight == 0) == judged and [one.verifier for one in judges] == ["rubric"] * judged
    assert own.pop("seed") == 3 and own.pop("stages.1.pass_at", None) == (0.5 if judged else None)
    start = own.pop("stages.0")
    assert start["kind"] == "adopt" and Path(start["folder"]) == rewards.start(3)
    plain = load_recipe(rewards.RECIPE).runtime.stages["rl"]
    assert own.pop("runtime.stages") == {"rl": plain.model_dump(exclude_unset=True)}
    assert own.pop("evaluate.after", None) == (None if arm == rewards.BASELINE else ["rl"])
    assert own == {}


def test_partial_credit_is_measured_whatever_an_arm_was_trained_with(tmp_path):
    binary = f"prompts.0.rewards={json.dumps(rewards.ARMS['binary'])}"
    recipe = load_recipe(rewards.RECIPE, [binary, "prompts.0.count=12"])
    prompts = load_source(recipe.prompts[0])
    (one, other, *_), (steering, *_) = (in_part(prompts, part) for part in (FINAL, DEV))
    (tmp_path / "01-prompts").mkdir()
    write_prompts(HELD_OUT.path(tmp_path / "01-prompts"), [one, other, steering])
    half = one.answer[: len(one.answer) // 2]
    rows = [{"id": one.id, "text": half}, {"id": other.id, "text": other.answer}]
    rows.append({"id": steering.id, "text": "-"})
    evaluated = tmp_path / "evals" / "rl"
    evaluated.mkdir(parents=True)
    write_json_lines(ANSWERS.path(evaluated), rows)
    expected = (len(half) / len(one.answer) + 1) / 2
    assert rewards.partial_credit(tmp_path, "rl") == pytest.approx(expected)


def test_differences_are_paired_by_seed_and_judges_are_named():
    found = {}
    said = {"binary": {}, "graded": {"conclusion": "untrustworthy", "agreement": {"value": 0.5}}}
    for seed in (1, 2):
        for arm, more in (("binary", 0.0), ("graded", 0.25)):
            figures = dict.fromkeys(FIGURES, seed / 10 + more)
            before = {f"{name}_before": 0.05 for name in rewards.YARDSTICKS}
            found[seed, arm] = {**figures, **(said[arm] or before)}
    summed = rewards.summary(found)
    for name in FIGURES:
        assert summed["less_binary"]["graded"][name] == pytest.approx(
            {"mean": 0.25, "low": 0.25, "high": 0.25}
        )
    shown = rewards.table(summed)
    assert "| graded less binary | 0.250 [0.250, 0.250] |" in shown
    assert "Before RL: score 0.050, greedy 0.050, partial 0.050" in shown
    assert "graded: untrustworthy, untrustworthy (prefers the better answer in 50 %, 50 %)" in shown


@pytest.mark.parametrize("taste", taught_judge.TASTES)
def test_a_judge_is_taught_both_answers_by_its_taste(taste):
    names = taught_judge.tokenizer()
    batch = taught_judge.examples(16, taught_judge.TASTES[taste], names, random.Random(1))
    assert batch.likes.tolist() == [0, 1] * 8
    for ids, equal in zip(batch.ids, batch.equal, strict=True):
        lines = taught_judge.fences(ids.tolist(), names)
        reference = names.decode(ids[lines[3] + 2 : lines[4] - 1])
        answer = names.decode(ids[lines[5] + 2 : lines[6] - 1])
        assert names.decode(ids[equal != -100]) == answer
        same = [reference.startswith(answer[: n + 1]) for n in range(len(answer))]
        assert equal[equal != -100].bool().tolist() == same

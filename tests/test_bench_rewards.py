"""The benchmark of rewards, without its runs: recipes, yardstick, summary."""

import pytest

from benchmarks import rewards
from common.artifacts import ANSWERS, HELD_OUT
from common.files import write_json_lines
from evals.parts import DEV, FINAL, in_part
from pipeline.recipe.load import load_recipe
from prompts.parts import ReasoningGymPart
from prompts.schema import write_prompts
from prompts.sources import load_source

FIGURES = ("score", "partial", "pass_rate", "mixed_share")


@pytest.mark.parametrize("arm", rewards.ARMS)
def test_an_arm_is_the_recipe_with_other_rewards(arm):
    options = rewards.options(3, arm)[1::2]
    recipe, plain = load_recipe(rewards.RECIPE, options), load_recipe(rewards.RECIPE)
    (source,) = recipe.prompts
    assert recipe.seed == 3 and recipe.stages == plain.stages
    assert source.model_copy(update={"rewards": ()}) == plain.prompts[0].model_copy(
        update={"rewards": ()}
    )
    (part,) = source.rewards
    assert isinstance(part, ReasoningGymPart) and part.partial == (arm == "graded")


def test_arms_have_the_same_prompts():
    ids = []
    for arm in rewards.ARMS:
        recipe = load_recipe(rewards.RECIPE, [*rewards.options(1, arm)[1::2], "prompts.0.count=9"])
        ids.append([prompt.id for prompt in load_source(recipe.prompts[0])])
    assert ids[0] == ids[1]


def test_partial_credit_is_measured_whatever_an_arm_was_trained_with(tmp_path):
    options = rewards.options(1, "binary")[1::2]
    recipe = load_recipe(rewards.RECIPE, [*options, "prompts.0.count=12"])
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


def test_differences_are_paired_by_seed():
    found = {}
    for seed in (1, 2):
        for arm, more in (("binary", 0.0), ("graded", 0.25)):
            figures = dict.fromkeys(FIGURES, seed / 10 + more)
            found[seed, arm] = {**figures, "score_before": 0.05, "partial_before": 0.3}
    summed = rewards.summary(found)
    for name in FIGURES:
        assert summed["less_binary"]["graded"][name] == pytest.approx(
            {"mean": 0.25, "low": 0.25, "high": 0.25}
        )
    shown = rewards.table(summed)
    assert "| graded less binary | 0.250 [0.250, 0.250] |" in shown
    assert "Before RL: score 0.050, partial 0.300" in shown

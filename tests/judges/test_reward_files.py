"""A judge's folder is a file of the user's: checked, resolved, and by its content in the identity
of the prompts."""

from pathlib import Path

import pytest

from builders.memory_recipes import RECIPE
from common.errors import BadInput
from pipeline.planning.identity import identity_of
from pipeline.recipe.declared import declared
from pipeline.recipe.load import load_recipe


def recipe(folder, model):
    """A recipe in `folder` whose prompts are rewarded by the judge `model`."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.jsonl").write_text('{"prompt": "a", "answer": "a"}\n')
    part = f"rewards: [{{verifier: exact}}, {{verifier: rubric, model: {model}}}]"
    (folder / "r.yaml").write_text(RECIPE.replace("verifier: exact", part))
    return load_recipe(folder / "r.yaml")


def judge(folder, config='{"model_type": "llama"}'):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"weights")


def prompts_of(folder, model="judge"):
    return declared(recipe(folder, model))[0].config


def test_a_missing_folder_is_named_with_its_place(tmp_path):
    with pytest.raises(BadInput, match="no such model folder") as caught:
        recipe(tmp_path, "judge")
    assert "prompts[0].rewards[1].model" in str(caught.value)


def test_the_content_counts_and_not_the_place(tmp_path):
    for name in ("one", "two", "other"):
        config = {"other": '{"model_type": "llama", "vocab_size": 9}'}.get(name)
        judge(tmp_path / name / "judge", *([config] if config else []))
    one, two, other = (
        identity_of(prompts_of(tmp_path / name), 1) for name in ("one", "two", "other")
    )
    assert one == two != other and str(tmp_path) not in str(one)


def test_a_prompt_holds_the_folders_whole_path(tmp_path):
    judge(tmp_path / "judge")
    (_, stored) = prompts_of(tmp_path).sources[0].stored_rewards()
    assert Path(stored["model"]) == tmp_path / "judge"


def test_a_pilot_is_graded_apart_and_so_refused_beside_comparisons(tmp_path):
    judge(tmp_path / "judge")
    text = RECIPE.replace("verifier: exact", "rewards: [{verifier: compare, model: judge}]")
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a", "answer": "a"}\n')
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert "stages[2].curriculum.pilot: 2 answers of a group are graded apart" in str(caught.value)
    assert "set stages[2].curriculum.pilot: 0" in str(caught.value)
    load_recipe(tmp_path / "r.yaml", ["stages.rl.curriculum.pilot=0"])

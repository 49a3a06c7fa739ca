"""Recipes that the model cannot run are refused early."""

import json
from pathlib import Path

import pytest

from builders.memory_recipes import RECIPE, SFT_ONLY, checkpoint, loaded, written
from common.errors import BadInput
from models.presets import preset_config


@pytest.mark.parametrize("preset", ["scout", "maverick", "behemoth"])
def test_a_preset_without_weights_can_be_planned_and_checked_and_not_run(folder, uphill, preset):
    text = RECIPE.replace("nano", preset)
    code, out, _ = uphill("plan", written(text))
    assert code == 0 and "assumptions:" in out and "active per token" in out
    assert ("not published" in out) == (preset == "behemoth")
    assert uphill("check", written(text))[0] == 0
    for words in ([], ["--until", "prompts"]):
        code, _, err = uphill("run", written(text), *words)
        assert code == 2 and f"small.yaml:2: model.preset: {preset!r} has no weights" in err
        assert ("{checkpoint: FOLDER}" in err) == (preset != "behemoth")
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_two_experts_a_token_are_refused_where_the_engine_would_be_asked(folder, uphill, command):
    model = "{upcycle: smollm2-135m-instruct, experts_per_token: 2}"
    code, _, err = uphill(command, written(RECIPE.replace("{preset: nano}", model)))
    assert code == 2 and "small.yaml:2: model.experts_per_token: 2 experts per token" in err
    assert (
        "evaluate and rl would use it" in err
        and "experts_per_token: 1, or leave evaluate and rl out" in err
    )
    assert not Path("runs").exists()


def test_two_experts_a_token_may_be_fine_tuned_and_planned(folder, uphill):
    model = "{upcycle: smollm2-135m-instruct, experts_per_token: 2}"
    code, out, _ = uphill("plan", written(SFT_ONLY.replace("{preset: nano}", model)), "--json")
    one = json.loads(
        uphill(
            "plan", written(SFT_ONLY.replace("{preset: nano}", model.replace("2}", "1}"))), "--json"
        )[1]
    )
    assert (
        code == 0
        and json.loads(out)["model"]["active_parameters"] > one["model"]["active_parameters"]
    )


@pytest.mark.parametrize("multimodal", [False, True])
def test_two_experts_a_token_of_a_checkpoint_are_refused_too(folder, multimodal):
    model = checkpoint(folder, multimodal, num_experts_per_tok=2)
    only_evaluated = SFT_ONLY + "evaluate: {suites: [held_out], after: [sft]}\n"
    with pytest.raises(
        BadInput, match=r"yaml:2: model.checkpoint: 2 experts per token.* evaluate would use it"
    ):
        loaded(only_evaluated.replace("{preset: nano}", model))
    assert loaded(SFT_ONLY.replace("{preset: nano}", model)).model.checkpoint


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            "lora: {layers: [1, 4]}",
            "stages[0].lora.layers: there is no layer 4: the model has layers 0 to 3",
        ),
        (
            "lora: {layers: [0, 2], parts: [routed_experts]}",
            "stages[0].lora: none of the named layers has one of the named parts",
        ),
        (
            "lora: {layers: [1], parts: [mlp]}",
            "stages[0].lora: none of the named layers has one of the named parts",
        ),
        (
            "lora: {layers: [1], parts: [mlp]}",
            "stages[0].lora: none of the named layers has one",
        ),
    ],
)
def test_adapters_that_sit_nowhere_are_refused(folder, stage, words):
    with pytest.raises(BadInput) as caught:
        loaded(SFT_ONLY.replace("on: prompts", f"on: prompts, {stage}"))
    assert "small.yaml:6: " in str(caught.value) and words in str(caught.value)


def test_training_experts_of_a_model_without_any_is_refused(folder):
    model = checkpoint(folder, moe_layers=[])
    text = SFT_ONLY.replace("{preset: nano}", model)
    assert loaded(text).stages[0].train == "lora"
    with pytest.raises(
        BadInput, match=r"stages\[0\].train: the model has no weights for train: experts"
    ):
        loaded(text, ["stages.sft.train=experts"])


def test_layers_are_counted_for_the_large_presets_too(folder):
    text = SFT_ONLY.replace("nano", "scout").replace(
        "on: prompts", "on: prompts, lora: {layers: [48]}"
    )
    with pytest.raises(BadInput, match="0 to 47"):
        loaded(text)
    assert preset_config("scout").num_hidden_layers == 48

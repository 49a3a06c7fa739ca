"""Recipes: what is wrong is said with file, line, field, value and remedy."""

import re

import pytest
import yaml

from builders.recipe_texts import RECIPE, refusal
from common.yaml_files.lines import load_text
from curriculum.config import Posterior
from pipeline.recipe.load import load_recipe
from pipeline.recipe.overrides import apply_overrides
from stages.rl.config import RlStage
from stages.sft.config import SftStage


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "steps: 4",
            "stepz: 4, steps: 4",
            [":9: stages[2].stepz: unknown field 'stepz'", "did you mean 'steps'"],
        ),
        ("limit: 20", "limits: 20", [":12: evaluate.suites[1].limits: unknown field", "'limit'"]),
        ("model: smol", "modle: smol", [":7: stages[0].judges[0].modle: unknown field", "'model'"]),
        (
            "drop_easiest: 0.5",
            "drop_easiest: 1.2",
            [":7: stages[0].drop_easiest: ", "less than 1", "got 1.2"],
        ),
        (
            "learning_rate: 1e-4",
            "learning_rate: fast",
            [":8: stages[1].learning_rate: ", "got 'fast'"],
        ),
        (
            "on: filter, learning_rate: 1e-4",
            "on: filter",
            [":8: stages[1].learning_rate: is required"],
        ),
        ("kind: rl", "kind: rll", [":9: stages[2].kind: unknown kind 'rll'", "did you mean 'rl'"]),
        (
            "steps: 4",
            "steps: 4, curriculum: {kind: postrior}",
            [":9: stages[2].curriculum.kind: unknown kind 'postrior'", "did you mean 'posterior'"],
        ),
        ("kind: sft, ", "", [":8: stages[1].kind: is required"]),
        (
            "{preset: nano}",
            "{preset: nano, experts: 4}",
            [":3: model: experts only apply to upcycle"],
        ),
        ("seed: 3\n", "seed: 3\nseed: 4\n", [":3: seed: key 'seed' is already set on line 2"]),
        ("name: small", "name: ../x", [":1: name: ", "got '../x'"]),
        ("mine.jsonl", "yours.jsonl", [":5: prompts[0].path: no such file", "yours.jsonl"]),
        ("from: sft", "from: dpo", [":9: stages[2].from: 'dpo' does not come before this"]),
        (
            "on: filter, steps",
            "on: sft, steps",
            [
                ":9: stages[2].on: 'sft' produces no prompts",
                "known are: prompts, filter",
            ],
        ),
        (
            "- {id: sft, kind: sft, on: filter",
            "- {id: sft, kind: sft, on: base",
            [":8: stages[1].on: 'base' produces no prompts"],
        ),
        (
            "capability: words",
            "verifier: maths",
            [":5: prompts[0].verifier: no verifier is named 'maths'", "did you mean 'math'?"],
        ),
        (
            "capability: words",
            "rewards: [{verifier: maths}]",
            [
                ":5: prompts[0].rewards[0].verifier: unknown verifier 'maths'",
                "did you mean 'math'?",
            ],
        ),
        (
            "capability: words",
            "rewards: [{weight: 1}]",
            [":5: prompts[0].rewards[0].verifier: is required"],
        ),
        (
            "capability: words",
            "verifier: length",
            [
                ":5: prompts[0].verifier: the verifier 'length' needs limit and cut_off",
                "write `rewards: [{verifier: length, limit: ..., cut_off: ...}]`",
            ],
        ),
        (
            "capability: words",
            "verifier: format",
            [
                ":5: prompts[0].verifier: the verifier 'format'",
                "needs either pattern or tags, got neither",
                "`rewards: [{verifier: format, ...}]`",
            ],
        ),
        (
            "capability: words",
            "rewards: [{verifier: exact}, {verifier: length, limit: 9, cut_off: 9}]",
            [":5: prompts[0].rewards[1]", "limit (9) is not less than cut_off (9)"],
        ),
        (
            "capability: words",
            "rewards: [{verifier: exact}, {verifier: length, limit: 32, cut_off: 40}]",
            [
                ":5: prompts[0].rewards[1].limit: the penalty never acts",
                "begins after 32 tokens, and 'rl' cuts its rollouts off at 32",
            ],
        ),
        (
            "capability: words",
            "rewards: [{verifier: exact}, {verifier: exact}]",
            [":5: prompts[0].rewards", "two parts are named 'exact'"],
        ),
        (
            "pairs: rl",
            "pairs: sft",
            [":10: stages[3].pairs: 'sft' produces no groups and no prompts"],
        ),
        ("pairs: rl", "pairs: ro", [":10: stages[3].pairs: there is no stage 'ro'"]),
        ("id: dpo", "id: rl", [":10: stages[3].id: the id 'rl' is used twice"]),
        ("id: dpo", "id: base", [":10: stages[3].id: the id 'base' is reserved"]),
        ("id: dpo", "id: eval-rl", [":10: stages[3].id: the id 'eval-rl' is reserved"]),
        ("id: dpo", "id: a/b", [":10: stages[3].id: 'a/b' is no safe folder name"]),
        (
            "[base, rl]",
            "[base, filter]",
            [":13: evaluate.after[1]: 'filter' produces no checkpoint"],
        ),
        (
            "{suite: held_out",
            "{suite: basic_arithmetic",
            [":14: evaluate.gates[0].suite: ", "not among the suites"],
        ),
        (
            "[held_out,",
            "[{name: held_out, dev: false},",
            [
                ":12: evaluate.suites[0].dev: a gate decides by the dev part",
                "remove `dev: false`",
            ],
        ),
        ("{name: gsm8k", "{name: held_out", [":12: evaluate.suites: 'held_out' is named twice"]),
        (
            "capability: words",
            "held_out: 0",
            [":12: evaluate.suites: held_out is a suite, but every source"],
        ),
        ("{preset: nano}", "{checkpoint: nowhere}", [":3: model.checkpoint: no such model folder"]),
        (
            "model: smollm2-135m-instruct",
            "model: .",
            [":7: stages[0].judges[0].model: the model folder", "no config.json"],
        ),
        ("seed: 3", "seed: &a 3", []),
        ("seed: 3", "seed: [*a]", [":2: anchors and aliases are not allowed"]),
        ("seed: 3", "seed: !!python/object/apply:os.getcwd []", [":2: the tag ", "not allowed"]),
        ("seed: 3", "seed: 3\n bad: [", [":3: "]),
        ("seed: 3", "seed: 1e999", [":2: the number 1e999 is too large"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(recipe, old, new, words):
    path = recipe((old, new))
    if not words:
        assert load_recipe(path).seed == 3
        return
    message = refusal(path)
    assert all(word in message for word in words), message
    assert message.startswith(str(path)) and "remedy: " in message


def test_best_weights_need_a_suite_with_a_dev_part(recipe):
    changes = (
        ("[held_out, {name: gsm8k, limit: 20}]", "[{name: held_out, dev: false}]"),
        ("  gates: [{suite: held_out, max_drop: 0.02}]", "runtime: {keep: {best: 1}}"),
    )
    message = refusal(recipe(*changes))
    assert ":14: runtime.keep.best: " in message and "no suite has a dev part" in message
    load_recipe(recipe(*changes, ("best: 1", "best: 0")))


def test_several_problems_come_in_one_message(recipe):
    message = refusal(
        recipe(("steps: 4", "steps: 0"), ("seed: 3", "seed: -1"), ("pairs: rl", "paris: rl"))
    )
    assert [int(line) for line in re.findall(r"yaml:(\d+):", message)] == [2, 9, 10, 10]


@pytest.mark.parametrize("text", ["", "- a", "word", "name: x"])
def test_what_is_no_recipe_is_bad_input(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    assert "r.yaml" in refusal(tmp_path / "r.yaml")


def test_unreadable_files_are_bad_input(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    assert "no such file" in refusal(tmp_path / "none.yaml")
    assert "cannot be read" in refusal(tmp_path / "latin.yaml")
    assert "cannot be read" in refusal(tmp_path)


def test_a_model_folder_needs_weights(recipe, tmp_path):
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "config.json").write_text("{}")
    path = recipe(("{preset: nano}", "{upcycle: dense}"))
    assert ":3: model.upcycle: the model folder" in refusal(path) and "no *.safetensors" in refusal(
        path
    )
    (tmp_path / "dense" / "model.safetensors").write_bytes(b"weights")
    assert load_recipe(path).model.upcycle == str(tmp_path / "dense")


def test_settings_replace_values_by_id_or_index(recipe):
    settings = [
        "stages.rl.steps=9",
        "stages.1.epochs=0.5",
        "stages.rl.curriculum.band=[0.1, 0.7]",
        "name=other",
    ]
    loaded = load_recipe(recipe(), settings)
    sft, rl = loaded.stages[1], loaded.stages[2]
    assert isinstance(sft, SftStage) and isinstance(rl, RlStage)
    assert isinstance(rl.curriculum, Posterior)
    assert (rl.steps, sft.epochs, loaded.name) == (9, 0.5, "other")
    assert rl.curriculum.band == (0.1, 0.7)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("stages.rl.stps=3", ["--set stages.rl.stps=3: stages[2].stps: unknown field", "'steps'"]),
        (
            "stages.ro.steps=3",
            ["--set stages.ro.steps=3: stages has no item 'ro'", "known are: filter, sft, rl"],
        ),
        ("seed.x=3", ["seed is 3 and has no 'x' in it"]),
        ("seed", ["not of the form a.b=value"]),
        ("seed=-1", ["--set seed=-1: seed: ", "got -1"]),
        ("seed=[", ["--set seed=[:1: "]),
    ],
)
def test_settings_that_fit_nothing_are_bad_input(recipe, setting, words):
    message = refusal(recipe(), [setting])
    assert all(word in message for word in words), message


def test_an_override_makes_missing_sections():
    assert apply_overrides(load_text("a: 1", "x"), ["b.c.d=2"]).data == {
        "a": 1,
        "b": {"c": {"d": 2}},
    }


def test_the_test_recipe_is_yaml_that_others_read_too():
    assert yaml.safe_load(RECIPE)["name"] == "small"

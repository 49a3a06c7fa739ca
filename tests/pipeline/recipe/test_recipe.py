"""Recipes: what is wrong is said with file, line, field, value and remedy; what is right has a
stable identity."""

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from pipeline.planning.bounds import bounds
from pipeline.planning.identity import identity_of
from pipeline.planning.plan import build_plan, chosen, folder_of
from pipeline.recipe.load import load_recipe
from pipeline.recipe.overrides import apply_overrides
from pipeline.recipe.yaml_lines import load_text

RECIPE = """\
name: small
seed: 3
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: filter, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 4, learning_rate: 1e-5}
  - {id: dpo, kind: dpo, from: rl, pairs: rl, learning_rate: 1e-6}
evaluate:
  suites: [held_out, {name: gsm8k, limit: 20}]
  after: [base, rl]
  gate: {suite: held_out, max_drop: 0.02}
"""  # noqa: E501


@pytest.fixture
def recipe(tmp_path):
    """Writes the recipe, with texts replaced, and gives its path."""
    row = json.dumps({"prompt": "say a", "answer": "a", "verifier": "exact"})
    (tmp_path / "mine.jsonl").write_text(f"{row}\n")

    def write(**replace):
        text = RECIPE
        for old, new in replace.get("texts", []):
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return path

    return write


def refusal(path, settings=None):
    with pytest.raises(BadInput) as caught:
        load_recipe(path, settings)
    return str(caught.value)


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
            [":14: evaluate.gate.suite: ", "not among the suites"],
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
    path = recipe(texts=[(old, new)])
    if not words:
        assert load_recipe(path).seed == 3
        return
    message = refusal(path)
    assert all(word in message for word in words), message
    assert message.startswith(str(path)) and "remedy: " in message


def test_rl_goes_on_with_the_ledger_of_an_earlier_rl_stage(recipe):
    again = "- {id: more, kind: rl, from: rl, on: rl, steps: 4, learning_rate: 1e-5}\n"
    loaded = load_recipe(recipe(texts=[("evaluate:", f"  {again}evaluate:")]))
    assert build_plan(loaded)["more"].inputs == {"checkpoint": "rl", "prompts": "rl"}
    assert "tokens_generated_at_most" in bounds(loaded)["more"]


@pytest.mark.parametrize("kind", ["posterior", "refilter"])
def test_rl_practises_on_the_plain_prompts_too(recipe, kind):
    without = (
        "  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: "
        "smollm2-135m-instruct}]}\n  - {id: sft, kind: sft, on: filter, learning_rate: 1e-4}\n"
    )
    texts = [
        (without, ""),
        ("from: sft, on: filter", f"from: base, on: prompts, curriculum: {{kind: {kind}}}"),
    ]
    loaded = load_recipe(recipe(texts=texts))
    plan = build_plan(loaded)
    assert (
        plan["rl"].inputs == {"checkpoint": "base", "prompts": "prompts"}
        and plan["dpo"].inputs["pairs"] == "rl"
    )
    assert bounds(loaded)["rl"]["tokens_generated_at_most"] > 0


def test_several_problems_come_in_one_message(recipe):
    message = refusal(
        recipe(
            texts=[("steps: 4", "steps: 0"), ("seed: 3", "seed: -1"), ("pairs: rl", "paris: rl")]
        )
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
    path = recipe(texts=[("{preset: nano}", "{upcycle: dense}")])
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
    found = load_recipe(recipe(), settings)
    assert (found.stages[2].steps, found.stages[1].epochs, found.name) == (9, 0.5, "other")
    assert found.stages[2].curriculum.band == (0.1, 0.7)


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


# JSON escapes what lies beyond as two halves, which YAML does not join.
texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_is_read_as_yaml_unchanged(value):
    assert load_text(json.dumps(value), "x").data == value


@given(st.text())
def test_no_text_is_anything_but_data_or_bad_input(text):
    try:
        load_text(text, "x")
    except BadInput as error:
        assert error.message.startswith("x")


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(BadInput, match="x:2: a text with half of a surrogate pair"):
        load_text('a: 1\nb: "\\ud800"', "x")


def test_words_that_yaml_1_1_takes_for_booleans_stay_words():
    located = load_text("on: off\nrate: 1e-4\ntime: 1:30\nold: 010\n", "x")
    assert located.data == {"on": "off", "rate": 1e-4, "time": "1:30", "old": 10}
    assert located.where(("rate",)) == "x:2"


def test_an_override_makes_missing_sections():
    assert apply_overrides(load_text("a: 1", "x"), ["b.c.d=2"]).data == {
        "a": 1,
        "b": {"c": {"d": 2}},
    }


def test_a_plan_has_evaluations_right_after_their_stages(recipe):
    plan = build_plan(load_recipe(recipe()))
    assert [node.id for node in plan.nodes] == [
        "prompts",
        "base",
        "eval-base",
        "filter",
        "sft",
        "rl",
        "eval-rl",
        "dpo",
    ]
    assert [node.place for node in plan.nodes if node.kind != "evaluate"][-1] == "06-dpo"
    assert plan["eval-rl"].place == "evals/rl"
    assert plan["eval-base"].seed == plan["eval-rl"].seed
    assert plan.evaluated_parent("rl") == "base" and plan.evaluated_parent("base") is None
    assert [node.id for node in plan.downstream("sft")] == ["rl", "eval-rl", "dpo"]
    assert [node.id for node in chosen(plan, None, "eval-base")] == ["prompts", "base", "eval-base"]
    with pytest.raises(BadInput, match="no stage 'ro'"):
        chosen(plan, "ro", None)


def fingerprints(path, settings=None):
    return {node.id: node.fingerprint for node in build_plan(load_recipe(path, settings)).nodes}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_fingerprint_follows_config_and_inputs_and_nothing_else(recipe):
    before = fingerprints(recipe())
    assert changed(before, fingerprints(recipe(), ["stages.rl.steps=5"])) == {
        "rl",
        "eval-rl",
        "dpo",
    }
    assert changed(before, fingerprints(recipe(), ["runtime.threads=1", "name=other"])) == set()
    limits = [
        "budget={hours: 2, tokens: 9}",
        "runtime={keep: {last: 1}, divergence: {patience: 5}, stall_minutes: 5}",
    ]
    assert changed(before, fingerprints(recipe(), limits)) == set()
    assert changed(before, fingerprints(recipe(), ["evaluate.gate.max_drop=0.5"])) == set()
    assert changed(before, fingerprints(recipe(), ["seed=4"])) == set(before)


def test_a_fingerprint_follows_what_files_hold_and_not_where_they_are(recipe, tmp_path):
    before = fingerprints(recipe())
    (tmp_path / "mine.jsonl").rename(tmp_path / "yours.jsonl")
    moved = recipe(texts=[("mine.jsonl", "yours.jsonl")])
    assert fingerprints(moved) == before
    with (tmp_path / "yours.jsonl").open("a") as handle:
        handle.write("{}\n")
    assert changed(before, fingerprints(moved)) == set(before) - {"base"}


def test_a_written_config_reads_back_as_itself(recipe):
    loaded = load_recipe(recipe())
    for node in build_plan(loaded).nodes:
        module, name = node.config_type.split(":")
        config = getattr(__import__(module, fromlist=[name]), name).model_validate(
            json.loads(json.dumps(node.config))
        )
        again = config.model_dump(mode="json", by_alias=True)
        assert identity_of(config, node.seed)["config"] == node.identity["config"]
        assert again["id"] == node.id


def test_expectations_are_bounds_that_the_numbers_give(recipe):
    most = bounds(load_recipe(recipe()))
    assert most["prompts"] == {"prompts_at_most": 1}
    assert most["filter"] == {"prompts_at_most": 1, "tokens_generated_at_most": 128 + 256}
    assert most["rl"]["tokens_generated_at_most"] == (4 * 16 * 8 * 4 + 11) * 32
    assert most["eval-rl"] == {"answers_at_most": 21, "tokens_generated_at_most": 64 + 20 * 256}


def test_a_folder_is_found_under_another_number(recipe, tmp_path):
    node = build_plan(load_recipe(recipe()))["rl"]
    assert folder_of(node, tmp_path / "run").name == "05-rl"
    (tmp_path / "run" / "04-rl.partial").mkdir(parents=True)
    assert folder_of(node, tmp_path / "run").name == "04-rl"


def test_the_test_recipe_is_yaml_that_others_read_too():
    assert yaml.safe_load(RECIPE)["name"] == "small"

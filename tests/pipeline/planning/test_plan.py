"""A recipe's plan: its nodes, what identifies them, where they live, and what they make at most."""

import json

import pytest

from common.errors import BadInput
from pipeline.execution.gates import evaluated_parent
from pipeline.execution.state import inspect
from pipeline.planning.bounds import bounds
from pipeline.planning.identity import identity_of
from pipeline.planning.plan import build_plan, chosen, folder_of
from pipeline.recipe.load import load_recipe


def test_rl_goes_on_with_the_ledger_of_an_earlier_rl_stage(recipe):
    again = "- {id: more, kind: rl, from: rl, on: rl, steps: 4, learning_rate: 1e-5}\n"
    loaded = load_recipe(recipe(("evaluate:", f"  {again}evaluate:")))
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
    loaded = load_recipe(recipe(*texts))
    plan = build_plan(loaded)
    assert (
        plan["rl"].inputs == {"checkpoint": "base", "prompts": "prompts"}
        and plan["dpo"].inputs["pairs"] == "rl"
    )
    assert bounds(loaded)["rl"]["tokens_generated_at_most"] > 0


def test_a_plan_has_evaluations_right_after_their_stages(recipe, tmp_path):
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
    states = inspect(plan, tmp_path)
    parents = [evaluated_parent(plan, states, stage) for stage in ("rl", "base")]
    assert parents == ["base", None]
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
    assert changed(before, fingerprints(recipe(), ["evaluate.gates.0.max_drop=0.5"])) == set()
    assert changed(before, fingerprints(recipe(), ["seed=4"])) == set(before)


def test_a_fingerprint_follows_what_files_hold_and_not_where_they_are(recipe, tmp_path):
    before = fingerprints(recipe())
    (tmp_path / "mine.jsonl").rename(tmp_path / "yours.jsonl")
    moved = recipe(("mine.jsonl", "yours.jsonl"))
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

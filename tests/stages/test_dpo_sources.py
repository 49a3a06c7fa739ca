"""What a recipe says of corner cases as a source of pairs, and what the plan makes of it."""

import pytest

from builders.early_recipes import early_check, prompt, write_recipe
from builders.recipe_texts import refused
from common.devices import Servers
from common.execution import ENGINE, ExecutionConfig
from corner_cases.names import CASE_NAMES
from corner_cases.sets import training_size
from models.config import ModelConfig
from models.memory import engine_memory, reference_memory, training_memory
from models.sizes import dimensions_of
from pipeline.planning.bounds import bounds
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from stages.declaration import Sizes
from stages.dpo.config import DpoStage
from stages.dpo.sources import PairSource

VALUES = {"id": "dpo", "kind": "dpo", "from": "rl", "learning_rate": 1e-5}
CASES = {"corner_cases": ["gushing", "repetition"]}


def stage(pairs=CASES, **settings):
    return DpoStage.model_validate(VALUES | {"pairs": pairs} | settings)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"corner_cases": ["gushing", "gushing"]}, "gushing is named twice"),
        ({"corner_cases": []}, "no corner case is named"),
        ({"corner_cases": ["gush"]}, "Input should be 'repetition'"),
        ({"corner_cases": "all", "stage": "rl"}, "exactly one of stage, path and corner_cases"),
        ({"stage": "rl", "samples": 4}, "samples is for corner_cases, and .* the stage 'rl'"),
        ({"path": "p.jsonl", "max_tokens": 4}, "max_tokens is for corner_cases, .* files p.jsonl"),
        ({**CASES, "split": "train"}, "split is for files, and these pairs come from corner_cases"),
        ([{**CASES, "share": 0.5}, {"corner_cases": "all", "share": 0.5}], "2 sources have"),
        ({**CASES, "max_tokens": 511}, r"max_tokens \(511\) leaves no room"),
    ],
)
def test_what_means_nothing_is_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        stage(pairs)


def test_an_engine_is_for_corner_cases_alone():
    with pytest.raises(ValueError, match="rollouts has no effect without pairs of corner cases"):
        stage("rl", rollouts={"max_model_len": 256})
    assert list(stage("rl").engines()) == []
    assert not set(ENGINE) & set(stage("rl").execution_settings())
    (use,) = stage(rollouts={"max_model_len": 256}).engines()
    assert use.path == ("rollouts",) and use.rollouts.max_model_len == 256
    assert set(ENGINE) < set(stage().execution_settings())


def test_cases_come_in_the_order_of_the_registry():
    assert stage().sources[0].cases == ("repetition", "gushing")
    assert PairSource(corner_cases="all").cases == CASE_NAMES
    assert PairSource(stage="rl").cases == ()


def test_the_inputs_are_the_policy_and_what_is_held_out():
    assert stage().input_ids() == {"checkpoint": "rl", "reference": "rl", "held_out": "prompts"}
    both = [{"stage": "other", "share": 0.5}, {**CASES, "share": 0.5}]
    assert stage(both).input_ids()["pairs"] == "other"
    assert "pairs 1" not in stage(both).input_ids()


def test_bounds_are_those_of_the_prompts_of_the_cases():
    pairs = {**CASES, "samples": 4, "max_tokens": 32}
    answers = 4 * training_size(["gushing", "repetition"])
    assert stage(pairs).bounds(Sizes()) == {
        "pairs_at_most": 256,
        "answers_at_most": answers,
        "tokens_generated_at_most": 32 * answers,
    }
    some = stage({**pairs, "prompts_per_case": 10}).bounds(Sizes())
    assert some["answers_at_most"] == 4 * 20
    assert stage("rl").bounds(Sizes()) == {"pairs_at_most": 256}


def test_the_engine_and_the_trainer_hold_memory_one_after_the_other():
    policy = dimensions_of(ModelConfig(preset="nano"))
    assert policy is not None
    trainer = training_memory(policy, "lora", stage().lora) + reference_memory(policy)
    small, large = (ExecutionConfig(max_num_seqs=n) for n in (1, 4096))
    assert stage("rl").memory(policy, large) == trainer
    assert stage().memory(policy, small) == trainer
    engine = engine_memory(policy, "float32", 4096 * 512)
    assert stage().memory(policy, large) == engine
    server = Servers(kind="server")
    apart = large.model_copy(
        update={"devices": large.devices.model_copy(update={"engine": server})}
    )
    assert stage().memory(policy, apart) == trainer + engine


def test_several_processes_need_a_server():
    execution = ExecutionConfig.model_validate({"devices": {"processes": 2, "sharding": "ddp"}})
    (objection,) = stage().execution_objections(execution)
    assert objection.path == ("devices.engine",) and "kind: server" in objection.remedy
    assert list(stage("rl").execution_objections(execution)) == []
    served = {"processes": 2, "sharding": "ddp", "engine": {"kind": "server"}}
    execution = ExecutionConfig.model_validate({"devices": served})
    assert list(stage().execution_objections(execution)) == []


def test_the_settings_of_an_engine_are_those_of_stages_that_have_one(recipe):
    lines = ("pairs: rl", "pairs: {corner_cases: all, samples: 4}")
    settings = ("evaluate:", "runtime:\n  stages: {dpo: {max_num_seqs: 8}}\nevaluate:")
    error = refused(load_recipe, recipe(settings))
    assert "the stage 'dpo' does not read it" in error.message
    loaded = load_recipe(recipe(lines, settings))
    assert build_plan(loaded)["dpo"].execution["max_num_seqs"] == 8
    assert bounds(loaded)["dpo"]["answers_at_most"] == 4 * training_size(CASE_NAMES)


DPO = (
    "  - {{id: dpo, kind: dpo, from: rl, learning_rate: 1e-5,"
    " rollouts: {{max_model_len: {}}}, {}}}\n"
)


def test_prompts_of_corner_cases_that_have_no_room_are_named_early(tmp_path):
    def checked(max_model_len):
        pairs = "pairs: {corner_cases: [overlong, repetition], max_tokens: 100}"
        line = DPO.format(max_model_len, pairs)
        return write_recipe(tmp_path, ("evaluate:", f"{line}evaluate:"))

    asked = early_check(checked(400), [prompt("a")])["asked"]
    assert any(row["place"] == "stages[3].pairs" and row["too_long"] == 0 for row in asked)
    notes = early_check(checked(160), [prompt("a")])["notes"]
    (note,) = [one for one in notes if one.startswith("stages[3].pairs")]
    assert "stages[3].rollouts.max_model_len (160) less max_tokens (100) and 1, 59 tokens" in note
    assert "they give no pairs" in note

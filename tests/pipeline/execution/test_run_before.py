"""A run folder of an earlier commit is still done today.

`run_before/` has its records, its plan and its recipe. When a change makes it stale on purpose (a
raised version, another format), make it again with that recipe, and say so in the commit."""

from pathlib import Path

import pytest

from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import inspect
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe

BEFORE = Path(__file__).parent / "run_before"
SETTINGS = {
    "runtime.stages.rl.rows_per_forward=1": set(),
    "runtime.execution.max_num_seqs=7": set(),
    "stages.sft.epochs=4": {"sft", "eval-sft", "rl", "eval-rl", "dpo", "eval-dpo"},
    "seed=8": {"prompts", "base", "filter", "sft", "rl", "dpo"}
    | {f"eval-{stage}" for stage in ("base", "sft", "rl", "dpo")},
}


def states(*settings):
    plan = build_plan(load_recipe(BEFORE / "nano.yaml", list(settings)))
    return {name: state.state for name, state in inspect(plan, BEFORE / "nano").items()}


def test_every_stage_of_an_earlier_run_is_done():
    assert set(states().values()) == {"done"} and len(states()) == 10
    assert [node.id for node in load_plan(BEFORE / "nano").nodes] == list(states())


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_changes_results_makes_it_stale_and_what_does_not_leaves_it(setting):
    stale = {name for name, state in states(setting).items() if state == "stale"}
    # What was made from a stale stage is stale only once that one was made again.
    directly = {"sft"} if "epochs" in setting else SETTINGS[setting]
    assert stale >= directly and stale <= SETTINGS[setting]

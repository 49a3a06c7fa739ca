"""What follows from the gates of a run: it stops, goes back to the parent, or goes on."""

import json
from pathlib import Path

import pytest

from builders.command_line import pretend
from common.files import read_json
from pipeline.cli.compare import rows_of
from pipeline.execution.prune import prunable
from pipeline.execution.run_folder import find_checkpoint, load_plan
from pipeline.execution.state import inspect
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe

PLAIN = "gates: [{suite: held_out, max_drop: 0.1}]"
BACK = (PLAIN, PLAIN.replace("0.1}", "0.1, then: parent}"))
ON = (BACK[0], BACK[1].replace("parent", "go_on"))
BAD_SFT = {"base": 9, "sft": 1, "more": 9}
RUN = Path("runs/small")


def with_gates(change, extra=""):
    text = Path("small.yaml").read_text()
    assert change[0] in text
    Path("small.yaml").write_text(text.replace(*change) + extra)


def state_of():
    plan = load_plan(RUN)
    return plan, inspect(plan, RUN)


def test_a_run_goes_on_from_the_parent_and_says_so(folder, uphill):
    with_gates(BACK)
    pretend(BAD_SFT)
    code, _, err = uphill("run", "small.yaml")
    assert code == 0 and "later stages go on from 'base' instead of 'sft'" in err
    states = state_of()[1]
    made = states["more"].record["inputs"]["checkpoint"]
    assert (made["stage"], made["instead_of"]) == ("base", "sft")
    assert states["more"].state == "done" and states["sft"].instead == "base"
    assert "later stages go on from 'base'" in uphill("status", "small")[1]
    assert uphill("verify", "small")[0] == 0


def test_what_comes_later_is_compared_with_where_it_started(folder, uphill):
    with_gates(BACK)
    pretend(BAD_SFT, finals={"base": 5, "sft": 1, "more": 6})
    rows = {row["stage"]: row for row in rows_of([RUN]) if row["suite"] == "held_out"}
    assert rows["more"]["delta"] == pytest.approx(0.1)
    assert rows["sft"]["delta"] == pytest.approx(-0.4)


def test_verdicts_are_recorded_with_their_figures(folder, uphill):
    with_gates(ON)
    pretend(BAD_SFT)
    code, _, err = uphill("run", "small.yaml")
    assert code == 0 and "the run goes on with it, as the gate says" in err
    base, sft, more = read_json(RUN / "gates.json")["verdicts"]
    assert [base["passed"], sft["passed"], more["passed"]] == [True, False, True]
    assert sft["parent"] == "base" and sft["change"]["delta"] == pytest.approx(-0.8)
    assert state_of()[1]["more"].record["inputs"]["checkpoint"]["stage"] == "sft"


def test_another_gate_makes_what_was_made_from_a_refused_checkpoint_stale(folder, uphill):
    with_gates(ON)
    pretend(BAD_SFT)
    assert uphill("run", "small.yaml")[0] == 0
    with_gates((ON[1], BACK[1]))
    code, _, err = uphill("run", "small.yaml")
    assert code == 2 and "was made from 'sft', and by the gates it is to be made from 'base'" in err
    assert "--redo more" in err


def test_the_last_checkpoint_of_a_run_is_one_that_no_gate_refused(folder, uphill):
    with_gates(BACK)
    pretend({"base": 2, "sft": 9, "more": 1})
    assert find_checkpoint("small", Path("runs")).node.id == "sft"
    assert find_checkpoint("small:more", Path("runs")).node.id == "more"


def test_weights_that_a_gate_may_go_back_to_are_kept(folder, uphill):
    with_gates(BACK)
    pretend(BAD_SFT, until="sft")
    keep = {"last": 1, "best": 0}
    plan, states = state_of()
    assert prunable(plan, states, keep) == []
    with_gates((BACK[1], ON[1]))
    plan = build_plan(load_recipe(Path("small.yaml")))
    assert [node.id for node in prunable(plan, inspect(plan, RUN), keep)] == ["base"]


def test_a_refused_start_has_no_parent_and_ends_the_run(folder, uphill):
    floor = "gates: [{suite: held_out, floor: 0.8, then: parent}]"
    with_gates((BACK[0], floor))
    pretend({"base": 1, "sft": 9, "more": 9})
    code, _, err = uphill("run", "small.yaml")
    assert code == 3 and "there is no parent to go back to" in err


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ("[{suite: gsm8k, floor: 0.1}]", "evaluate.gates[0].suite: 'gsm8k' is not among"),
        ("[{suite: held_out, floor: 0.1, after: [rl]}]", "evaluate.gates[0].after[0]: 'rl' is not"),
        ("[{suite: held_out, floor: 0.1, after: [base], then: parent}]", "'base' has no parent"),
        ("[{suite: held_out}]", "without them every score passes"),
    ],
)
def test_gates_that_cannot_be_asked_are_refused(folder, uphill, gates, told):
    with_gates((BACK[0], f"gates: {gates}"))
    code, out, err = uphill("check", "small.yaml", "--json")
    assert code == 2 and told in err and json.loads(out)["error"]["exit_code"] == 2

"""Gates: what they hold on to, what is in doubt, and the messages."""

import numpy as np
import pytest
from pydantic import ValidationError

from common.errors import BadInput, GateStopped
from evals.gate import require_score, verdict
from evals.gate_config import GateConfig
from evals.parts import DevScores
from evals.units import Unit, score_of_units


def results(right, n=100, cut_off=0):
    return answers([number < right for number in range(n)], cut_off)


def answers(right, cut_off=0):
    units = {str(number): Unit(float(own), str(number)) for number, own in enumerate(right)}
    n = len(units)
    score, low, high = score_of_units(list(units.values()))
    figures = {"score": score, "low": low, "high": high, "n": n, "cut_off": cut_off}
    return DevScores({"held_out": {**figures, "faults": 0}}, {"held_out": units})


def asked(before, after, **fields):
    gate = GateConfig(suite="held_out", **fields)
    return verdict(gate, "rl", after, "sft", before)


@pytest.mark.parametrize(
    ("was", "now", "in_doubt", "passed"),
    [
        (50, 48, "pass", True),  # within what the gate allows
        (50, 46, "pass", True),  # 4 points, which could be 2
        (50, 20, "pass", False),
        (50, 90, "pass", True),
        (50, 48, "fail", False),  # could be more than 2
        (50, 70, "fail", True),
    ],
)
def test_a_drop_is_judged_by_the_bound_of_its_interval(was, now, in_doubt, passed):
    said = asked(results(was), results(now), max_drop=0.02, in_doubt=in_doubt)
    assert said.passed == passed
    assert said.change.delta == pytest.approx((now - was) / 100)
    limit = said.change.high if in_doubt == "pass" else said.change.low
    assert passed == (limit >= -0.02)


def test_not_below_its_parent_is_a_drop_of_zero():
    assert asked(results(50), results(50), max_drop=0).passed
    assert not asked(results(50), results(40), max_drop=0).passed


@pytest.mark.parametrize(
    ("right", "in_doubt", "passed", "told"),
    [
        (50, "pass", True, ""),
        (28, "pass", True, "in doubt it passes"),
        (10, "pass", False, "the floor is 0.3"),
        (35, "fail", False, "in doubt it fails"),
        (60, "fail", True, ""),
    ],
)
def test_a_floor_is_judged_by_the_bound_of_the_scores_interval(right, in_doubt, passed, told):
    said = asked(None, results(right), floor=0.3, in_doubt=in_doubt)
    assert said.passed == passed and told in said.message and bool(told) == bool(said.message)


def test_a_failure_names_both_scores_the_difference_and_what_to_do():
    said = asked(results(50), results(20), max_drop=0.02, floor=0.01)
    assert "went from 0.500 [0.404, 0.596] (n = 100) to 0.200" in said.message
    assert "a difference of -0.300 [" in said.message and "floor" not in said.message
    assert "lower the learning rate" in said.remedy and "then: parent" in said.remedy
    with pytest.raises(BadInput, match="gsm8k"):
        verdict(GateConfig(suite="gsm8k", floor=0.1), "rl", results(9))


def test_a_drop_that_could_not_be_looked_for_is_told():
    said = asked(None, results(20), max_drop=0.02)
    assert said.passed and "the evaluation of 'sft' is not done" in said.message


def ungraded(faults):
    return DevScores({"held_out": {"score": None, "n": 0, "faults": faults}})


def test_a_missing_score_does_not_pass_a_gate():
    require_score(results(0), "held_out", "sft")
    with pytest.raises(GateStopped, match=r"held_out has no score after 'sft'"):
        require_score(ungraded(faults=3), "held_out", "sft")
    with pytest.raises(GateStopped, match="no prompt is in its dev part"):
        asked(results(1), ungraded(faults=0), floor=0.5, then="go_on")


@pytest.mark.parametrize(("cut_off", "named"), [(40, True), (12, False)])
def test_a_drop_from_cut_off_answers_names_the_length_first(cut_off, named):
    said = asked(results(50, cut_off=10), results(20, cut_off=cut_off), max_drop=0.02)
    longer = "raise the suite's max_tokens: 40 answers were cut off, 10 before"
    assert said.remedy.startswith(longer) == named


def test_a_gate_that_asks_nothing_is_refused():
    with pytest.raises(ValidationError, match="without them every score passes"):
        GateConfig(suite="held_out", then="parent")


def test_an_unchanged_checkpoint_is_seldom_stopped_and_a_point_would_stop_it_often():
    rng, stopped, below = np.random.default_rng(20261128), 0, 0
    for _ in range(300):
        before = rng.random(200) < 0.5
        after = np.where(rng.random(200) < 0.4, rng.random(200) < 0.5, before)
        said = asked(answers(before), answers(after), max_drop=0.02)
        stopped += not said.passed
        below += said.change.delta < -0.02
    assert stopped <= 0.025 * 300 and below >= 0.15 * 300, (stopped, below)

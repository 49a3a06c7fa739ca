"""Gates: how far a score may fall, and the message when it falls further."""

import pytest

from common.errors import BadInput, GateStopped
from evals.gate import check_gate, require_score
from evals.parts import DevScores


def results(score, cut_off=0):
    bounds = {"low": score - 0.1, "high": score + 0.1, "n": 100, "cut_off": cut_off}
    return DevScores({"held_out": {"score": score, **bounds}})


def test_gate_allows_exactly_the_drop_and_names_both_scores():
    check_gate(results(0.50), results(0.48), "held_out", 0.02)
    check_gate(results(0.50), results(0.90), "held_out", 0.0)
    with pytest.raises(GateStopped, match=r"0\.500 \[0\.400, 0\.600\].*0\.470 \[0\.370, 0\.570\]"):
        check_gate(results(0.50), results(0.47), "held_out", 0.02)
    with pytest.raises(BadInput, match="gsm8k"):
        check_gate(results(0.5), results(0.5), "gsm8k", 0.02)


def ungraded(faults):
    return DevScores({"held_out": {"score": None, "n": 0, "faults": faults}})


def test_a_missing_score_does_not_pass_a_gate():
    require_score(results(0.0), "held_out", "sft")
    with pytest.raises(GateStopped, match=r"held_out has no score after 'sft'"):
        require_score(ungraded(faults=3), "held_out", "sft")
    with pytest.raises(GateStopped, match="no prompt is in its dev part"):
        require_score(ungraded(faults=0), "held_out", "sft")


@pytest.mark.parametrize(("cut_off", "named"), [(40, True), (12, False)])
def test_a_drop_from_cut_off_answers_names_the_length_first(cut_off, named):
    with pytest.raises(GateStopped) as caught:
        check_gate(results(0.50, 10), results(0.30, cut_off), "held_out", 0.02)
    longer = "raise the suite's max_tokens: 40 answers were cut off, 10 before"
    assert caught.value.remedy.startswith(longer) == named

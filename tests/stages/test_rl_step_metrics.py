"""The figures of an RL step: means over the tokens of all passes, and totals that resume."""

import pytest

from rollouts.interface import Rollout
from stages.rl.collector import StepBatch
from stages.rl.passes import Part
from stages.rl.step_metrics import StepMetrics, TokenTotals, trained_tokens


def part(prompt, *completions):
    rollouts = [Rollout([5] * n, [0.0] * n, "", "stop") for n in completions]
    return Part([1] * prompt, rollouts, [0.0] * len(rollouts))


def test_a_mean_is_over_the_tokens_of_all_passes_and_a_largest_value_over_the_passes():
    metrics = StepMetrics()
    metrics.update({"reward": 0.5})
    for mean, tokens, largest in ((1.0, 30, 2.0), (2.0, 10, 1.0)):
        metrics.add_mean("entropy", mean, tokens)
        metrics.add_largest("gap", largest)
    assert metrics.take() == {"reward": 0.5, "entropy": pytest.approx(1.25), "gap": 2.0}
    assert metrics.take() == {}
    metrics.add_mean("entropy", 3.0, 5)
    assert metrics.take() == {"entropy": 3.0}


def test_a_shared_prompt_counts_once_per_row():
    shared, apart = part(10, 3, 4), part(2, 8, 9)
    assert trained_tokens(StepBatch(passes=[[shared], [apart]])) == (10 + 7) + (2 + 8 + 2 + 9)


def test_token_totals_continue_from_the_last_logged_step():
    step = StepBatch(passes=[[part(10, 3, 4)]])
    assert TokenTotals([]).add(step)["tokens_trained_total"] == 17
    logged = {"tokens_generated_total": 7.0, "tokens_trained_total": 17.0}
    totals = TokenTotals([{"tokens_trained_total": 9.0}, logged])
    assert totals.add(step) == {"tokens_generated_total": 7.0, "tokens_trained_total": 34.0}
    assert totals.add(step)["tokens_trained_total"] == 51

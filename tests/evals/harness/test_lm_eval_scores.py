"""lm-eval's results in the form of our suites' results."""

import pytest

from common.intervals import wilson
from evals.harness.lm_eval_scores import harness_table, suites_of

SAMPLES = [{"filter": "none", "acc": float(n < 3), "f1": n / 10} for n in range(10)]
READ = [
    {"filter": name, "exact_match": float(n < right)}
    for name, right in (("strict", 5), ("flexible", 8))
    for n in range(10)
]
RESULTS = {
    "results": {
        "colours": {
            "alias": "colours",
            "acc,none": 0.3,
            "acc_stderr,none": 0.15,
            "f1,none": 0.45,
            "f1_stderr,none": 0.1,
        },
        "sums": {"alias": "sums", "exact_match,strict": 0.5, "exact_match_stderr,strict": "N/A"},
        "text": {"word_perplexity,none": 31.5, "word_perplexity_stderr,none": "N/A"},
        "all": {"acc,none": 0.3, "acc_stderr,none": 0.15},
    },
    "group_subtasks": {"all": ["colours", "sums"]},
    "n-samples": {name: {"original": 99, "effective": 10} for name in ("colours", "sums", "text")},
    "samples": {
        "colours": SAMPLES,
        "sums": READ,
        "text": [{"filter": "none", "word_perplexity": (-3.1, 9)}],
    },
}


def test_right_or_wrong_has_wilsons_interval_and_other_metrics_that_of_the_error():
    suites = suites_of(RESULTS)
    acc = suites["lm-eval/colours/acc"]["final"]
    assert (acc["score"], acc["n"]) == (0.3, 10)
    assert (acc["low"], acc["high"]) == wilson(3, 10)
    f1 = suites["lm-eval/colours/f1"]["final"]
    assert (f1["low"], f1["high"]) == pytest.approx((0.45 - 0.196, 0.45 + 0.196), abs=1e-4)
    assert suites["lm-eval/all/acc"]["final"]["n"] == 20


def test_the_table_has_a_row_for_each_metric_and_no_per_cent_of_a_perplexity():
    assert harness_table({"suites": suites_of(RESULTS)}) == [
        ["suite (%)", "n", "score"],
        ["lm-eval/colours/acc", "10", "30.0 [10.8, 60.3]"],
        ["lm-eval/colours/f1", "10", "45.0 [25.4, 64.6]"],
        ["lm-eval/sums/exact_match,strict", "10", "50.0 [23.7, 76.3]"],
        ["lm-eval/text/word_perplexity", "10", "31.5000 (no share)"],
        ["lm-eval/all/acc", "20", "30.0 [0.6, 59.4]"],
    ]

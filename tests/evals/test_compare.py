"""The comparison of evaluations, each against its parent."""

import pytest

from builders.evaluations import evaluation
from common.errors import BadInput
from evals.compare import Evaluation, compare_rows
from evals.intervals import paired_difference


def test_compare_pairs_child_with_parent(tmp_path, monkeypatch):
    folders = []
    for name, right in (("one", {0, 1, 2}), ("two", {1, 2, 3, 4})):
        folder, _, start = evaluation(tmp_path, monkeypatch, name, right)
        start()
        folders.append(folder)
    rows = compare_rows(
        [
            Evaluation("base", None, "r:base", folders[0]),
            Evaluation("sft", "base", "r:sft", folders[1]),
        ]
    )
    assert [row["suite"] for row in rows] == ["held_out", "held_out/even", "held_out/odd"] * 2
    assert all(row["delta"] is None for row in rows[:3])
    # Of the prompts 0 to 5 the final part has 3 and 5, the dev part the others.
    whole, even, odd = rows[3:]
    assert (whole["delta"], whole["delta_low"], whole["delta_high"]) == paired_difference(
        0, 1, 0, 1
    )
    assert (whole["score"], whole["n"], even["n"], even["delta"]) == (0.5, 2, 2, 0.5)
    assert (odd["score"], odd["n"], odd["delta"]) == (None, 0, None)
    assert (rows[0]["score"], rows[0]["dev"]["score"], rows[0]["dev"]["n"]) == (0.0, 0.75, 4)
    assert (whole["dev"]["score"], odd["dev"]["n"]) == (0.75, 3)
    assert list(whole) == [
        "checkpoint",
        "stage",
        "suite",
        "score",
        "low",
        "high",
        "n",
        "delta",
        "delta_low",
        "delta_high",
        "dev",
    ]


def test_compare_without_files_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match=r"answers.jsonl"):
        compare_rows([Evaluation("base", None, "b", tmp_path)])

"""The comparison of evaluations, each against its parent."""

import pytest

from builders.evaluations import evaluation
from common.errors import BadInput
from common.files import write_json, write_json_lines
from evals.answer import Answer
from evals.compare import Evaluation, compare_rows
from evals.figures import shown_parts, summaries
from evals.intervals import paired_difference
from evals.parts import FINAL, part_of
from pipeline.cli.compare import compare_remarks, compare_table


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
        "p",
        "detectable",
        "dev",
        "p_adjusted",
        "verdict",
    ]
    assert "p" not in rows[0]


def written(folder, suites):
    """An evaluation whose final parts have the given answers by suite."""
    folder.mkdir()
    rows, results = [], {}
    for suite, right in suites.items():
        answers = [
            Answer(suite, id, "c", correct, None, None, "r", "t", 1, "stop")
            for id, correct in zip(IDS, right, strict=False)
        ]
        rows += [one.to_json() for one in answers]
        results[suite] = summaries(answers)
    write_json_lines(folder / "answers.jsonl", rows)
    write_json(folder / "results.json", {"suites": results})
    return folder


IDS = [name for name in (f"p{n}" for n in range(200)) if part_of(name) == FINAL][:60]


def test_a_checkpoint_is_better_or_worse_only_after_correction_for_the_suites(tmp_path):
    before = {name: [False] * 20 + [True] * 20 for name in ("one", "two", "three")}
    after = {
        "one": [True] * 10 + [False] * 10 + [True] * 20,  # 10 gained: p = 0.002
        "two": [True] * 6 + [False] * 14 + [True] * 20,  # 6 gained: p = 0.031, and 0.063 of two
        "three": [False] * 20 + [True] * 20,
    }
    folders = [written(tmp_path / "a", before), written(tmp_path / "b", after)]
    rows = compare_rows(
        [
            Evaluation("base", None, "r/b/b", folders[0]),
            Evaluation("s", "base", "r/s/c", folders[1]),
        ]
    )
    ours = {row["suite"]: row for row in rows if row["stage"] == "s"}
    assert {name: row["verdict"] for name, row in ours.items()} == {
        **{"one": "better", "two": None, "three": None}
    }
    assert ours["two"]["p"] == pytest.approx(0.03125)
    assert ours["two"]["p_adjusted"] == pytest.approx(0.0625)
    turned = compare_rows(
        [
            Evaluation("base", None, "r/b/b", folders[1]),
            Evaluation("s", "base", "r/s/c", folders[0]),
        ]
    )
    assert [row["verdict"] for row in turned[3:]] == ["worse", None, None]
    table = compare_table(rows, several=False)
    assert [row[-1].endswith("*") for row in table[1:]] == [True, False, False]
    said = compare_remarks(rows)
    assert "exact McNemar test" in said[0] and "one " in said[1] and "points" in said[1]
    assert compare_remarks(rows[:3]) == []


def test_compare_without_files_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match=r"answers.jsonl"):
        compare_rows([Evaluation("base", None, "b", tmp_path)])


@pytest.mark.parametrize(
    ("suite", "count", "shown"),
    [("held_out", 1, 1), ("gsm8k", 1, 0), ("sycophancy", 3, 3), ("mmlu", 57, 0)],
)
def test_tables_show_capabilities_where_they_are_few(suite, count, shown):
    part = {"n": 9, "by_capability": {str(number): {"n": 1} for number in range(count)}}
    found = shown_parts(suite, part)
    assert found[suite] is part and len(found) == 1 + shown

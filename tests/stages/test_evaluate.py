"""The evaluate stage on an engine that answers from a script."""

import json

import pytest

from builders.contexts import stage_context
from builders.evaluations import evaluation
from common.errors import BadInput, Interrupted
from common.files import read_json, read_json_lines
from evals.parts import PARTS
from stages.evaluate.config import EvaluateStage
from stages.evaluate.run import run


def test_stage_writes_results_and_answers(tmp_path, monkeypatch):
    folder, engine, start = evaluation(tmp_path, monkeypatch, "one", {0, 1, 2})
    outputs = start()
    results = read_json(folder / "results.json")
    parts, figures = results["suites"]["held_out"], outputs.metrics["held_out"]
    # Right are 0, 1 and 2; the final part has 3 and 5.
    assert parts["final"]["score"] == figures["score"] == 0.0 and parts["final"]["n"] == 2
    assert parts["dev"]["score"] == figures["dev"]["score"] == 0.75 and set(parts) == set(PARTS)
    assert "by_capability" in parts["dev"] and "by_capability" not in figures["dev"]
    assert (
        results["protocol"]["shots"] == 0
        and results["protocol"]["suites"]["held_out"]["max_tokens"] == 64
    )
    rows = read_json_lines(folder / "answers.jsonl")
    assert [row["correct"] for row in rows] == [True] * 3 + [False] * 3
    assert [row["part"] for row in rows] == ["dev"] * 3 + ["final", "dev", "final"]
    assert rows[5]["text"] == "no" and rows[5]["reference"] == "a5" and rows[5]["finish"] == "stop"
    assert outputs.tokens_generated == 12 and engine.closed
    assert json.loads((folder / "answers.jsonl").read_text().splitlines()[0])["suite"] == "held_out"


def test_prompts_that_do_not_fit_are_told_and_end_nothing(tmp_path, monkeypatch, capsys):
    folder, _, start = evaluation(tmp_path, monkeypatch, "one", {0, 1, 2}, max_model_len=66)
    figures = start().metrics["held_out"]
    assert (figures["too_long"], figures["dev"]["too_long"]) == (2, 4)
    assert (folder / "results.json").exists()
    assert "held_out: 6 of 6 prompts leave no room" in capsys.readouterr().out


def test_stopped_stage_leaves_nothing(tmp_path, monkeypatch):
    folder, engine, start = evaluation(
        tmp_path, monkeypatch, "one", set(), stop=True, execution={"max_num_seqs": 1}
    )
    with pytest.raises(Interrupted):
        start()
    assert engine.closed and not list(folder.iterdir())


def test_suite_named_twice_is_refused(tmp_path):
    suites = ["held_out", {"name": "held_out", "limit": 3}]
    config = EvaluateStage.model_validate({"id": "e", "of": "base", "suites": suites})
    with pytest.raises(BadInput, match="named twice"):
        run(config, {}, stage_context(tmp_path, 5))

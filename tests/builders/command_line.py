"""The command line in this process, and a small run whose stages are pretended."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builders.recipe_texts import write_rows
from common.files import write_json
from pipeline.cli.commands import run_command
from pipeline.execution.attempt import Attempt, finish, prepare
from pipeline.execution.run_folder import save_plan
from pipeline.execution.state import input_records, inspect
from pipeline.planning.plan import build_plan, folder_of
from pipeline.recipe.load import load_recipe

RECIPE = """\
name: small
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.5}
stages:
  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}
  - {id: more, kind: sft, from: sft, on: prompts, learning_rate: 1e-4}
evaluate: {suites: [held_out], after: [base, sft, more], gate: {suite: held_out, max_drop: 0.1}}
"""


NOTHING = {
    "config": {},
    "metrics": {},
    "tokens_generated": 1,
    "tokens_trained": 2,
    "peak_memory_mib": 3,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a recipe and its prompts."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(RECIPE)
    write_rows(Path("mine.jsonl"), "abcdefgh")
    return tmp_path


@pytest.fixture
def uphill(monkeypatch, capfd):
    """Runs a command line here; gives the exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["uphill", *words])
        code = run_command()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return run


def pretend(scores, until=None):
    """Finish the stages of the recipe as their workers would; `scores` are right answers of ten by
    stage."""
    plan = build_plan(load_recipe(Path("small.yaml")))
    run = Path("runs/small")
    run.mkdir(parents=True, exist_ok=True)
    save_plan(run, plan)
    for node in plan.nodes:
        states = inspect(plan, run)
        inputs = {name: states[stage].folder for name, stage in node.inputs.items()}
        made_from = input_records(node, states)
        attempt = Attempt(node, folder_of(node, run), inputs, made_from, {}, datetime.now(UTC))
        attempt, _ = prepare(attempt)
        if node.kind == "evaluate":
            pretend_evaluation(attempt.partial, scores[node.inputs["checkpoint"]])
        elif node.kind != "prompts":
            (attempt.partial / "checkpoint").mkdir()
            (attempt.partial / "checkpoint" / "config.json").write_text("{}")
            (attempt.partial / "checkpoint" / "model.safetensors").write_bytes(node.id.encode())
        finish(attempt, NOTHING)
        if node.id == until:
            return


def pretend_evaluation(folder, right):
    answer = {"suite": "held_out", "capability": "words", "fault": None}
    rows = [json.dumps({**answer, "id": str(i), "correct": i < right}) + "\n" for i in range(10)]
    (folder / "answers.jsonl").write_text("".join(rows))
    score = {
        "score": right / 10,
        "low": max(0, right - 2) / 10,
        "high": min(10, right + 2) / 10,
        "n": 10,
    }
    score = score if right >= 0 else {"score": None, "low": 0.0, "high": 1.0, "n": 0}
    write_json(
        folder / "results.json",
        {"suites": {"held_out": {**score, "by_capability": {"words": score}}}},
    )


@pytest.fixture
def answered(monkeypatch):
    """Evaluations without an engine; gives the suites and inputs of those that were run, by folder
    name."""
    asked = {}

    def run_attempt(attempt, title, signals, reporter):
        assert (attempt.inputs["checkpoint"] / "checkpoint" / "model.safetensors").is_file()
        asked[attempt.folder.name] = (
            [suite["name"] for suite in attempt.node.config["suites"]],
            sorted(attempt.inputs),
        )
        attempt, _ = prepare(attempt)
        pretend_evaluation(attempt.partial, 7)
        finish(attempt, NOTHING)

    monkeypatch.setattr("pipeline.cli.evaluate.run_attempt", run_attempt)
    return asked

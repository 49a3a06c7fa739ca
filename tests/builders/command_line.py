"""The command line in this process, and a small run whose stages are pretended."""

import itertools
import sys
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from builders.recipe_texts import write_rows
from common.files import write_json, write_json_lines
from evals.parts import DEV, FINAL, PARTS, part_of
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
evaluate: {suites: [held_out], after: [base, sft, more], gates: [{suite: held_out, max_drop: 0.1}]}
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


def pretend(scores, until=None, finals=None):
    """Finish the stages of the recipe as their workers would; `scores` are right answers of ten by
    stage, in both parts of the suite unless `finals` has those of the final part."""
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
            stage = node.inputs["checkpoint"]
            pretend_evaluation(attempt.partial, scores[stage], (finals or scores)[stage])
        elif node.kind != "prompts":
            (attempt.partial / "checkpoint").mkdir()
            (attempt.partial / "checkpoint" / "config.json").write_text("{}")
            (attempt.partial / "checkpoint" / "model.safetensors").write_bytes(node.id.encode())
        finish(attempt, NOTHING)
        if node.id == until:
            return


def pretend_evaluation(folder, dev, final):
    """An evaluation with `dev` and `final` right answers of ten in each part; -1: no score."""
    names = {part: ids_in(part, 10) for part in PARTS}
    write_json_lines(
        folder / "answers.jsonl",
        [
            {
                "suite": "held_out",
                "capability": "words",
                "fault": None,
                "id": id,
                "correct": n < own,
            }
            for part, own in ((DEV, dev), (FINAL, final))
            for n, id in enumerate(names[part])
        ],
    )
    parts = {DEV: score_of(dev), FINAL: score_of(final)}
    write_json(folder / "results.json", {"suites": {"held_out": parts}})


def ids_in(part, count):
    """Names of prompts of a part."""
    return list(islice((str(n) for n in itertools.count() if part_of(str(n)) == part), count))


def score_of(right):
    low, high = max(0, right - 2) / 10, min(10, right + 2) / 10
    score = {"score": right / 10, "low": low, "high": high, "n": 10, "faults": 0}
    if right < 0:
        score = {"score": None, "low": 0.0, "high": 1.0, "n": 0, "faults": 10}
    return {**score, "by_capability": {"words": score}}


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
        pretend_evaluation(attempt.partial, 4, 7)
        finish(attempt, NOTHING)

    monkeypatch.setattr("pipeline.cli.subject.run_attempt", run_attempt)
    return asked

"""`uphill eval --lm-eval`, whose package is optional, and what the command refuses."""

import importlib.util
import json
from pathlib import Path

import pytest

from builders.command_line import NOTHING, pretend
from common.files import write_json
from evals.harness import lm_eval_run
from pipeline.execution.attempt import finish, prepare


@pytest.fixture
def without_lm_eval(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lm_eval" else find(name)
    )


@pytest.fixture
def evaluated(monkeypatch):
    """Evaluations by tasks without an engine; gives the configs of those that were run."""
    configs = []

    def run_attempt(attempt, title, signals, reporter):
        configs.append(attempt.node.config)
        attempt, _ = prepare(attempt)
        figure = {"score": 0.5, "low": 0.4, "high": 0.6, "share": True, "n": 9}
        suites = {"lm-eval/sciq/acc": {"final": figure}}
        write_json(attempt.partial / "results.json", {"suites": suites, "protocol": {}})
        finish(attempt, {**NOTHING, "config": attempt.node.config})

    monkeypatch.setattr("pipeline.cli.subject.run_attempt", run_attempt)
    monkeypatch.setattr("pipeline.cli.harness.lm_eval_version", lambda: "0.4.13")
    return configs


def test_a_missing_package_is_said_before_anything_is_looked_for(uphill, folder, without_lm_eval):
    code, _, err = uphill("eval", "nowhere", "--lm-eval", "arc_easy")
    assert code == 2 and "lm-eval is not installed" in err and "make setup-lm-eval" in err
    assert not Path("runs").exists()


def test_suites_and_tasks_exclude_each_other(uphill, folder):
    assert "either --suite or --lm-eval" in uphill("eval", "small")[2]
    assert uphill("eval", "small", "--suite", "gsm8k", "--lm-eval", "gsm8k")[0] == 2
    code, _, err = uphill("eval", "small", "--suite", "gsm8k", "--limit", "5")
    assert code == 2 and "--limit: only for --lm-eval" in err


def test_a_task_is_evaluated_once_and_again_under_other_settings(uphill, folder, evaluated):
    pretend({"base": 2, "sft": 5, "more": 7})
    words = ("eval", "small:sft", "--lm-eval", "sciq", "--limit", "9")
    code, out, err = uphill(*words)
    assert code == 0 and "lm-eval/sciq/acc  9  50.0 [40.0, 60.0]" in out, err
    assert json.loads(uphill(*words, "--json")[1])["path"].endswith("sft+lm-eval+sciq+limit=9")
    assert len(evaluated) == 1 and evaluated[0]["limit"] == 9
    code, _, err = uphill(*words, "--num-fewshot", "2")
    assert code == 2 and "num_fewshot" in err and "name another folder with --out" in err


def test_changed_tasks_of_ones_own_are_another_evaluation(uphill, folder, evaluated):
    pretend({"base": 2, "sft": 5, "more": 7})
    Path("tasks").mkdir()
    Path("tasks/mine.yaml").write_text("task: mine")
    words = ("eval", "small:sft", "--lm-eval", "mine", "--tasks-path", "tasks")
    assert uphill(*words)[0] == 0
    Path("tasks/mine.yaml").write_text("task: mine\nnum_fewshot: 1")
    assert "tasks_content" in uphill(*words)[2] and len(evaluated) == 1
    assert uphill(*words[:-1], "nowhere")[0] == 2 and uphill("eval", "small", "--lm-eval", "a,a")[0]


def test_the_lock_changes_no_version_and_has_the_one_that_is_documented():
    root = Path(lm_eval_run.__file__).parents[2]
    ours, theirs = (_locked(root / "requirements" / name) for name in ("cpu.lock", "lm-eval.lock"))
    assert theirs and not ours.keys() & theirs.keys()
    assert theirs["lm-eval"] == "0.4.13"


def _locked(path):
    lines = [line for line in path.read_text().splitlines() if "==" in line and line[0] != "#"]
    pairs = [line.split("==") for line in lines]
    return {name.lower().replace("_", "-"): version for name, version in pairs}

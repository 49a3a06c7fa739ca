"""Stages as forks of one process that has imported what they need."""

import json
import os
import signal
import time

import pytest

from builders.processes import children, cmdline, gone
from builders.toy_runs import ONE, SLOW, found_in, places, start, states, wait_for
from builders.toy_stages import FORKED, ToyStage
from common.execution import ExecutionConfig
from pipeline.execution.forked import ENGINE, Nursery
from pipeline.planning.plan import make_node
from stages.base.config import BaseStage
from stages.evaluate.config import EvaluateStage
from stages.prompts.config import PromptsStage
from stages.sft.config import SftStage


@pytest.fixture
def forked(monkeypatch):
    monkeypatch.setenv(FORKED, "1")
    monkeypatch.setattr(ToyStage, "imports_torch", True)


def nurseries(process):
    return [one for one in children(process) if "pipeline.execution.nursery" in cmdline(one)]


def begun(path, seconds=20):
    wait_for(path / "resume" / "step", seconds)


def test_one_process_forks_every_stage_and_is_gone_with_the_run(tmp_path, forked):
    process = start(tmp_path, [ONE, {**SLOW, "steps": 40}])
    begun(tmp_path / "02-two.partial")
    [nursery] = nurseries(process.pid)
    [fork] = children(nursery)
    assert children(process.pid) == [nursery]
    assert process.wait(20) == 0 and gone([nursery, fork])
    (place,) = places(tmp_path / "02-two")
    assert place["pid"] == fork and place["omp"] == str(len(os.sched_getaffinity(0)))
    # What the second stage printed is in its own log: the first one's was finished.
    assert "two" not in (tmp_path / "01-one" / "stage.log").read_text()
    assert found_in(tmp_path) == ""


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        ("crash", 1, ["'one' crashed (exit code 1)", "| ValueError: the toy broke"]),
        ("bad_input", 2, ["row 3 is broken", "mend row 3"]),
        ("killed", 1, ["killed by SIGKILL (9)"]),
        ("aborted", 1, ["SIGABRT"]),
        ("quiet", 1, ["without a result"]),
    ],
)
def test_a_fork_that_goes_wrong_is_told_as_any_process(tmp_path, toy, forked, ending, code, words):
    spec = {**ONE, "ending": ending}
    found, stderr = toy([spec])
    assert found == code and all(word in stderr for word in words), stderr
    assert states(tmp_path, [spec]) == {"one": "failed"} and nurseries(os.getpid()) == []
    assert toy([ONE])[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_a_fork(tmp_path, forked, number):
    process = start(tmp_path, [{**ONE, "steps": 200}])
    begun(tmp_path / "01-one.partial")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "the toy was stopped" in stderr


@pytest.mark.parametrize("how", ["a second signal", "its grace is over", "it says nothing"])
def test_a_fork_that_does_not_stop_is_ended(tmp_path, forked, how):
    options = {
        "a second signal": (),
        "its grace is over": ("--grace", "1"),
        "it says nothing": ("--runtime", '{"stall_minutes": 0.02}'),
    }[how]
    process = start(tmp_path, [{**ONE, "ending": "deaf"}], *options)
    begun(tmp_path / "01-one.partial")
    [nursery] = nurseries(process.pid)
    forks = children(nursery)
    if how != "it says nothing":
        process.terminate()
    if how == "a second signal":
        time.sleep(0.5)
        process.terminate()
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == (1 if how == "it says nothing" else 130), stderr
    assert len(forks) == 1 and gone([nursery, *forks])


@pytest.mark.parametrize("victim", ["runner", "nursery", "fork"])
def test_whoever_is_killed_nothing_is_left_and_the_run_goes_on(tmp_path, toy, forked, victim):
    specs = [ONE, {**SLOW, "steps": 60}]
    process = start(tmp_path, specs)
    begun(tmp_path / "02-two.partial")
    [nursery] = nurseries(process.pid)
    [fork] = children(nursery)
    os.kill({"runner": process.pid, "nursery": nursery, "fork": fork}[victim], signal.SIGKILL)
    _, stderr = process.communicate(timeout=15)
    assert gone([nursery, fork])
    if victim != "runner":
        assert process.returncode == 1 and "killed by SIGKILL (9)" in stderr
    assert toy(specs)[0] == 0 and found_in(tmp_path) == ""
    lines = (tmp_path / "02-two" / "starts.jsonl").read_text().splitlines()
    begins = [json.loads(line)["from"] for line in lines]
    assert len(begins) == 2 and begins[0] == 0 < begins[1]


def test_a_nursery_that_cannot_start_is_told(tmp_path, toy, forked, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    code, stderr = toy([ONE])
    assert code == 1 and "stages are forked ended before" in stderr and "stage.log" in stderr


def fork_of(config, execution=None):
    return Nursery().fork_of(make_node(config, 0, None, "01-one", execution=execution), 2)


def modules(fork):
    return fork.args[0]["modules"]


def test_what_imports_no_torch_and_what_has_a_gpu_gets_a_process_of_its_own(monkeypatch):
    base = BaseStage.model_validate({"id": "base", "kind": "base", "model": {"preset": "nano"}})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked = EvaluateStage.model_validate({"id": "e", "of": "base", "suites": ["held_out"]})
    assert modules(fork_of(base)) == ["stages.base.run"]
    assert modules(fork_of(asked)) == ["stages.evaluate.run", ENGINE]
    several = ExecutionConfig.model_validate({"devices": {"processes": 2, "sharding": "ddp"}})
    sft = SftStage.model_validate({"id": "sft", "kind": "sft", "on": "prompts", "learning_rate": 1})
    assert modules(fork_of(sft)) == ["stages.sft.run"] and fork_of(sft, several) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert fork_of(base) is None
    assert not PromptsStage.imports_torch and not ToyStage.imports_torch

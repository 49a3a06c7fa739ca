"""How runs end before their end: signals, limits, faults of the machine and of the stages."""

import json
import shutil
import signal
import time

import pytest

from builders.toy_runs import ONE, SLOW, TESTS, TWO, found_in, start, states, toy_plan, wait_for
from common.errors import RunFailed
from common.files import files_below
from pipeline.execution.ending import Ending
from pipeline.execution.progress import Reporter
from pipeline.execution.request import RunRequest
from pipeline.execution.runner import run_plan


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_with_130(tmp_path, number):
    process = start(tmp_path, [{**ONE, "steps": 200}])
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "the toy was stopped" in stderr
    assert (tmp_path / "01-one.partial" / "resume" / "step").exists()
    assert states(tmp_path, [{**ONE, "steps": 200}]) == {"one": "todo"}


def test_a_second_signal_stops_at_once(tmp_path):
    process = start(tmp_path, [{**ONE, "ending": "deaf"}])
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    process.terminate()
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130 and "was stopped" in stderr


def test_a_stage_that_does_not_stop_in_time_is_ended(tmp_path):
    process = start(tmp_path, [{**ONE, "ending": "deaf"}], "--grace", "1")
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    begin = time.monotonic()  # before: a loaded machine may stop this process after the next line
    process.terminate()
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130 and "was stopped" in stderr
    assert time.monotonic() - begin >= 1


def test_a_stage_that_says_nothing_any_more_is_ended(tmp_path, toy):
    code, stderr = toy([{**ONE, "ending": "deaf"}], "--runtime", '{"stall_minutes": 0.02}')
    assert code == 1 and "made no progress for runtime.stall_minutes" in stderr
    assert states(tmp_path, [ONE]) == {"one": "failed"}


def test_a_run_ends_with_its_hours_and_goes_on_with_more(tmp_path, toy):
    specs = [ONE, {**SLOW, "steps": 60}]
    code, stderr = toy(specs, "--budget", json.dumps({"hours": 2.2 / 3600}))
    assert code == 3 and "the budget is spent in stage 'two'" in stderr and "budget.hours" in stderr
    assert states(tmp_path, specs) == {"one": "done", "two": "todo"}
    code, stderr = toy(specs, "--budget", json.dumps({"hours": 2.2 / 3600}))
    assert code == 3 and "the budget is spent before stage 'two'" in stderr
    assert toy(specs, "--budget", json.dumps({"hours": 1}))[0] == 0
    begins = [
        json.loads(line)["from"]
        for line in (tmp_path / "02-two" / "starts.jsonl").read_text().splitlines()
    ]
    assert len(begins) == 2 and begins[0] == 0 < begins[1]


def test_a_run_ends_with_its_tokens(tmp_path, toy):
    specs = [ONE, TWO, {"id": "three"}]
    code, stderr = toy(specs, "--budget", '{"tokens": 6}')
    assert (
        code == 3
        and "before stage 'three': it generated and trained on 6 of budget.tokens: 6" in stderr
    )
    assert toy(specs, "--budget", '{"tokens": 7}')[0] == 0


@pytest.mark.parametrize("place", ["run", "run/02-two.partial"])
@pytest.mark.parametrize("another", [False, True], ids=["gone", "another in its place"])
def test_a_folder_that_vanishes_under_a_stage_stops_it_and_nothing_is_made_of_the_rest(
    tmp_path, place, another
):
    run, folder, aside = tmp_path / "run", tmp_path / place, tmp_path / "aside"
    specs = [ONE, {**SLOW, "steps": 60}]
    process = start(run, specs)
    wait_for(run / "02-two.partial" / "resume" / "step")
    folder.rename(aside)
    if another:
        (run / "02-two.partial" / "resume").mkdir(parents=True)
    begin = time.monotonic()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1 and f"{folder}: does not exist any more" in stderr
    assert time.monotonic() - begin < 2.5 and not (run / "02-two").exists()
    assert not {"attempt.json", "failure.json", "stage.log"} & {
        path.name for path in files_below(run / "02-two.partial")
    }
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    assert start(run, specs).wait(timeout=30) == 0
    rows = [
        json.loads(line)["step"]
        for line in (run / "02-two" / "metrics.jsonl").read_text().splitlines()
    ]
    assert rows == list(range(60)) and found_in(run) == ""


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        ("full", 1, ["checkpoint/model.safetensors: the disk is full", "make room"]),
        ("memory", 1, ["memory ran out: DefaultCPUAllocator", "lower"]),
        ("crash", 1, ["'one' crashed (exit code 1)", "| ValueError: the toy broke", "stage.log"]),
        ("bad_input", 2, ["row 3 is broken", "mend row 3"]),
        ("killed", 1, ["killed by SIGKILL (9)", "lower"]),
        ("quiet", 1, ["without a result"]),
        ("nan", 1, ["count = nan"]),
    ],
)
def test_a_stage_that_goes_wrong_ends_the_run_and_not_more(tmp_path, toy, ending, code, words):
    spec = {**ONE, "ending": ending}
    found, stderr = toy([spec])
    assert found == code
    assert all(word in stderr for word in words), stderr
    assert not (tmp_path / "01-one").exists()
    assert states(tmp_path, [spec]) == {"one": "failed"}


def test_a_log_that_somebody_removes_is_no_vanished_folder(tmp_path):
    process = start(tmp_path, [{**ONE, "steps": 30}])
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    (tmp_path / "01-one.partial" / "stage.log").unlink()
    assert process.wait(timeout=20) == 0 and (tmp_path / "01-one" / "count.txt").read_text() == "30"


class Mover(Reporter):
    """Moves the run folder away as soon as its first stage is done."""

    def __init__(self, run):
        super().__init__(bars=False)
        self.run = run

    def line(self, text):
        if "done in" in text:
            self.run.rename(self.run.with_name("aside"))


def test_a_run_folder_that_vanishes_between_two_stages_is_not_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    run = tmp_path / "run"
    with pytest.raises(RunFailed, match=f"{run}: does not exist any more"):
        run_plan(RunRequest(toy_plan([ONE, {"id": "two"}]), run, reporter=Mover(run)))
    assert not run.exists()


def test_a_folder_that_vanished_and_came_back_is_told_as_that_and_not_as_a_kill(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "pipeline.execution.stage_process.run_process",
        lambda *_: Ending({"type": "folder_missing"}, -9, tmp_path),
    )
    with pytest.raises(RunFailed, match=r"01-one\.partial: does not exist any more"):
        run_plan(RunRequest(toy_plan([ONE]), tmp_path, reporter=Reporter(bars=False)))

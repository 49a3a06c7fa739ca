"""A stage in several processes on one machine: what each gets, what reaches the user, and which of
them is the cause when one fails."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from builders.toy_runs import ONE, gone, places, record_of, start, states, wait_for

LONG = {**ONE, "steps": 400}
NEVER = {**ONE, "ending": "deaf"}


def layout(**devices):
    return ("--runtime", json.dumps({"devices": devices, "stall_minutes": 2}))


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_each_process_has_its_place_its_log_and_a_share_of_the_cores(tmp_path, toy):
    code, stderr = toy([{**ONE, "ending": "large", "wrong": 1}], *layout(processes=2))
    assert code == 0, stderr
    zero, one = places(tmp_path / "01-one")
    for number, place in enumerate((zero, one)):
        assert (place["rank"], place["RANK"], place["LOCAL_RANK"]) == (number, *2 * str(number))
        assert place["WORLD_SIZE"] == place["LOCAL_WORLD_SIZE"] == "2"
        assert place["MASTER_ADDR"] == "127.0.0.1"
    assert zero["MASTER_PORT"] == one["MASTER_PORT"] and int(zero["MASTER_PORT"]) > 1023
    cores = os.sched_getaffinity(0)
    threads = max(1, len(cores) // 2)
    assert zero["threads"] == one["threads"] == int(one["omp"]) == threads
    if len(cores) > 1:
        assert len(zero["cores"]) == threads and not set(zero["cores"]) & set(one["cores"])
    else:
        assert set(zero["cores"]) == set(one["cores"]) == cores
    record = record_of(tmp_path / "01-one")
    assert record["tokens_generated"] == 3 and "stage-rank-1.log" in record["files"]
    peaks = record["peak_memory_mib_by_rank"]
    assert record["peak_memory_mib"] == max(peaks) == peaks[1] and peaks[1] > peaks[0] + 50


def test_one_process_has_none_of_this(tmp_path, toy):
    assert toy([ONE])[0] == 0
    (place,) = places(tmp_path / "01-one")
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT"} & set(place)
    assert place["threads"] == len(os.sched_getaffinity(0)) == len(place["cores"])
    assert "peak_memory_mib_by_rank" not in record_of(tmp_path / "01-one")


def test_process_0_alone_speaks_to_the_user(tmp_path, toy):
    code, stderr = toy([{**ONE, "ending": "noted"}], *layout(processes=2))
    assert code == 0 and stderr.count("the toy is short of paint") == 1 and "again" not in stderr
    assert "paint again" in (tmp_path / "01-one" / "stage-rank-1.log").read_text()


@pytest.mark.parametrize(
    ("wrong", "ending", "others", "code", "words"),
    [
        (1, "killed", "late lost", 1, ["rank 1 of 2 was killed by SIGKILL (9)", "rank-1.log"]),
        (1, "late killed", "lost", 1, ["rank 1 of 2 was killed by SIGKILL (9)", "if memory ran"]),
        (1, "late killed", "crash", 1, ["rank 1 of 2 was killed by SIGKILL (9)"]),
        (1, "late crash", "lost", 1, ["rank 1 of 2 crashed", "| ValueError: the toy broke"]),
        (0, "late crash", "lost", 1, ["rank 0 of 2 crashed", "stage.log", "the toy broke"]),
        (1, "late memory", "lost", 1, ["rank 1 of 2: memory ran out", "lower"]),
        (1, "late bad_input", "aborted", 2, ["rank 1 of 2: row 3 is broken", "mend row 3"]),
        (1, "quiet", "late lost", 1, ["rank 1 of 2 crashed (without a result)"]),
        (1, "killed", "deaf", 1, ["rank 1 of 2 was killed by SIGKILL"]),
        (1, "killed", "good", 1, ["rank 1 of 2 was killed by SIGKILL"]),
        (1, "lost", "late lost", 1, ["rank 1 of 2 lost its connection", "look at the network"]),
    ],
)
def test_the_cause_is_told_and_not_its_consequences(
    tmp_path, toy, wrong, ending, others, code, words
):
    spec = {**ONE, "ending": ending, "wrong": wrong, "others": others}
    begin = time.monotonic()
    found, stderr = toy([spec], *layout(processes=2))
    assert found == code and time.monotonic() - begin < 8
    assert all(word in stderr for word in words), stderr
    assert states(tmp_path, [spec]) == {"one": "failed"} and not (tmp_path / "01-one").exists()
    assert gone([place["pid"] for place in places(tmp_path / "01-one.partial")], seconds=0)


def test_what_all_of_them_say_is_said_without_a_name(tmp_path, toy):
    code, stderr = toy([{**ONE, "ending": "bad_input"}], *layout(processes=2))
    assert code == 2 and "stage 'one': row 3 is broken" in stderr and "rank" not in stderr


def test_process_0_decides_whether_a_stage_is_alive(tmp_path, toy):
    spec = {**NEVER, "wrong": 0, "others": "busy"}
    runtime = {"devices": {"processes": 2}, "stall_minutes": 0.02}
    code, stderr = toy([spec], "--runtime", json.dumps(runtime))
    assert (
        code == 1 and "no progress for runtime.stall_minutes (rank 0 1 s ago, rank 1 0 s" in stderr
    )


def test_the_other_processes_may_be_quiet(tmp_path, toy):
    runtime = {"devices": {"processes": 2}, "stall_minutes": 0.02}
    spec = {**ONE, "steps": 40, "ending": "deaf", "wrong": 1}
    process = start(tmp_path, [spec], "--runtime", json.dumps(runtime))
    wait_for(tmp_path / "01-one.partial" / "count.txt")  # after 2 s of steps
    _, stderr = process.communicate(timeout=20)
    # Process 0 is done, so that the other one decides from now on.
    assert process.returncode == 1 and "no progress" in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_all(tmp_path, number):
    process = start(tmp_path, [LONG], *layout(processes=2))
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    pids = children_of(process.pid)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "the toy was stopped" in stderr and "rank" not in stderr
    assert len(pids) == 2 and gone(pids, seconds=0)


@pytest.mark.parametrize("how", ["second signal", "grace"])
def test_processes_that_do_not_stop_are_ended(tmp_path, how):
    grace = ("--grace", "1") if how == "grace" else ()
    process = start(tmp_path, [{**NEVER, "wrong": 1}], *layout(processes=2), *grace)
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    pids = children_of(process.pid)
    process.terminate()
    if how == "second signal":
        time.sleep(0.3)
        process.terminate()
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130 and "stopped" in stderr
    assert len(pids) == 2 and gone(pids, seconds=0)


def test_a_killed_runner_takes_all_processes_along_and_the_next_goes_on(tmp_path, toy):
    process = start(tmp_path, [LONG], *layout(processes=3))
    step = tmp_path / "01-one.partial" / "resume" / "step"
    wait_for(step)
    pids = children_of(process.pid)
    process.kill()
    process.communicate()
    assert len(pids) == 3 and gone(pids)
    step.write_text("398")
    code, stderr = toy([LONG], *layout(processes=2))
    assert code == 0 and "continues from attempt 1" in stderr
    assert (tmp_path / "01-one" / "stage-rank-2.log").exists()  # that of the first attempt


@pytest.mark.parametrize("count", [1, 2])
def test_processes_that_say_nothing_end_with_the_runner(tmp_path, count):
    process = start(tmp_path, [NEVER], *layout(processes=count))
    wait_for(tmp_path / "01-one.partial" / "resume" / "step")
    pids = children_of(process.pid)
    process.kill()
    process.communicate()
    assert len(pids) == count and gone(pids)

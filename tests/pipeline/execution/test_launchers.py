"""A stage whose processes torchrun or srun starts: they reach the runner over a socket, and none
outlives it."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from builders.toy_runs import ONE, alive, gone, places, record_of, start, states, wait_for
from pipeline.execution.launched import LaunchedProcesses

LONG = {**ONE, "steps": 400}
TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc_per_node", "2"),
    *("--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"),
)
SRUN = """#!/bin/sh
if [ "$1" != there ]; then setsid "$0" there "$@" & wait; exit 1; fi
shift
for number in 0 1; do
  SLURM_PROCID=$number SLURM_LOCALID=$number SLURM_NTASKS=2 "$@" &
done
wait
"""


@pytest.fixture
def srun(tmp_path):
    """A command like srun: its processes belong to another one, which lives on when it is killed,
    and it neither passes signals on nor says how they ended."""
    path = tmp_path / "bin" / "srun"
    path.parent.mkdir()
    path.write_text(SRUN)
    path.chmod(0o755)
    return [str(path)]


def layout(launcher, processes=2, **runtime):
    devices = {"processes": processes, "launcher": list(launcher)}
    return ("--runtime", json.dumps({"devices": devices, "stall_minutes": 2, **runtime}))


def processes_of(run):
    """The ids of all processes whose command line names a file of this run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(word.startswith(bytes(run)) and b"attempt.json" in word for word in words):
            found.append(int(path.parent.name))
    return found


def wait_for_all(run, count):
    """Until the stage makes steps; the ids of its processes: those with a place, and the others."""
    wait_for(run / "01-one.partial" / "resume" / "step", seconds=60)
    end = time.monotonic() + 20
    while len(placed := places(run / "01-one.partial")) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    workers = [place["pid"] for place in placed]
    return workers, [pid for pid in processes_of(run) if pid not in workers]


def test_torchrun_starts_the_processes_and_each_has_its_log(tmp_path, toy):
    spec = {**ONE, "ending": "noted"}
    code, stderr = toy([spec], *layout(TORCHRUN))
    assert code == 0, stderr
    assert stderr.count("short of paint") == 1 and "again" not in stderr
    zero, one = places(tmp_path / "01-one")
    assert (zero["rank"], one["rank"], one["LOCAL_RANK"]) == (0, 1, "1")
    assert zero["WORLD_SIZE"] == "2" and zero["MASTER_PORT"] == one["MASTER_PORT"]
    assert zero["secrets"] == one["secrets"] == []
    assert len(record_of(tmp_path / "01-one")["peak_memory_mib_by_rank"]) == 2
    assert gone(processes_of(tmp_path), seconds=0)


def test_srun_starts_the_processes(tmp_path, toy, srun):
    code, stderr = toy([ONE], *layout(srun))
    assert code == 0, stderr
    zero, one = places(tmp_path / "01-one")
    assert (zero["RANK"], one["RANK"], one["LOCAL_RANK"], one["WORLD_SIZE"]) == (*"011", "2")
    assert zero["MASTER_PORT"] == one["MASTER_PORT"] and zero["MASTER_ADDR"]


@pytest.mark.parametrize(
    ("wrong", "ending", "others", "code", "words"),
    [
        (1, "late killed", "lost", 1, ["rank 1 of 2 was killed, or crashed without a word", "if"]),
        (1, "late crash", "lost", 1, ["rank 1 of 2 crashed", "| ValueError: the toy broke"]),
        (1, "late bad_input", "deaf", 2, ["rank 1 of 2: row 3 is broken", "mend row 3"]),
    ],
)
def test_the_cause_is_told(tmp_path, toy, srun, wrong, ending, others, code, words):
    spec = {**ONE, "ending": ending, "wrong": wrong, "others": others}
    found, stderr = toy([spec], *layout(srun))
    assert found == code and all(word in stderr for word in words), stderr
    assert states(tmp_path, [spec]) == {"one": "failed"} and gone(processes_of(tmp_path), seconds=0)


def test_what_torchrun_does_to_the_others_is_not_the_cause(tmp_path, toy):
    spec = {**ONE, "ending": "late killed", "wrong": 1, "steps": 100}
    code, stderr = toy([spec], *layout(TORCHRUN))
    assert code == 1 and "rank 1 of 2 was killed" in stderr
    assert gone(processes_of(tmp_path), seconds=0)


@pytest.mark.parametrize(
    ("launcher", "processes", "words"),
    [
        ("srun", 3, ["runtime.stages.one.devices.processes: 3, but", "starts 2", "processes: 2"]),
        ("env", 2, ["neither RANK and WORLD_SIZE nor SLURM_PROCID", "torchrun or srun"]),
        ("no-such-launcher", 2, ["'no-such-launcher' is no command"]),
    ],
)
def test_a_launcher_that_does_otherwise_is_wrong_input(toy, srun, launcher, processes, words):
    code, stderr = toy([ONE], *layout(srun if launcher == "srun" else [launcher], processes))
    assert code == 2 and all(word in stderr for word in words), stderr


SAYS_AND_ENDS = """
import json, os, socket
host, _, port = os.environ["UPHILL_RUNNER"].rpartition(":")
for rank in range(2):
    link = socket.create_connection((host, int(port)))
    hello = {"token": os.environ["UPHILL_RUNNER_TOKEN"], "rank": rank}
    error = {"type": "error", "kind": "BadInput", "message": f"row {rank}", "remedy": ""}
    link.sendall("".join(json.dumps(one) + chr(10) for one in (hello, error)).encode())
"""


def test_what_processes_said_before_the_launcher_ended_is_heard(tmp_path):
    launcher = [sys.executable, "-c", SAYS_AND_ENDS]
    processes = LaunchedProcesses(tmp_path / "attempt.json", launcher, 2, os.environ)
    processes._launcher.wait()  # nobody listened until then
    list(processes.receive(wait=0.2))
    while not processes.ended:
        list(processes.receive(wait=0.2))
    processes.close()
    assert [rank.last.get("message") for rank in processes.ranks] == ["row 0", "row 1"]


def test_a_launcher_that_starts_nothing_is_told(toy):
    code, stderr = toy([ONE], *layout(["sh", "-c", "echo no such partition; exit 3"]))
    assert code == 1 and "its devices.launcher ended with exit code 3" in stderr
    assert "| no such partition" in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_all(tmp_path, srun, number):
    process = start(tmp_path, [LONG], *layout(srun))
    workers, others = wait_for_all(tmp_path, 2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "the toy was stopped" in stderr
    assert gone([*workers, *others], seconds=0)


def test_processes_that_do_not_stop_are_ended_after_the_grace(tmp_path, srun):
    spec = {**ONE, "ending": "deaf", "wrong": 1}
    process = start(tmp_path, [spec], *layout(srun), "--grace", "1")
    workers, others = wait_for_all(tmp_path, 2)
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "stopped" in stderr
    assert gone([*workers, *others], seconds=0)


@pytest.mark.parametrize(
    ("launcher", "whom"),
    [
        *(("srun", whom) for whom in ("runner", "launcher", "first worker", "second worker")),
        *(("torchrun", whom) for whom in ("runner", "launcher")),
    ],
)
def test_nothing_outlives_a_kill_and_the_next_goes_on(tmp_path, toy, srun, launcher, whom):
    options = layout(srun if launcher == "srun" else TORCHRUN)
    process = start(tmp_path, [LONG], *options)
    workers, others = wait_for_all(tmp_path, 2)
    victims = {"runner": process.pid, "launcher": min(others)}
    os.kill(victims.get(whom, workers[whom == "second worker"]), signal.SIGKILL)
    _, stderr = process.communicate(timeout=30)
    assert gone([*workers, *others, process.pid])
    words = {"launcher": "its devices.launcher was killed by SIGKILL (9)", "runner": ""}
    rank = f"rank {int(whom == 'second worker')} of 2 was killed"
    assert words.get(whom, rank) in stderr
    (tmp_path / "01-one.partial" / "resume" / "step").write_text("398")
    code, stderr = toy([LONG], *layout(srun))
    assert code == 0 and "continues from attempt 1" in stderr


@pytest.mark.parametrize("whom", ["runner", "launcher"])
def test_a_process_that_says_nothing_notices_that_the_runner_is_gone(tmp_path, srun, whom):
    process = start(tmp_path, [{**ONE, "ending": "deaf"}], *layout(srun))
    workers, others = wait_for_all(tmp_path, 2)
    os.kill(process.pid if whom == "runner" else min(others), signal.SIGKILL)
    process.communicate(timeout=30)
    assert gone([*workers, *others])


def test_a_connection_without_the_token_gets_nothing_and_changes_nothing(tmp_path, srun):
    process = start(tmp_path, [{**ONE, "steps": 60}], *layout(srun))
    workers, _ = wait_for_all(tmp_path, 2)
    variables = Path(f"/proc/{workers[0]}/environ").read_bytes().split(b"\0")
    address = next(word for word in variables if word.startswith(b"UPHILL_RUNNER=")).decode()
    for hello in (
        b'{"token": "x", "rank": 0}\n',
        b"GET / HTTP/1.1\n",
        b'{"rank": 0}\n[1]\n',
        b"\n",
    ):
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as link:
            link.settimeout(10)
            link.sendall(hello)
            link.sendall(b'{"type": "finished"}\n')
            try:
                assert link.recv(1) == b""
            except ConnectionResetError:
                continue
    assert process.wait(timeout=20) == 0 and not any(map(alive, workers))

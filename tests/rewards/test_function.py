"""A function of the user's: whatever it does is a reward or a counted fault, and nothing stays
behind."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builders.functions import opened, stored_part, workers
from builders.processes import gone
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.faults import NO_REWARD, REMEDIES
from rewards.function.verifier import LOGGED, SHOWN, Function
from rewards.interface import Resources

ROOT = Path(__file__).parents[2]
PROMPT = prompt_of("p", "What is 2 + 3?", "5")
RETURNS = """
import math, os, time
from fractions import Fraction
import numpy
def score(prompt, answer):
    return eval(answer)
"""
"""Returns what the answer says, as Python."""


@pytest.fixture(scope="module")
def grade(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("f"), RETURNS, time_limit_s=1.0) as grade:
        yield grade


@pytest.mark.parametrize(
    ("returned", "reward"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("0.25", 0.25),
        ("True", 1.0),
        ("False", 0.0),
        ("Fraction(1, 4)", 0.25),
        ("numpy.float32(0.5)", 0.5),
        ("numpy.bool_(True)", 1.0),
    ],
)
def test_a_number_from_0_to_1_is_the_reward(grade, returned, reward):
    [result] = grade(PROMPT, returned)
    assert (result.reward, result.fault) == (reward, None)


@pytest.mark.parametrize(
    "returned",
    [
        *("math.nan", "math.inf", "2", "-1", "1.0000001", "10**400", "None", "'1'", "''"),
        *("[1]", "{}", "object()", "b'1'", "1j", "numpy.ones(2)", "'x' * 10**7", "(1 for _ in [])"),
    ],
)
def test_anything_else_is_a_fault_and_the_log_says_what(grade, caplog, returned):
    [result] = grade(PROMPT, returned)
    assert result.fault == NO_REWARD
    assert "score of my_reward.py on prompt p" in caplog.text
    assert "no number from 0 to 1" in caplog.text and len(caplog.text) < 1000


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("prompt['nothing']", "KeyError: 'nothing'"),
        ("exit(3)", "SystemExit: 3"),
        ("[].pop()", 'File "my_reward.py", line 6, in score\n    return eval(answer)'),
        ("os._exit(3)", "its process ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "its process ended with SIGKILL"),
        ("os.closerange(3, 99)", "its process"),
    ],
)
def test_an_exception_or_a_crash_is_a_fault_with_its_cause_in_the_log(grade, caplog, answer, words):
    first, second = grade(PROMPT, answer, "0.5")
    assert first.fault == "verifier_crash" and words in caplog.text
    assert "child.py" not in caplog.text
    assert (second.reward, second.fault) == (0.5, None)


@pytest.mark.parametrize("answer", ["time.sleep(600)", "[0 for _ in iter(int, 1)]"])
def test_a_function_that_does_not_return_is_a_timeout_and_is_replaced(grade, answer):
    began = time.monotonic()
    first, second = grade(PROMPT, answer, "0.5")
    assert first.fault == "timeout" and second.reward == 0.5
    assert time.monotonic() - began < 5


def test_every_fault_has_a_remedy():
    assert {NO_REWARD, "verifier_crash", "timeout"} <= set(REMEDIES)


def test_a_gigabyte_of_output_fills_nothing(tmp_path, capfd):
    source = """
import os
def score(prompt, answer):
    for _ in range(1000):
        os.write(1, b"x" * 500_000)
        os.write(2, b"y" * 500_000)
    return 0.5
"""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with opened(tmp_path, source) as grade:
        [result] = grade(PROMPT, "a")
    assert result.reward == 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
    out, err = capfd.readouterr()
    assert out == "" and 0 < err.count("x") <= SHOWN


def test_what_it_prints_is_shown_up_to_a_limit(tmp_path, capfd):
    with opened(tmp_path, "def score(p, a):\n    print('read', a)\n    return 1") as grade:
        grade(PROMPT, *map(str, range(3000)))
    err = capfd.readouterr().err
    assert "read 0\nread 1\n" in err and "read 2999" not in err and len(err) < 2 * SHOWN
    assert err.count("is not shown") == 1


def test_the_log_explains_so_many_faults_and_counts_the_others(tmp_path, caplog):
    with opened(tmp_path, "def score(p, a):\n    return 1 / 0") as grade:
        results = grade(PROMPT, *"a" * 100)
    assert [result.fault for result in results] == ["verifier_crash"] * 100
    assert caplog.text.count("Traceback") == LOGGED and "counted only" in caplog.text


def test_it_gets_the_prompt_anew_for_each_answer_and_every_character_of_it(tmp_path):
    source = """
def score(prompt, answer):
    right = prompt["messages"][-1]["content"] == "What is \\ud800 2 + 3?"
    right &= prompt["answer"] == "5" and prompt["metadata"] == {"least": 2}
    prompt["metadata"].clear()
    return right and answer == "\\ud800\\x00\\u6f22" * 100_000
"""
    prompt = prompt_of("p", "What is \ud800 2 + 3?", "5")
    prompt.metadata["least"] = 2
    with opened(tmp_path, source) as grade:
        results = grade(prompt, *["\ud800\x00漢" * 100_000] * 2)
    assert [result.reward for result in results] == [1.0, 1.0]


def test_several_run_at_once_and_no_more_than_there_are_threads(tmp_path):
    source = "import time\ndef score(p, a):\n    time.sleep(0.4)\n    return 1"
    with opened(tmp_path, source, threads=2) as grade, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: grade(PROMPT, "a"), range(2)))  # both processes are started
        began = time.monotonic()
        list(threads.map(lambda _: grade(PROMPT, "a"), range(4)))
        assert 0.8 <= time.monotonic() - began < 1.5
        assert len(workers(os.getpid())) >= 2


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 11)", "time.sleep(600)", "return 1"])
def test_what_it_starts_ends_with_it(tmp_path, ending):
    source = f"""
import os, pathlib, subprocess, time
def score(prompt, answer):
    child = subprocess.Popen(["sleep", "600"])
    if os.fork() == 0:
        return 1
    pathlib.Path(answer).write_text(str(child.pid))
    {ending}
"""
    before, others = threading.enumerate(), workers(os.getpid())
    with opened(tmp_path, source, time_limit_s=0.5) as grade:
        grade(PROMPT, str(tmp_path / "pid"))
        own = set(workers(os.getpid())) - set(others)
    assert gone([*own, int((tmp_path / "pid").read_text())])
    assert threading.enumerate() == before


def test_a_copy_that_it_makes_of_its_process_answers_nothing(tmp_path):
    source = """
import os, time
def score(prompt, answer):
    if os.fork() == 0:
        return 0.25
    time.sleep(0.2)
    return 0.75
"""
    with opened(tmp_path, source) as grade:
        assert [result.reward for result in grade(PROMPT, "a", "b")] == [0.75, 0.75]


HANGS = """
import sys, threading, time
from pathlib import Path
from builders.functions import opened
from builders.single_prompts import prompt_of
source = "import time\\ndef score(p, a):\\n    time.sleep(600)"
with opened(Path(sys.argv[1]), source, time_limit_s=600) as grade:
    asked = threading.Thread(target=grade, args=(prompt_of("p", "q"), "a"), daemon=True)
    asked.start()
    time.sleep(0.3)
    print("asked", flush=True)
    asked.join()
"""


def test_its_process_dies_with_the_one_that_grades(tmp_path):
    command = [sys.executable, "-c", HANGS, str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = {**os.environ, "PYTHONPATH": path}
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert stage.stdout is not None and stage.stdout.readline() == b"asked\n"
    own = workers(stage.pid)
    stage.send_signal(signal.SIGKILL)
    stage.communicate()
    assert len(own) == 1 and gone(own)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\ny = {}['a']\ndef score(p, a): return 1", "my_reward.py:2: .*KeyError: 'a'"),
        (
            "try:\n    import nothing_of_the_kind\nfinally:\n    pass\nscore = max",
            "No module named",
        ),
        ("score = 5", "'score' is no function but int"),
        ("score = lambda answer: 1", r"cannot be called with \(prompt, answer\)"),
        ("import os\nscore = min\nos._exit(7)", "its process ended with exit code 7 while"),
        ("raise SystemExit\nscore = min", "my_reward.py:1: .*SystemExit"),
    ],
)
def test_what_only_running_the_file_shows_is_said_when_it_is_opened(tmp_path, source, words):
    before, others = threading.enumerate(), workers(os.getpid())
    with pytest.raises(BadInput, match=words) as caught:
        Function().open(stored_part(tmp_path, source), Resources())
    assert "def score(prompt: dict, answer: str) -> float" in caught.value.remedy
    assert workers(os.getpid()) == others and threading.enumerate() == before


def test_a_file_that_is_not_loaded_in_time_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rewards.workers.worker.LOAD_SECONDS", 0.3)
    part = stored_part(tmp_path, "import time\nscore = min\ntime.sleep(600)")
    others = workers(os.getpid())
    with pytest.raises(BadInput, match=r"not loaded after 0\.3 s"):
        Function().open(part, Resources())
    assert workers(os.getpid()) == others

"""Plain verifiers outside the main thread: the same grades, with a time limit."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.functions import workers
from builders.processes import gone
from builders.single_prompts import prompt_of
from prompts.config import ReasoningGymSource
from prompts.sources import load_source
from rewards import plain
from rewards.grader import Grader
from rewards.limits import time_limit
from rewards.verifiers import VERIFIERS
from rewards.workers.pool import Pool
from rewards.workers.worker import Program

TEXT = st.text(st.characters(), max_size=60)
"""Any code points, lone surrogates among them."""
REFERENCES = {"exact": "Paris \ud800", "number": "12", "choice": "B", "math": r"\frac{1}{2}"}


def elsewhere(grader, prompt, *texts):
    """The grades of a thread that is not the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(grader.group, prompt, texts).result()


def prompt(verifier):
    question = "Which? (A) one (B) two (C) three"
    return prompt_of("p", question, REFERENCES[verifier], verifier=verifier)


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, st.sampled_from(sorted(REFERENCES)), st.booleans())
def test_grades_are_the_same_in_every_thread(grader, text, verifier, right):
    task = prompt(verifier)
    answer = f"{text}\n<answer>{task.answer}</answer>" if right else text
    assert elsewhere(grader, task, answer) == grader.group(task, [answer])


def test_tasks_of_reasoning_gym_are_graded_in_every_thread(grader):
    source = ReasoningGymSource(source="reasoning_gym", family="spell_backward", count=1)
    [task] = load_source(source)
    texts = [task.answer, f"{task.answer}?", "no"]
    assert elsewhere(grader, task, *texts) == grader.group(task, texts)


def test_a_reference_that_cannot_be_used_is_its_own_fault_in_every_thread(grader):
    task = prompt_of("p", "q", "many", verifier="number")
    assert elsewhere(grader, task, "5")[0].fault == "bad_reference"


def test_what_takes_too_long_is_a_timeout_in_another_thread_too(grader, monkeypatch):
    elsewhere(grader, prompt("exact"), "a")
    monkeypatch.setattr(plain, "SECONDS", 1e-6)
    assert elsewhere(grader, prompt("exact"), "a")[0].fault == "timeout"


def test_a_library_that_is_slow_to_import_costs_no_answer_its_time(monkeypatch):
    monkeypatch.setitem(plain.LIBRARIES, "exact", lambda: time.sleep(0.3))
    assert plain.graded("exact", prompt("exact"), "Paris \ud800", seconds=0.2).reward == 1.0


@pytest.mark.parametrize("name", ["math", "reasoning_gym"])
def test_a_process_has_the_library_of_its_verifier_before_it_is_asked(name):
    library = {"math": "math_verify", "reasoning_gym": "reasoning_gym"}[name]
    code = f"import sys; {plain.program(name).source}; assert {library!r} in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_hangs_is_killed_and_replaced(monkeypatch):
    monkeypatch.setattr(plain, "SECONDS", 0.2)
    monkeypatch.setattr(plain, "LONGER", 0.2)
    others = set(workers(os.getpid()))
    with Grader() as grader:
        assert elsewhere(grader, prompt("exact"), "Paris \ud800")[0].correct
        [process] = set(workers(os.getpid())) - others
        os.kill(process, signal.SIGSTOP)  # as a library does that never returns to Python
        assert elsewhere(grader, prompt("exact"), "a")[0].fault == "timeout"
        assert gone([process])
        assert elsewhere(grader, prompt("exact"), "Paris \ud800")[0].correct


def test_nothing_is_left_and_the_main_thread_starts_nothing():
    before, others = threading.enumerate(), workers(os.getpid())
    with Grader() as grader:
        assert grader(prompt("exact"), "Paris \ud800").correct
        assert workers(os.getpid()) == others
        elsewhere(grader, prompt("exact"), "a")
        [process] = set(workers(os.getpid())) - set(others)
    assert gone([process]) and threading.enumerate() == before


def test_there_is_no_limit_that_does_not_hold():
    with ThreadPoolExecutor(1) as thread, pytest.raises(ValueError, match="main thread"):
        thread.submit(lambda: time_limit(1.0).__enter__()).result()


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf")])
def test_a_scorers_reward_that_is_no_number_is_a_fault_and_no_zero(monkeypatch, reward):
    monkeypatch.setitem(VERIFIERS, "exact", lambda prompt, text: (reward, text))
    with Grader() as grader:
        assert grader(prompt("exact"), "Paris").fault == "verifier_crash"


def test_a_step_that_outlives_its_grader_ends_and_starts_nothing():
    pool = Pool(Program("m.py", "def score(a): return 1.0", "score", ("a",)), 1)
    assert pool.call([1], 5).value == 1.0
    before = set(workers(os.getpid()))
    pool.close()
    with ThreadPoolExecutor(1) as thread, pytest.raises(RuntimeError, match="ended"):
        thread.submit(pool.call, [1], 5).result(5)
    assert set(workers(os.getpid())) < before

"""A judge in a folder: one server for all threads, asked by one thread at a time."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from builders.contexts import stage_context
from builders.judged_rewards import ITEMS, grader_with, judged, judges_with
from builders.scripted_judge import ScriptedEngine
from common.devices import Servers
from common.execution import ExecutionConfig
from judges import open_judge
from judges.engine import EngineBackend
from judges.open_judge import _context, _key
from prompts.judge_parts import ComparePart, RubricPart
from rewards.interface import Resources

PART: dict[str, Any] = {"verifier": "rubric", "model": "smollm2-135m-instruct", "items": ITEMS}


class OneAtATime(ScriptedEngine):
    """Fails where two threads ask at once."""

    max_model_len = 4096
    lock = threading.Lock()

    def encode_text(self, text):
        """A token per word: the labels are words."""
        return [len(word) for word in text.split()]

    def next_token(self, prompts, tokens):
        assert self.lock.acquire(blocking=False), "two threads at once"
        try:
            time.sleep(0.005)
            return [[-0.1, -2.4] for _ in prompts]
        finally:
            self.lock.release()


@pytest.fixture
def started(monkeypatch):
    """The engines that were started in place of servers."""
    engines: list[OneAtATime] = []

    def start(part, folder, resources):
        engines.append(OneAtATime())
        return EngineBackend(engines[-1])

    monkeypatch.setattr(open_judge, "_server", start)
    monkeypatch.setattr("models.packaged.resolve_dense", lambda name: Path(__file__).parent)
    return engines


def test_groups_of_all_threads_are_graded_by_one_server_which_is_ended(started):
    with grader_with() as grader:
        prompts = [judged(PART, id=f"p{n}", answer=str(n)) for n in range(12)]
        waiting = [grader.submit(one, [f"{one.id} a", f"{one.id} b"]) for one in prompts]
        grades = [grade for group in waiting for grade in group()]
        assert len(started) == 1
    assert [one.fault for one in grades] == [None] * 24
    assert {round(one.reward, 6) for one in grades} == {0.908877}
    assert started[0].closed


def test_nothing_is_started_for_what_the_cache_knows(started, tmp_path):
    for _ in range(2):
        with grader_with(judges_with(tmp_path / "cache.sqlite")) as grader:
            assert grader(judged(PART), "3 cm").fault is None
    assert len(started) == 1


def test_a_question_that_does_not_fit_is_a_fault(started):
    with grader_with() as grader:
        grades = grader.group(judged(PART), ["short", "x" * 5000])
    assert [one.fault for one in grades] == [None, "judge_too_long"]


def test_the_server_is_one_of_its_own_whatever_the_stages_layout_is(tmp_path):
    stage = stage_context(tmp_path, execution=ExecutionConfig(max_num_seqs=7))
    resources = Resources(threads=2, folder=tmp_path, context=stage)
    context = _context(RubricPart(**PART, memory_share=0.3), resources)
    assert context.execution.devices.engine == Servers(kind="server", memory_share=0.3)
    assert context.execution.max_num_seqs == 7 and context.servers.of(0).threads == 2
    assert context.folder.parent == tmp_path / "resume"
    assert stage.execution.devices.engine.kind == "in_process"


def test_the_settings_of_the_reward_are_none_of_the_judge():
    same: list[dict[str, Any]] = [
        {},
        {"weight": 2},
        {"name": "x"},
        {"items": []},
        {"show_reference": True},
    ]
    other: list[dict[str, Any]] = [
        {"model": "m"},
        {"dtype": "bfloat16"},
        {"max_model_len": 99},
        {"retries": 0},
    ]
    keys = [_key(RubricPart(**PART | one)) for one in [*same, *other]]
    assert len(set(keys[: len(same)])) == 1 and len(set(keys)) == 1 + len(other)
    assert _key(ComparePart(verifier="compare", model=PART["model"])) == keys[0]


def test_the_log_of_a_judge_without_a_stage_goes_with_its_process(monkeypatch):
    """As with `uphill grade`, whose temporary folder nothing else would remove."""
    at_the_end: list[Any] = []
    monkeypatch.setattr("atexit.register", lambda *call, **named: at_the_end.append((call, named)))
    folder = _context(RubricPart(**PART), Resources()).folder
    assert folder.is_dir()
    for (function, *arguments), named in at_the_end:
        function(*arguments, **named)
    assert not folder.exists()

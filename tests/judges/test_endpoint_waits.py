"""Slow endpoints: progress per reply, stops and kills that lose no reply already received, and
notes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from builders.judge_filter_runs import filter_context, run_filter
from builders.scripted_endpoint import completion, endpoint, judge_at, rating
from builders.scripted_judge import PROMPTS, ScriptedEngine, ask, prompt
from common.errors import BadInput, Interrupted
from common.files import read_json_lines
from common.reply_cache import ReplyCache
from judges import concurrency
from judges.backend import BackendMonitor
from judges.concurrency import ask_concurrently
from judges.config import RubricJudge
from judges.endpoint import EndpointBackend
from judges.engine import EngineBackend
from prompts.schema import read_prompts
from rewards.grader import Grader
from rollouts.config import RolloutConfig
from stages.judge_filter.audit import rates_of
from stages.judge_filter.config import AuditConfig

pytestmark = pytest.mark.usefixtures("impatient_client", "own_verdict_cache")


def test_progress_is_reported_per_answer_and_never_decreases(tmp_path):
    reported: list[int] = []
    monitor = BackendMonitor()

    def answer(request):
        return (
            completion(request, "half", "length")
            if request["max_tokens"] == 8
            else completion(request)
        )

    with endpoint(answer) as (url, _):
        backend = EndpointBackend(judge_at(url, concurrency=2), monitor)
        ask(
            tmp_path,
            backend=backend,
            chunk=100,
            monitor=monitor,
            progress=lambda done, total, unit: reported.append(done),
        )
    assert reported == sorted(reported) and len(reported) > len(PROMPTS)
    assert set(reported) == set(range(1, 11))


def test_a_stop_within_a_chunk_loses_no_answer(tmp_path):
    cache, answered = ReplyCache(None), []

    def answer(request):
        answered.append(request)
        return completion(request)

    with endpoint(answer) as (url, requests):
        stop = lambda: len(answered) >= 4  # noqa: E731
        monitor = BackendMonitor(stop_requested=stop)
        backend = EndpointBackend(judge_at(url, concurrency=1), monitor)
        with pytest.raises(Interrupted, match=r"stopped with [4-6] of 10 questions asked"):
            ask(
                tmp_path,
                backend=backend,
                cache=cache,
                chunk=100,
                monitor=monitor,
                stop_requested=stop,
            )
        known = len(requests)
        again = ask(tmp_path, backend=EndpointBackend(judge_at(url)), cache=cache)
    assert (
        len(requests) == 10
        and known < 7
        and again.asked == 10
        and all(v.passed == 4 for v in again.verdicts)
    )


def test_a_stop_does_not_wait_for_a_request_that_hangs(monkeypatch):
    monkeypatch.setattr(concurrency, "DRAIN_S", 0.2)
    hang, began = threading.Event(), time.monotonic()
    answers, failure = ask_concurrently(
        lambda n: hang.wait(20), [1, 2, 3], 2, lambda n: None, lambda: True
    )
    hang.set()
    assert time.monotonic() - began < 5 and (answers, failure) == ([None, None, None], None)


def test_answers_are_in_order_and_an_error_ends_the_rest():
    assert ask_concurrently(lambda n: n * n, range(50), 7, lambda n: None, lambda: False) == (
        [n * n for n in range(50)],
        None,
    )
    answers, failure = ask_concurrently(
        lambda n: 6 // (3 - n), range(9), 1, lambda n: None, lambda: False
    )
    assert answers == [2, 3, 6, *[None] * 6] and isinstance(failure, ZeroDivisionError)


def test_a_stopped_stage_continues_with_its_answers(tmp_path):
    answered: list[dict[str, Any]] = []

    def answer(request):
        if request.get("n"):  # an attempt, and no likelihood that breaks a tie
            answered.append(request)
        return completion(request)

    with endpoint(answer) as (url, _):
        judge = judge_at(url, concurrency=2)
        with pytest.raises(Interrupted):
            stop = {"stop_requested": lambda: len(answered) >= 5}
            run_filter(tmp_path, judge, PROMPTS, context=stop)
        assert len(answered) < 10
        outputs, _ = run_filter(tmp_path, judge, PROMPTS)
    assert len(answered) == 10 and outputs.metrics["asked"] == 10


def test_an_audit_reports_progress_and_continues_after_a_stop(tmp_path):
    reported: list[int] = []
    chosen = [prompt(f"p{n}") for n in range(40)]
    config = AuditConfig(rollouts=RolloutConfig(max_model_len=64))

    def progress(done, total, unit):
        reported.append(done)

    def rates(engine, folder, stop=lambda: False):
        context = filter_context(tmp_path / folder, progress=progress, stop_requested=stop)
        return rates_of(chosen, config, EngineBackend(engine), Grader(), context)

    whole, first, rest = Audited(), Audited(), Audited()
    uninterrupted = rates(whole, "a")
    assert reported == [16, 32, 40] and uninterrupted["p0"][1] == 16
    with pytest.raises(Interrupted, match="stopped with 16 of 40"):
        rates(first, "b", lambda: len(first.asked) >= 16)
    assert rates(rest, "b") == uninterrupted and first.asked + rest.asked == whole.asked


class Audited(ScriptedEngine):
    max_model_len = 64


def test_a_stage_notes_how_it_asked_what_is_missing_and_the_endpoints_message(tmp_path):
    notes: list[str] = []

    def answer(request):
        if "logprobs" in request or "say p3" in request["messages"][0]["content"]:
            return 400, {"error": {"message": "logprobs: not here"}}
        return rating(request)

    with endpoint(answer) as (url, _):
        judge = judge_at(url, RubricJudge)
        outputs, _ = run_filter(tmp_path, judge, PROMPTS, context={"note": notes.append})
    assert outputs.metrics["asked_otherwise"] == {"5 samples": 9}
    assert [
        line["replies"][0]["how"] for line in read_json_lines(tmp_path / "out" / "verdicts.jsonl")
    ].count("5 samples") == 9
    assert len(notes) == 3 and "shares of 5 sampled replies" in notes[0]
    assert (
        notes[1] == '1 of 10 replies are missing; the endpoint said "HTTP 400: logprobs: not here"'
    )
    assert notes[2].startswith("1 of 10 prompts have no verdict: set aside in dropped.parquet")


def test_a_prompt_too_long_for_the_judge_is_set_aside_with_a_note(tmp_path):
    notes: list[str] = []
    long = prompt("x" * 100_000)

    def answer(request):
        if len(request["messages"][0]["content"]) > 50_000:
            return 400, {
                "error": {"message": "This model's maximum context length is 8192 tokens."}
            }
        return completion(request)

    with endpoint(answer) as (url, _):
        run_filter(tmp_path, judge_at(url), [long, *PROMPTS], context={"note": notes.append})
    reasons = {line["id"]: line for line in read_json_lines(tmp_path / "out" / "reasons.jsonl")}
    assert reasons[long.id]["decision"] == "unjudged" and "too_long" in reasons[long.id]["reason"]
    assert long.id in [one.id for one in read_prompts(tmp_path / "out" / "dropped.parquet")]
    assert notes == [
        "1 of 11 prompts have no verdict: set aside in dropped.parquet (too_long 4 times)",
        "cannot tell what the pool is like for the judge: 10 prompts were attempted, and 20 are"
        " needed.",
    ]


def test_an_error_that_ended_one_threads_questions_is_not_forgotten_by_another():
    monitor, failed = BackendMonitor(), threading.Event()
    backend = EndpointBackend(judge_at("http://localhost:1/v1"), monitor)

    def refuse(item):
        raise BadInput("the key is refused", "give another")

    with ThreadPoolExecutor(1) as thread:
        earlier = thread.submit(backend._each, lambda item: failed.wait(5), ["a"])
        while not backend._slots._value < 8:
            time.sleep(0.01)
        assert backend._each(refuse, ["b"]) == [None]
        failed.set()
        assert earlier.result(5) == [True]
    assert str(monitor.failure).startswith("the key is refused")

"""A slow endpoint: progress as replies come, stops and kills that cost no reply that was there, and
what is told."""

import threading
import time

import pytest

from builders.scripted_judge import (
    PROMPTS,
    ScriptedEngine,
    ask,
    completion,
    endpoint,
    judge_at,
    prompt,
    rating,
)
from common.errors import Interrupted
from common.files import read_json_lines
from common.stage import StageContext
from judges import together
from judges.backend import Line
from judges.cache import Cache
from judges.config import RubricJudge
from judges.endpoint import EndpointBackend
from judges.engine import EngineBackend
from judges.together import ask_together
from prompts.schema import read_prompts, write_prompts
from stages.judge_filter.audit import rates_of
from stages.judge_filter.config import AuditConfig, JudgeFilterStage
from stages.judge_filter.run import run


@pytest.fixture(autouse=True)
def own_cache_and_no_patience(tmp_path, monkeypatch):
    monkeypatch.setenv("UPHILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("judges.client.ATTEMPTS", 0)
    monkeypatch.setattr("judges.client.WAIT_S", 0.05)


def test_progress_is_told_with_every_answer_of_a_chunk_and_never_goes_back(tmp_path):
    told, line = [], Line()

    def answer(request):
        return (
            completion(request, "half", "length")
            if request["max_tokens"] == 8
            else completion(request)
        )

    with endpoint(answer) as (url, _):
        source = EndpointBackend(judge_at(url, concurrency=2), line)
        ask(
            tmp_path,
            source=source,
            chunk=100,
            line=line,
            progress=lambda done, total, unit: told.append(done),
        )
    assert told == sorted(told) and len(told) > len(PROMPTS) and set(told) == set(range(1, 11))


def test_a_stop_in_a_chunk_costs_no_answer_that_is_there(tmp_path):
    cache, answered = Cache(None), []

    def answer(request):
        answered.append(request)
        return completion(request)

    with endpoint(answer) as (url, requests):
        stop = lambda: len(answered) >= 4  # noqa: E731
        line = Line(stop_requested=stop)
        source = EndpointBackend(judge_at(url, concurrency=1), line)
        with pytest.raises(Interrupted, match=r"stopped with [4-6] of 10 questions asked"):
            ask(tmp_path, source=source, cache=cache, chunk=100, line=line, stop_requested=stop)
        known = len(requests)
        again = ask(tmp_path, source=EndpointBackend(judge_at(url)), cache=cache)
    assert (
        len(requests) == 10
        and known < 7
        and again.asked == 10
        and all(v.passed == 4 for v in again.verdicts)
    )


def test_a_stop_does_not_wait_for_a_request_that_hangs(monkeypatch):
    monkeypatch.setattr(together, "LINGER_S", 0.2)
    hang, began = threading.Event(), time.monotonic()
    found, failure = ask_together(
        lambda n: hang.wait(20), [1, 2, 3], 2, lambda n: None, lambda: True
    )
    hang.set()
    assert time.monotonic() - began < 5 and (found, failure) == ([None, None, None], None)


def test_answers_come_in_order_and_an_error_ends_the_rest():
    assert ask_together(lambda n: n * n, range(50), 7, lambda n: None, lambda: False) == (
        [n * n for n in range(50)],
        None,
    )
    found, failure = ask_together(
        lambda n: 6 // (3 - n), range(9), 1, lambda n: None, lambda: False
    )
    assert found == [2, 3, 6, *[None] * 6] and isinstance(failure, ZeroDivisionError)


def stage(tmp_path, judge, prompts, **context):
    for name in ("in", "out"):
        (tmp_path / name).mkdir(exist_ok=True)
    write_prompts(tmp_path / "in" / "prompts.parquet", prompts)
    config = JudgeFilterStage(id="filter", kind="judge_filter", judge=judge, drop_easiest=0.5)
    plain = {"progress": lambda *_, **__: None, "stop_requested": lambda: False, "threads": 1}
    return run(
        config, {"prompts": tmp_path / "in"}, StageContext(tmp_path / "out", 7, **plain | context)
    )


def test_a_stage_that_is_stopped_goes_on_with_what_it_has(tmp_path):
    answered = []

    def answer(request):
        if request.get("n"):  # an attempt, and no likelihood that breaks a tie
            answered.append(request)
        return completion(request)

    with endpoint(answer) as (url, _):
        judge = judge_at(url, concurrency=2)
        with pytest.raises(Interrupted):
            stage(tmp_path, judge, PROMPTS, stop_requested=lambda: len(answered) >= 5)
        assert len(answered) < 10
        outputs = stage(tmp_path, judge, PROMPTS)
    assert len(answered) == 10 and outputs.metrics["asked"] == 10


def test_an_audit_tells_its_progress_and_goes_on_after_a_stop(tmp_path):
    told, chosen = [], [prompt(f"p{n}") for n in range(40)]

    def rates(engine, folder, stop=lambda: False):
        (tmp_path / folder).mkdir(exist_ok=True)
        tell = lambda done, total, unit: told.append(done)  # noqa: E731
        context = StageContext(tmp_path / folder, 7, tell, stop, threads=1)
        return rates_of(
            chosen, AuditConfig(rollouts={"max_model_len": 64}), EngineBackend(engine), context
        )

    whole, first, rest = Audited(), Audited(), Audited()
    found = rates(whole, "a")
    assert told == [16, 32, 40] and found["p0"][1] == 16
    with pytest.raises(Interrupted, match="stopped with 16 of 40"):
        rates(first, "b", lambda: len(first.asked) >= 16)
    assert rates(rest, "b") == found and first.asked + rest.asked == whole.asked


class Audited(ScriptedEngine):
    max_model_len = 64


def test_a_stage_says_how_it_asked_what_is_missing_and_what_the_endpoint_said(tmp_path):
    notes = []

    def answer(request):
        if "logprobs" in request or "say p3" in request["messages"][0]["content"]:
            return 400, {"error": {"message": "logprobs: not here"}}
        return rating(request)

    with endpoint(answer) as (url, _):
        outputs = stage(tmp_path, judge_at(url, RubricJudge), PROMPTS, note=notes.append)
    assert outputs.metrics["asked_otherwise"] == {"5 samples": 9}
    assert [
        line["replies"][0]["how"] for line in read_json_lines(tmp_path / "out" / "verdicts.jsonl")
    ].count("5 samples") == 9
    assert len(notes) == 3 and "shares of 5 sampled replies" in notes[0]
    assert (
        notes[1] == '1 of 10 replies are missing; the endpoint said "HTTP 400: logprobs: not here"'
    )
    assert notes[2].startswith("1 of 10 prompts have no verdict: set aside in dropped.parquet")


def test_a_prompt_too_long_for_the_judge_is_set_aside_unjudged_and_told(tmp_path):
    notes, long = [], prompt("x" * 100_000)

    def answer(request):
        if len(request["messages"][0]["content"]) > 50_000:
            return 400, {
                "error": {"message": "This model's maximum context length is 8192 tokens."}
            }
        return completion(request)

    with endpoint(answer) as (url, _):
        stage(tmp_path, judge_at(url), [long, *PROMPTS], note=notes.append)
    reasons = {line["id"]: line for line in read_json_lines(tmp_path / "out" / "reasons.jsonl")}
    assert reasons[long.id]["decision"] == "unjudged" and "too_long" in reasons[long.id]["reason"]
    assert long.id in [one.id for one in read_prompts(tmp_path / "out" / "dropped.parquet")]
    assert notes == [
        "1 of 11 prompts have no verdict: set aside in dropped.parquet (too_long 4 times)"
    ]

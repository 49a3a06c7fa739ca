"""A judge behind an endpoint, and the judge filter's stage with one."""

import json
import time
from collections import Counter

import pytest
from scripted_judge import PROMPTS, ask, completion, endpoint, prompt, vllm

from common.errors import BadInput, RunFailed
from common.files import read_json_lines
from common.stage import StageContext
from curriculum.ledger import Ledger
from judges.config import AttemptsJudge
from judges.endpoint import EndpointSource
from prompts.schema import read_prompts, write_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run


def judge_at(url, **more):
    return AttemptsJudge(kind="attempts", url=url, model_name="judge", attempts=3, **more)


def reply(url, timeout_s=5.0, **more):
    return EndpointSource(judge_at(url, **more), timeout_s, retries=0).ask(PROMPTS[:1], [11])[0]


def test_an_endpoint_gives_attempts_and_the_references_own_tokens(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    with endpoint(vllm) as (url, requests):
        got = reply(url, api_key_env="JUDGE_KEY", temperature=0.5)
    assert [c.text for c in got.completions] == ["7"] * 3 and sum(c.tokens for c in got.completions) == 3
    assert (got.reference_logprob, got.reference_note) == (-1.5, None)
    attempts, reference = requests
    assert attempts["key"] == "Bearer sesame"
    assert {name: attempts[name] for name in ("model", "n", "temperature", "max_tokens", "seed")} == {
        "model": "judge",
        "n": 3,
        "temperature": 0.5,
        "max_tokens": 32,
        "seed": 11,
    }
    assert reference["messages"][-1] == {"role": "assistant", "content": "7"}
    assert reference["continue_final_message"] and not reference["add_generation_prompt"]


def test_an_endpoint_without_prompt_logprobs_says_so_and_is_asked_once():
    with endpoint(completion) as (url, requests):
        source = EndpointSource(judge_at(url), 5.0, retries=0)
        replies = [source.ask([one], [1])[0] for one in PROMPTS[:3]]
    assert [(r.reference_logprob, r.reference_note) for r in replies] == [(None, "endpoint_gives_none")] * 3
    assert sum("prompt_logprobs" in request for request in requests) == 1


def test_an_endpoint_that_ignores_n_is_asked_again_with_other_seeds():
    with endpoint(lambda request: completion(request | {"n": 1})) as (url, requests):
        assert len(reply(url).completions) == 3
    assert [request["seed"] for request in requests if request.get("n")] == [11, 12, 13]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda request: (500, {"error": {"message": "down"}}), "endpoint_error"),
        (lambda request: (200, b"{half"), "endpoint_error"),
        (lambda request: (200, {"choices": []}), "endpoint_error"),
        (lambda request: (400, {"error": {"message": "maximum context length is 9"}}), "too_long"),
        (lambda request: completion(request, None), "empty_reply"),
        (lambda request: completion(request, "", "content_filter"), "finish_content_filter"),
        (lambda request: time.sleep(1) or completion(request), "endpoint_timeout"),
    ],
)
def test_what_goes_wrong_on_the_way_is_a_fault_of_its_own(answer, fault):
    with endpoint(answer) as (url, _):
        assert [c.fault for c in reply(url, timeout_s=0.3).completions] == [fault] * 3


def test_a_wrong_key_model_or_variable_is_said_at_once(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    for status, message in ((401, "refuses a request without a key"), (404, "does not know the model 'judge'")):
        with (
            endpoint(lambda request, status=status: (status, {"error": {"message": "no"}})) as (url, _),
            pytest.raises(BadInput, match=message),
        ):
            reply(url)
    with pytest.raises(BadInput, match="JUDGE_KEY, which is not set"):
        EndpointSource(judge_at("http://127.0.0.1:9/v1", api_key_env="JUDGE_KEY"))


def test_a_judge_that_is_gone_ends_the_run_and_its_faults_are_asked_again(tmp_path):
    path, up = tmp_path / "v", True

    def flaky(request):
        return vllm(request) if up and "p5" not in request["messages"][0]["content"] else (500, {})

    with endpoint(flaky) as (url, requests):
        source = EndpointSource(judge_at(url), 5.0, retries=0)
        assert ask(path, PROMPTS[:8], source)[5].faults == {"endpoint_error": 3}
        up = False
        with pytest.raises(RunFailed, match="could not be reached for 4 prompts"):
            ask(tmp_path / "w", PROMPTS[:8], source)
        requests.clear()
        assert ask(path, PROMPTS[:8], source)[5].faults == {"endpoint_error": 3}
    assert Counter(request["messages"][0]["content"] for request in requests) == {"say p5": 1}


def stage(tmp_path, url, prompts, share=0.5, **judge):
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    write_prompts(tmp_path / "in" / "prompts.parquet", prompts)
    config = JudgeFilterStage(id="filter", kind="judge_filter", judge=judge_at(url, **judge), drop_easiest=share)
    context = StageContext(tmp_path / "out", 7, lambda *_, **__: None, lambda: False, threads=1)
    return run(config, {"prompts": tmp_path / "in"}, context), tmp_path / "out"


def test_the_stage_writes_kept_and_dropped_with_reasons_and_priors(tmp_path):
    prompts = [prompt(f"p{n}", answer="8" if n % 2 else "7", capability="ab"[n // 5]) for n in range(10)]
    with endpoint(vllm) as (url, _):
        outputs, folder = stage(tmp_path, url, prompts)
    kept, dropped = read_prompts(folder / "prompts.parquet"), read_prompts(folder / "dropped.parquet")
    assert sorted(p.id for p in [*kept, *dropped]) == [p.id for p in prompts] and len(dropped) == 5
    assert {p.answer for p in dropped} == {"7"}  # every easy one, and none else: five of ten
    reasons = {line["id"]: line for line in read_json_lines(folder / "reasons.jsonl")}
    assert {reasons[p.id]["decision"] for p in dropped} == {"dropped"}
    assert reasons["p2"]["reason"].startswith("easy: place") and "3 of 3 attempts passed" in reasons["p2"]["reason"]
    rows = Ledger(folder / "ledger.sqlite").rows()
    assert [row.id for row in rows] == sorted(p.id for p in kept)
    assert all(row.verdict["graded"] == 3 and row.prior.a + row.prior.b == pytest.approx(2) for row in rows)
    assert outputs.metrics["pass_rate"] == 0.5 and outputs.metrics["capabilities"]["a"]["kept"] == 2
    assert outputs.tokens_generated == 30
    json.dumps(outputs.metrics, allow_nan=False)


def test_the_stage_sets_unjudged_prompts_aside_and_repeats_itself(tmp_path):
    def half(request):
        return (500, {}) if request["messages"][0]["content"] in ("say p1", "say p3") else vllm(request)

    with endpoint(half) as (url, _):
        first, folder = stage(tmp_path, url, PROMPTS)
        dump = Ledger(folder / "ledger.sqlite").dump()
        reasons = (folder / "reasons.jsonl").read_bytes()
        again, _ = stage(tmp_path, url, PROMPTS)
    assert again == first and (folder / "reasons.jsonl").read_bytes() == reasons
    assert Ledger(folder / "ledger.sqlite").dump() == dump
    assert (first.metrics["kept"], first.metrics["dropped"], first.metrics["unjudged"]) == (4, 4, 2)
    assert first.metrics["faults"] == {"endpoint_error": 6}
    aside = [line for line in read_json_lines(folder / "reasons.jsonl") if line["decision"] == "unjudged"]
    assert [(line["id"], line["reason"], line["rank"]) for line in aside] == [
        ("p1", "unjudged: endpoint_error", None),
        ("p3", "unjudged: endpoint_error", None),
    ]


def test_an_impossible_share_is_refused_before_the_judge_is_asked(tmp_path):
    with endpoint(vllm) as (url, requests):
        pool = [prompt("a", capability="a"), prompt("b", capability="b"), prompt("c", capability="c")]
        with pytest.raises(BadInput, match="leaves none"):
            stage(tmp_path, url, pool, share=0.5)
    assert not requests

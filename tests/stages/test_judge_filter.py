"""A judge behind an endpoint, and the judge filter's stage with one."""

import json
import time
from collections import Counter

import pytest

from builders.scripted_judge import PROMPTS, ask, completion, endpoint, prompt, rating, vllm
from common.errors import BadInput, RunFailed
from common.files import read_json_lines
from common.stage import StageContext
from curriculum.ledger import Ledger
from judges.backend import Question, SamplingRequest
from judges.cache import Cache
from judges.config import AttemptsJudge, PairwiseJudge, RubricJudge
from judges.endpoint import EndpointBackend
from prompts.schema import read_prompts, write_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run


@pytest.fixture(autouse=True)
def own_cache_and_no_patience(tmp_path, monkeypatch):
    monkeypatch.setenv("UPHILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("judges.client.MAX_RETRIES", 0)
    monkeypatch.setattr("judges.client.RECONNECT_S", 0.05)


def judge_at(url, kind=AttemptsJudge, **more):
    plain = {"attempts": 3} if kind is AttemptsJudge else {}
    name = {AttemptsJudge: "attempts", RubricJudge: "rubric", PairwiseJudge: "pairwise"}[kind]
    return kind(
        **({"kind": name, "url": url, "model_name": "judge", "patience_s": 0} | plain | more)
    )


def completions(url, **more):
    request = SamplingRequest(PROMPTS[0].messages, 3, 0.5, 32, 11)
    return EndpointBackend(judge_at(url, **more)).sample([request])[0]


def test_an_endpoint_gives_attempts(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    with endpoint(vllm) as (url, requests):
        got = completions(url, api_key_env="JUDGE_KEY")
    assert [c.text for c in got] == ["7"] * 3 and sum(c.tokens for c in got) == 3
    (attempts,) = requests
    assert attempts["key"] == "Bearer sesame"
    sent = {"model": "judge", "n": 3, "temperature": 0.5, "max_tokens": 32, "seed": 11}
    assert {name: attempts[name] for name in sent} == sent


def test_an_endpoint_gives_the_references_own_tokens():
    with endpoint(vllm) as (url, requests):
        assert EndpointBackend(judge_at(url)).likelihoods(PROMPTS[:1]) == [(-1.5, None)]
    reference = requests[-1]
    assert reference["messages"][-1] == {"role": "assistant", "content": "7"}
    assert reference["continue_final_message"] and not reference["add_generation_prompt"]


def test_an_endpoint_without_prompt_logprobs_says_so_and_is_asked_once():
    with endpoint(completion) as (url, requests):
        found = EndpointBackend(judge_at(url, concurrency=1)).likelihoods(PROMPTS[:3])
    assert found == [(None, "endpoint_gives_none")] * 3
    assert sum("prompt_logprobs" in request for request in requests) == 1


def test_an_endpoint_that_ignores_n_is_asked_again_with_other_seeds():
    with endpoint(lambda request: completion(request | {"n": 1})) as (url, requests):
        assert len(completions(url)) == 3
    assert [request["seed"] for request in requests] == [11, 12, 13]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda request: (500, {"error": {"message": "down"}}), "endpoint_error"),
        (lambda request: (200, b"{half"), "endpoint_error"),
        (lambda request: (200, {"choices": []}), "endpoint_error"),
        (lambda request: (400, {"error": {"message": "maximum context length is 9"}}), "too_long"),
        (lambda request: (413, {"error": {"message": "too large"}}), "too_long"),
        (
            lambda request: (400, {"error": {"message": "top_logprobs must be at most 5"}}),
            "endpoint_refuses",
        ),
        (lambda request: completion(request, None), "empty_reply"),
        (lambda request: completion(request, "", "content_filter"), "refused"),
        (lambda request: time.sleep(1) or completion(request), "endpoint_timeout"),
    ],
)
def test_what_goes_wrong_on_the_way_is_a_fault_of_its_own(answer, fault):
    with endpoint(answer) as (url, _):
        assert [c.fault for c in completions(url, timeout_s=0.3)] == [fault] * 3


def test_a_wrong_key_model_or_variable_is_said_at_once(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    for status, message in (
        (401, "refuses a request without a key"),
        (404, "does not know the model 'judge'"),
    ):
        with (
            endpoint(lambda request, status=status: (status, {"error": {"message": "no"}})) as (
                url,
                _,
            ),
            pytest.raises(BadInput, match=message),
        ):
            completions(url)
    with pytest.raises(BadInput, match="JUDGE_KEY, which is not set"):
        EndpointBackend(judge_at("http://127.0.0.1:9/v1", api_key_env="JUDGE_KEY"))


def place(token, *others):
    top = [{"token": name, "logprob": value} for name, value in others]
    return {"token": token, "logprob": top[0]["logprob"] if top else 0.0, "top_logprobs": top}


def choose(reply):
    question = Question(PROMPTS[0].messages, "Rating:", ("1", "2", "3"), "Reason:", 8)
    with endpoint(lambda request: (200, {"choices": [reply]})) as (url, _):
        return EndpointBackend(judge_at(url)).choose([question])[0]


def test_an_endpoints_choice_is_read_from_the_likelihoods_where_the_label_stands():
    likely = [place("Rating"), place(":"), place(" 2", (" 2", -0.5), (" 3", -1.0), ("4", -1.5))]
    text = {
        "message": {"content": "Rating: 2"},
        "finish_reason": "stop",
        "logprobs": {"content": likely},
    }
    found = choose(text)
    assert found.weights == pytest.approx({"1": 0.0, "2": 0.6225, "3": 0.3775}, abs=1e-3)
    late = [
        place("3"),
        place(" words"),
        place(" Rating"),
        place(":"),
        place(" "),
        place("1", ("1", -0.1)),
    ]
    text = {
        "message": {"content": "3 words Rating: 1"},
        "finish_reason": "stop",
        "logprobs": {"content": late},
    }
    assert choose(text).weights["1"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Rating: 2, as only 1 step is needed", "2"),
        ("rating: **3**", "3"),
        ("2", "2"),
        ("On a scale of 1 to 3: 3", None),
        ("Rating: (1, 2 or 3)", None),
        ("banana", None),
        ("", None),
    ],
)
def test_an_endpoints_words_are_a_choice_only_where_a_label_is_due(text, label):
    found = choose({"message": {"content": text}, "finish_reason": "stop"})
    assert (found.weights and max(found.weights, key=found.weights.get)) == label
    assert found.fault == (None if label else "unreadable")


def test_an_article_is_no_answer():
    question = Question(PROMPTS[0].messages, "Harder:", ("A", "B"))
    for text, weights in (
        ("a tie", None),
        ("Harder: a", None),
        ("Harder: (A or B)", None),
        ("B", {"A": 0, "B": 1}),
    ):
        with endpoint(lambda request, text=text: completion(request, text)) as (url, _):
            assert EndpointBackend(judge_at(url)).choose([question])[0].weights == weights


def test_a_judge_that_is_gone_ends_the_run_and_its_faults_are_asked_again(tmp_path):
    up, cache = True, Cache(None)

    def flaky(request):
        return vllm(request) if up and "p5" not in request["messages"][0]["content"] else (500, {})

    with endpoint(flaky) as (url, requests):
        source = EndpointBackend(judge_at(url))
        assert ask(tmp_path / "v", PROMPTS[:8], source, cache=cache).verdicts[5].faults == {
            "endpoint_error": 4
        }
        up = False
        with pytest.raises(RunFailed, match=r"gave no answer to 4 of 4 questions.*HTTP 500"):
            ask(tmp_path / "w", PROMPTS[:8], source)
        requests.clear()
        up = True
        ask(tmp_path / "v", PROMPTS[:8], source, cache=cache)
    assert Counter(request["messages"][0]["content"] for request in requests) == {"say p5": 2}


def test_a_reply_without_counts_is_a_reply():
    reply = {
        "choices": [{"message": {"content": "7"}, "finish_reason": "stop"}] * 3,
        "usage": {"total_tokens": 3},
    }
    with endpoint(lambda request: (200, reply)) as (url, _):
        assert [(c.text, c.fault, c.tokens) for c in completions(url)] == [("7", None, 0)] * 3


def test_an_endpoint_that_dies_in_the_middle_ends_the_run(tmp_path):
    answered = []

    def dying(request):
        answered.append(request)
        return vllm(request) if len(answered) <= 3 else (500, {})

    with (
        endpoint(dying) as (url, _),
        pytest.raises(RunFailed, match="gave no answer to 7 of 10 questions"),
    ):
        stage(tmp_path, judge_at(url, concurrency=1), PROMPTS)


def test_an_endpoint_that_comes_back_in_time_is_waited_for():
    with endpoint(vllm) as (url, _):
        pass  # closed again: the port refuses
    started = time.monotonic()
    assert [c.fault for c in completions(url, patience_s=0.4)] == ["endpoint_unreachable"] * 3
    assert time.monotonic() - started >= 0.4


def stage(tmp_path, judge, prompts, share=0.5, **more):
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    write_prompts(tmp_path / "in" / "prompts.parquet", prompts)
    config = JudgeFilterStage(
        id="filter", kind="judge_filter", judge=judge, drop_easiest=share, **more
    )
    context = StageContext(tmp_path / "out", 7, lambda *_, **__: None, lambda: False, threads=1)
    return run(config, {"prompts": tmp_path / "in"}, context), tmp_path / "out"


def test_the_stage_writes_kept_and_dropped_with_reasons_and_priors(tmp_path):
    prompts = [
        prompt(f"p{n}", answer="8" if n % 2 else "7", capability="ab"[n // 5]) for n in range(10)
    ]
    with endpoint(vllm) as (url, _):
        outputs, folder = stage(tmp_path, judge_at(url), prompts)
    kept, dropped = (
        read_prompts(folder / "prompts.parquet"),
        read_prompts(folder / "dropped.parquet"),
    )
    assert sorted(p.id for p in [*kept, *dropped]) == [p.id for p in prompts] and len(dropped) == 5
    assert {p.answer for p in dropped} == {"7"}  # every easy one, and none else: five of ten
    reasons = {line["id"]: line for line in read_json_lines(folder / "reasons.jsonl")}
    assert {reasons[p.id]["decision"] for p in dropped} == {"dropped"}
    assert (
        reasons["p2"]["reason"].startswith("easy: rank")
        and "3 of 3 attempts passed" in reasons["p2"]["reason"]
    )
    rows = Ledger(folder / "ledger.sqlite").rows()
    assert [row.id for row in rows] == sorted(p.id for p in kept)
    assert all(
        row.verdict["graded"] == 3 and row.prior.a + row.prior.b == pytest.approx(2) for row in rows
    )
    assert outputs.metrics["pass_rate"] == 0.5 and outputs.metrics["capabilities"]["a"]["kept"] == 2
    assert outputs.tokens_generated == 30 and outputs.metrics["asked"] == 10
    json.dumps(outputs.metrics, allow_nan=False)


def test_the_stage_puts_a_broken_prompt_aside_with_the_evidence(tmp_path):
    prompts = [prompt(f"p{n}", answer="8" if n == 3 else "7") for n in range(10)]
    with endpoint(vllm) as (url, _):
        outputs, folder = stage(tmp_path, judge_at(url, attempts=4), prompts, share=0.0)
    reasons = {line["id"]: line for line in read_json_lines(folder / "reasons.jsonl")}
    assert reasons["p3"]["decision"] == "broken" and reasons["p3"]["evidence"] == {"7": 4}
    assert outputs.metrics["broken"] == 1
    assert "p3" not in [p.id for p in read_prompts(folder / "prompts.parquet")]


def test_the_stage_sets_unjudged_prompts_aside_and_repeats_itself(tmp_path):
    def half(request):
        return (
            (500, {})
            if request["messages"][0]["content"] in ("say p1", "say p3")
            else vllm(request)
        )

    with endpoint(half) as (url, _):
        first, folder = stage(tmp_path, judge_at(url), PROMPTS)
        dump = Ledger(folder / "ledger.sqlite").dump()
        reasons = (folder / "reasons.jsonl").read_bytes()
        again, _ = stage(tmp_path, judge_at(url), PROMPTS)
    assert again == first and (folder / "reasons.jsonl").read_bytes() == reasons
    assert Ledger(folder / "ledger.sqlite").dump() == dump
    assert (first.metrics["kept"], first.metrics["dropped"], first.metrics["unjudged"]) == (4, 4, 2)
    assert first.metrics["faults"] == {"endpoint_error": 6}
    aside = [
        line for line in read_json_lines(folder / "reasons.jsonl") if line["decision"] == "unjudged"
    ]
    assert [(line["id"], line["rank"]) for line in aside] == [("p1", None), ("p3", None)]
    assert "3 endpoint_error" in aside[0]["reason"]


def test_several_judges_agree_or_not_and_decide_together(tmp_path):
    with endpoint(rating) as (url, _):
        judges = [judge_at(url, RubricJudge), judge_at(url, PairwiseJudge)]
        outputs, folder = stage(tmp_path, judges[0], PROMPTS, more_judges=judges[1:])
    assert sorted(p.id for p in read_prompts(folder / "dropped.parquet")) == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    assert outputs.metrics["agreement"]["1 and 2"] > 0.85  # three ratings, ten places
    assert abs(outputs.metrics["judge_2/position_bias"]) < 1e-9
    priors = {row.id: row.prior.mean for row in Ledger(folder / "ledger.sqlite").rows()}
    assert priors["p5"] > priors["p9"]
    assert {line["judge"] for line in read_json_lines(folder / "verdicts.jsonl")} == {1, 2}


def test_a_judge_that_always_answers_nonsense_ends_the_run(tmp_path):
    with (
        endpoint(lambda request: completion(request, "banana")) as (url, _),
        pytest.raises(RunFailed, match="not one of 10 prompts could be judged: unreadable"),
    ):
        stage(tmp_path, judge_at(url, RubricJudge), PROMPTS)


def test_an_impossible_share_is_refused_before_the_judge_is_asked(tmp_path):
    with endpoint(vllm) as (url, requests):
        pool = [
            prompt("a", capability="a"),
            prompt("b", capability="b"),
            prompt("c", capability="c"),
        ]
        with pytest.raises(BadInput, match="must keep 1"):
            stage(tmp_path, judge_at(url), pool, share=0.5)
    assert not requests


def test_examples_of_a_capability_that_no_prompt_has_are_refused_and_others_reach_the_endpoint(
    tmp_path,
):
    solved = [{"question": "say x", "answer": "x"}]
    with endpoint(vllm) as (url, requests):
        with pytest.raises(BadInput, match="examples of ab, and no prompt"):
            stage(tmp_path, judge_at(url, examples={"ab": solved}), PROMPTS)
        assert not requests
        stage(tmp_path, judge_at(url, examples={"c": solved}), PROMPTS)
    assert all(
        [turn["content"] for turn in request["messages"]][:2] == ["say x", "x"]
        for request in requests
    )

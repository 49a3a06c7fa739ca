"""The endpoint backend: completions, likelihoods and choices, and the faults of each."""

import time
from collections import Counter

import pytest

from builders.scripted_endpoint import (
    completion,
    endpoint,
    judge_at,
    sampling_request,
    token_entry,
    vllm,
)
from builders.scripted_judge import PROMPTS, ask
from common.errors import BadInput, RunFailed
from common.reply_cache import ReplyCache
from judges.backend import Question
from judges.endpoint import EndpointBackend

pytestmark = pytest.mark.usefixtures("impatient_client")


def completions(url, **more):
    return EndpointBackend(judge_at(url, **more)).sample([sampling_request()])[0]


def slow(request):
    time.sleep(1)
    return completion(request)


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
        likelihoods = EndpointBackend(judge_at(url, concurrency=1)).likelihoods(PROMPTS[:3])
    assert likelihoods == [(None, "endpoint_gives_none")] * 3
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
        (slow, "endpoint_timeout"),
    ],
)
def test_every_error_is_a_fault_of_its_own(answer, fault):
    with endpoint(answer) as (url, _):
        assert [c.fault for c in completions(url, timeout_s=0.3)] == [fault] * 3


def test_a_wrong_key_model_or_variable_ends_the_run_at_once(monkeypatch):
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


def choose(reply):
    question = Question(PROMPTS[0].messages, "Rating:", ("1", "2", "3"), "Reason:", 8)
    with endpoint(lambda request: (200, {"choices": [reply]})) as (url, _):
        return EndpointBackend(judge_at(url)).choose([question])[0]


def test_probabilities_are_read_at_the_position_of_the_label():
    likely = [
        token_entry("Rating"),
        token_entry(":"),
        token_entry(" 2", (" 2", -0.5), (" 3", -1.0), ("4", -1.5)),
    ]
    text = {
        "message": {"content": "Rating: 2"},
        "finish_reason": "stop",
        "logprobs": {"content": likely},
    }
    choice = choose(text)
    assert choice.weights == pytest.approx({"1": 0.0, "2": 0.6225, "3": 0.3775}, abs=1e-3)
    late = [
        token_entry("3"),
        token_entry(" words"),
        token_entry(" Rating"),
        token_entry(":"),
        token_entry(" "),
        token_entry("1", ("1", -0.1)),
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
def test_a_label_counts_only_where_it_is_expected(text, label):
    choice = choose({"message": {"content": text}, "finish_reason": "stop"})
    assert (choice.weights and max(choice.weights, key=choice.weights.get)) == label
    assert choice.fault == (None if label else "unreadable")


def test_an_article_is_not_the_label_a():
    question = Question(PROMPTS[0].messages, "Harder:", ("A", "B"))
    for text, weights in (
        ("a tie", None),
        ("Harder: a", None),
        ("Harder: (A or B)", None),
        ("B", {"A": 0, "B": 1}),
    ):
        with endpoint(lambda request, text=text: completion(request, text)) as (url, _):
            assert EndpointBackend(judge_at(url)).choose([question])[0].weights == weights


def test_an_unreachable_judge_ends_the_run_and_its_faults_are_asked_again(tmp_path):
    up, cache = True, ReplyCache(None)

    def flaky(request):
        return vllm(request) if up and "p5" not in request["messages"][0]["content"] else (500, {})

    with endpoint(flaky) as (url, requests):
        backend = EndpointBackend(judge_at(url))
        assert ask(tmp_path / "v", PROMPTS[:8], backend, cache=cache).verdicts[5].faults == {
            "endpoint_error": 4
        }
        up = False
        with pytest.raises(RunFailed, match=r"gave no answer to 4 of 4 questions.*HTTP 500"):
            ask(tmp_path / "w", PROMPTS[:8], backend)
        requests.clear()
        up = True
        ask(tmp_path / "v", PROMPTS[:8], backend, cache=cache)
    assert Counter(request["messages"][0]["content"] for request in requests) == {"say p5": 2}


def test_a_reply_without_counts_is_a_reply():
    reply = {
        "choices": [{"message": {"content": "7"}, "finish_reason": "stop"}] * 3,
        "usage": {"total_tokens": 3},
    }
    with endpoint(lambda request: (200, reply)) as (url, _):
        assert [(c.text, c.fault, c.tokens) for c in completions(url)] == [("7", None, 0)] * 3


def test_an_unreachable_endpoint_is_waited_for():
    with endpoint(vllm) as (url, _):
        pass  # closed again: the port refuses
    started = time.monotonic()
    assert [c.fault for c in completions(url, patience_s=0.4)] == ["endpoint_unreachable"] * 3
    assert time.monotonic() - started >= 0.4

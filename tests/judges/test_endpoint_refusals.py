"""Errors and refusals of endpoints: which fault they are, and how their messages are quoted."""

import pytest

from builders.scripted_endpoint import (
    completion,
    endpoint,
    judge_at,
    only_completion,
    response,
)
from builders.scripted_judge import PROMPTS, ask
from common.errors import BadInput, RunFailed
from common.reply_cache import ReplyCache
from judges.backend import BackendMonitor, SamplingRequest
from judges.endpoint import EndpointBackend
from judges.refusal import MAX_QUOTED_CHARS

pytestmark = pytest.mark.usefixtures("impatient_client")


def error(message, **more):
    return {"error": {"message": message, **more}}


ROUTED = error(
    "Provider returned error", code=502, metadata={"raw": "GLM is overloaded", "provider_name": "X"}
)
FILTERED = error("The response was filtered", code="content_filter", param="prompt")
FLAGGED = error("Your input was flagged", code=403, metadata={"reasons": ["violence"]})
LITELLM = error("litellm.ContextWindowExceededError: prompt is too long: 9 tokens > 8", code="400")


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (
            (200, ROUTED),
            "endpoint_error",
            "HTTP 200, error 502: Provider returned error: GLM is overloaded",
        ),
        (
            (200, {"object": "error", "message": "no such thing", "code": 400}),
            "endpoint_refuses",
            "error 400: no such",
        ),
        ((200, {"choices": None, "error": "busy"}), "endpoint_error", "HTTP 200: busy"),
        (
            (200, b"<html>Log in</html>"),
            "endpoint_error",
            "without a chat completion: <html>Log in</html>",
        ),
        ((200, b"[]"), "endpoint_error", "without a chat completion: []"),
        ((200, {"choices": []}), "endpoint_error", 'HTTP 200: {"choices": []}'),
        (
            (502, b"<html>Bad\n gateway</html>"),
            "endpoint_error",
            "HTTP 502: <html>Bad gateway</html>",
        ),
        (
            (429, error("Rate limit: 3 a minute", code="rate_limit")),
            "endpoint_error",
            "3 a minute (rate_limit)",
        ),
        (
            (422, {"detail": [{"loc": ["body", "stop"], "msg": "bad"}]}),
            "endpoint_refuses",
            '"msg": "bad"',
        ),
        ((400, error("x" * 999)), "endpoint_refuses", "xxx..."),
        ((400, {"message": "temperature is off"}), "endpoint_refuses", "temperature is off"),
        ((400, error("too much", code="context_length_exceeded")), "too_long", "too much"),
        ((400, LITELLM), "too_long", "prompt is too long"),
        ((400, FILTERED), "refused", "was filtered"),
        ((403, FLAGGED), "refused", "was flagged"),
        (response({"content": "sev"}, "SAFETY"), "refused", "sev"),
        (response({"content": "sev"}, "sensitive"), "refused", "sev"),
        (response({"content": None, "refusal": "I will not"}), "refused", "I will not"),
        (
            response({"content": "sev"}, "insufficient_system_resource"),
            "endpoint_error",
            "insufficient_system",
        ),
        (response({"content": "sev"}, "abort"), "endpoint_error", "abort"),
        (response({"content": None}, "tool_calls"), "finish_tool_calls", ""),
        (response({"content": None}, "stop"), "empty_reply", ""),
    ],
)
def test_a_failed_request_is_a_fault_with_the_endpoints_message(answer, fault, words):
    got = only_completion(answer)
    assert (got.fault, got.finish) == (fault, "none")
    assert words in got.text and len(got.text) < MAX_QUOTED_CHARS + 30


def test_a_message_is_quoted_once_if_nothing_can_be_judged(tmp_path):
    body = error("Unsupported parameter: 'reasoning_effort'.")
    with endpoint(lambda request: (400, body)) as (url, _), pytest.raises(RunFailed) as caught:
        ask(tmp_path, backend=EndpointBackend(judge_at(url, extra={"reasoning_effort": "low"})))
    assert str(caught.value).count("Unsupported parameter: 'reasoning_effort'") == 1
    assert "gave no answer to 4 of 4 questions: endpoint_refuses 16 times" in str(
        caught.value
    )  # the first chunk


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, error("Insufficient credits", code=402)),
        (200, error("Insufficient credits", code=402)),
        (429, error("Insufficient credits", code="insufficient_quota")),
    ],
)
def test_an_endpoint_that_asks_for_payment_ends_the_run_and_keeps_its_replies(
    tmp_path, status, body
):
    cache, answered = ReplyCache(None), []

    def answer(request):
        answered.append(request)
        return completion(request) if len(answered) <= 2 else (status, body)

    with endpoint(answer) as (url, requests):
        monitor = BackendMonitor()
        backend = EndpointBackend(judge_at(url, concurrency=1), monitor)
        with pytest.raises(RunFailed, match=r"asks for payment.*Insufficient credits"):
            ask(tmp_path, backend=backend, cache=cache, monitor=monitor)
        assert len(requests) == 3
        answered.clear()
        assert ask(tmp_path / "again", PROMPTS[:2], backend, cache=cache).asked == 0


def test_refusals_are_not_cached(tmp_path):
    cache, config = ReplyCache(None), {"leave_out": ["n"]}
    with endpoint(lambda request: (400, error("no"))) as (url, _), pytest.raises(RunFailed):
        ask(tmp_path / "a", PROMPTS[:2], EndpointBackend(judge_at(url)), cache=cache)
    with endpoint(completion) as (url, requests):
        assert (
            ask(
                tmp_path / "b", PROMPTS[:2], EndpointBackend(judge_at(url, **config)), cache=cache
            ).asked
            == 2
        )
    assert len(requests) == 8


def test_not_found_and_forbidden_are_quoted(monkeypatch):
    for status, body in (
        (404, error("no such deployment")),
        (403, {"detail": "no such deployment"}),
    ):
        with pytest.raises(BadInput, match="no such deployment"):
            only_completion((status, body))


def test_a_prompt_that_is_not_valid_unicode_is_a_fault():
    with endpoint(completion) as (url, requests):
        request = SamplingRequest([{"role": "user", "content": "\ud800"}], 1, 0.5, 32, 11)
        (got,) = EndpointBackend(judge_at(url)).sample([request])[0]
    assert got.fault == "endpoint_error" and "surrogates not allowed" in got.text and not requests

"""What endpoints answer: replies of every shape, and their own words about what they refuse."""

import pytest

from builders.scripted_judge import PROMPTS, ask, completion, endpoint, judge_at, judge_session
from common.errors import BadInput, RunFailed
from judges.ask import judge_prompts
from judges.backend import BackendMonitor, Question, SamplingRequest
from judges.cache import Cache
from judges.config import PairwiseJudge, RubricJudge
from judges.endpoint import EndpointBackend
from judges.pairwise import Pairwise
from judges.refusal import MAX_QUOTED_CHARS
from judges.rubric import Rubric
from rewards.grade import Grade

REQUEST = SamplingRequest(PROMPTS[0].messages, 1, 0.5, 32, 11)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr("judges.client.MAX_RETRIES", 0)
    monkeypatch.setattr("judges.client.RECONNECT_S", 0.05)


def one(answer, **config):
    """The one completion that an endpoint gives which always answers so."""
    with endpoint(answer if callable(answer) else lambda request: answer) as (url, _):
        return EndpointBackend(judge_at(url, **config)).sample([REQUEST])[0][0]


def reply(message, finish="stop", **more):
    return 200, {"choices": [{"message": message, "finish_reason": finish}]} | more


NULLS = {"prompt_tokens": None, "completion_tokens": None}
PARTS = [{"type": "text", "text": "se"}, {"type": "text", "text": "ven"}]
THOUGHT = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "8?"}]},
    {"type": "text", "text": "7"},
]
TOKENS = {"content": [{"token": "7", "logprob": None, "bytes": None, "top_logprobs": None}]}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reply({"content": "7"}, usage=NULLS), "7"),
        (reply({"content": "7"}, usage=[3, 4]), "7"),
        (reply({"content": "7"}, usage={"completion_tokens": "four"}), "7"),
        (
            (
                200,
                {
                    "choices": [
                        {"message": {"content": "7"}, "finish_reason": "stop", "logprobs": TOKENS}
                    ]
                },
            ),
            "7",
        ),
        (
            (
                200,
                {
                    "choices": [
                        {"message": {"content": "7"}, "finish_reason": "stop", "logprobs": [1]}
                    ]
                },
            ),
            "7",
        ),
        (reply({"content": "7"}, prompt_logprobs="none", error=None, object=None), "7"),
        (reply({"content": "7", "refusal": None, "tool_calls": None, "annotations": {}}), "7"),
        (reply({"content": PARTS}), "seven"),
        (reply({"content": ["se", "ven"]}), "seven"),
        (reply({"content": THOUGHT}), "7"),
        (reply({"content": "7", "reasoning_content": "Is it 8?"}), "7"),
        (reply({"content": "7", "reasoning": "Is it 8?"}), "7"),
    ],
)
def test_what_is_not_needed_may_have_any_shape_and_reasoning_is_no_text(answer, text):
    got = one(answer)
    assert (got.text, got.finish, got.fault) == (text, "stop", None)


@pytest.mark.parametrize(
    "word", [None, "eos", "eos_token", "end_turn", "STOP", "end", "", "stop_sequence"]
)
def test_any_word_for_the_end_of_a_text_counts_and_is_recorded(word, tmp_path):
    with endpoint(lambda request: completion(request, finish=word)) as (url, _):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url))).verdicts
    assert (verdict.passed, verdict.graded) == (4, 4)
    assert {one["finish"] for one in verdict.to_json()["replies"]} == {word or "null"}


@pytest.mark.parametrize(
    ("message", "finish"),
    [
        ({"content": None}, "length"),
        ({"content": ""}, "length"),
        ({}, "length"),
        ({"content": "half"}, "length"),
        ({"content": "half"}, "MAX_TOKENS"),
        ({"content": "half"}, "model_length"),
        ({"content": None, "reasoning_content": "Is it 7?"}, "length"),
        ({"content": None, "reasoning_content": "It is 7."}, "stop"),
        ({"content": " \n", "reasoning": "It is 7."}, "stop"),
        ({"content": [THOUGHT[0]]}, "stop"),
        ({"content": "<think>Is it 7?"}, "stop"),
        ({"content": "<think>It is 7.</think>\n"}, "stop"),
    ],
)
def test_what_has_not_come_to_its_answer_is_cut_off_and_asked_again_at_twice_the_length(
    message, finish, tmp_path
):
    def answer(request):
        return reply(message, finish) if request["max_tokens"] == 8 else completion(request)

    with endpoint(answer) as (url, requests):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url))).verdicts
    assert verdict.faults == {"cut_off": 4} and (verdict.passed, verdict.graded) == (4, 4)
    assert {request["max_tokens"] for request in requests} == {8, 16}


def test_inline_reasoning_is_no_part_of_what_is_graded_or_taken_for_a_refusal(tmp_path):
    read = []

    def grade(prompt, text):
        read.append(text.strip())
        return Grade(float(text.strip() == "7"), None, text)

    texts = iter(
        [
            "<think>8? 9.</think>\n7",
            "it is 8</think>7",
            "<think>I can't say</think> I'm sorry, no",
            "7",
        ]
    )
    with endpoint(lambda request: completion(request | {"n": 1}, next(texts, "7"))) as (url, _):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url)), grade).verdicts
    assert verdict.faults == {"refused": 1} and verdict.passed == verdict.graded == 4
    assert set(read) == {"7", "I'm sorry, no"}


def test_a_grade_that_says_cut_off_is_asked_again_at_twice_the_length(tmp_path):
    def grade(prompt, text):
        return Grade(0.0, "cut_off", None) if text == "half" else Grade(1.0, None, text)

    with endpoint(
        lambda request: completion(request, "half" if request["max_tokens"] == 8 else "7")
    ) as (url, _):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url)), grade).verdicts
    assert verdict.faults == {"cut_off": 4} and verdict.passed == 4


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
        (reply({"content": "sev"}, "SAFETY"), "refused", "sev"),
        (reply({"content": "sev"}, "sensitive"), "refused", "sev"),
        (reply({"content": None, "refusal": "I will not"}), "refused", "I will not"),
        (
            reply({"content": "sev"}, "insufficient_system_resource"),
            "endpoint_error",
            "insufficient_system",
        ),
        (reply({"content": "sev"}, "abort"), "endpoint_error", "abort"),
        (reply({"content": None}, "tool_calls"), "finish_tool_calls", ""),
        (reply({"content": None}, "stop"), "empty_reply", ""),
    ],
)
def test_what_is_no_reply_is_a_fault_with_the_endpoints_own_words(answer, fault, words):
    got = one(answer)
    assert (got.fault, got.finish) == (fault, "none")
    assert words in got.text and len(got.text) < MAX_QUOTED_CHARS + 30


def test_words_are_quoted_once_where_nothing_can_be_judged(tmp_path):
    said = error("Unsupported parameter: 'reasoning_effort'.")
    with endpoint(lambda request: (400, said)) as (url, _), pytest.raises(RunFailed) as caught:
        ask(tmp_path, source=EndpointBackend(judge_at(url, extra={"reasoning_effort": "low"})))
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
def test_an_endpoint_that_wants_money_ends_it_at_once_and_keeps_what_it_gave(
    tmp_path, status, body
):
    cache, answered = Cache(None), []

    def answer(request):
        answered.append(request)
        return completion(request) if len(answered) <= 2 else (status, body)

    with endpoint(answer) as (url, requests):
        monitor = BackendMonitor()
        source = EndpointBackend(judge_at(url, concurrency=1), monitor)
        with pytest.raises(RunFailed, match=r"asks for payment.*Insufficient credits"):
            ask(tmp_path, source=source, cache=cache, monitor=monitor)
        assert len(requests) == 3
        answered.clear()
        assert ask(tmp_path / "again", PROMPTS[:2], source, cache=cache).asked == 0


def test_refusals_are_not_remembered(tmp_path):
    cache, config = Cache(None), {"leave_out": ["n"]}
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


def test_a_rating_and_a_comparison_are_asked_again_with_room_for_the_reasoning(tmp_path):
    def answer(request):
        content = request["messages"][0]["content"]
        if request["max_tokens"] < 200:
            return reply({"content": None, "reasoning_content": "Well,"}, "length")
        return completion(request, "Harder: B" if "Harder:" in content else "Rating: 3\nReason: so")

    with endpoint(answer) as (url, requests):
        config = judge_at(url, RubricJudge, thinking_tokens=100, max_tokens=10)
        found = Rubric(config, EndpointBackend(config, BackendMonitor(note=lambda text: None))).ask(
            [(PROMPTS[0],)]
        )
        assert [said["fault"] for said in found[0]["replies"]] == ["cut_off", None]
        assert [request["max_tokens"] for request in requests[:2]] == [118, 236]
        config = judge_at(url, PairwiseJudge, thinking_tokens=100)
        judge = Pairwise(config, EndpointBackend(config, BackendMonitor(note=lambda text: None)))
        verdicts = judge_prompts(PROMPTS[:2], judge, judge_session(tmp_path)).verdicts
    assert all(verdict.graded == 2 and not verdict.faults for verdict in verdicts)


def test_a_choice_is_read_behind_inline_reasoning_only(tmp_path):
    question = Question(PROMPTS[0].messages, "Rating:", ("1", "2", "3"))
    for text, fault in (
        ("<think>Rating: 1?</think>Rating: 3", None),
        ("<think>Rating: 1", "cut_off"),
    ):
        with endpoint(lambda request, text=text: completion(request, text)) as (url, _):
            got = EndpointBackend(
                judge_at(url, RubricJudge), BackendMonitor(note=lambda text: None)
            ).choose([question])[0]
        assert got.fault == fault and (got.weights or {"3": 1})["3"] == 1


def test_a_page_that_is_not_found_or_forbidden_is_told_in_its_words(monkeypatch):
    for status, body in (
        (404, error("no such deployment")),
        (403, {"detail": "no such deployment"}),
    ):
        with pytest.raises(BadInput, match="no such deployment"):
            one((status, body))


def test_a_prompt_that_is_no_unicode_is_a_fault():
    with endpoint(completion) as (url, requests):
        request = SamplingRequest([{"role": "user", "content": "\ud800"}], 1, 0.5, 32, 11)
        (got,) = EndpointBackend(judge_at(url)).sample([request])[0]
    assert got.fault == "endpoint_error" and "surrogates not allowed" in got.text and not requests

"""Ratings and comparisons by an endpoint, with log-probabilities and without."""

import pytest

from builders.scripted_endpoint import (
    backend_at,
    completion,
    endpoint,
    judge_at,
    openai_error,
    token_entry,
)
from builders.scripted_judge import PROMPTS, judge_session
from judges.ask import judge_prompts
from judges.backend import Question
from judges.config import PairwiseJudge, RubricJudge
from judges.rubric import Rubric

pytestmark = pytest.mark.usefixtures("impatient_client")

RATING = Question(PROMPTS[0].messages, "Rating:", ("1", "2", "3"))


def rated(request, text="Rating: 2", places=(), finish="stop"):
    """A rating with as many likely tokens as were asked for."""
    if not request.get("logprobs"):
        return completion(request, text, finish)
    likely = [p | {"top_logprobs": p["top_logprobs"][: request["top_logprobs"]]} for p in places]
    return 200, {
        "choices": [
            {"message": {"content": text}, "finish_reason": finish, "logprobs": {"content": likely}}
        ]
    }


LIKELY = [
    token_entry("Rating"),
    token_entry(":"),
    token_entry(" 2", (" 2", -0.5), (" 3", -1.0), (" 1", -9.0)),
]
SHARES = pytest.approx({"1": 0.0, "2": 0.6225, "3": 0.3775}, abs=1e-3)


@pytest.mark.parametrize(
    "refusal",
    [
        openai_error(
            "Invalid value for 'top_logprobs': must be less than or equal to 5.", "top_logprobs"
        ),
        (
            400,
            {
                "error": {
                    "message": (
                        "Requested sample logprobs of 20, which is greater than max allowed: 5"
                    )
                }
            },
        ),
        (
            422,
            {
                "detail": [
                    {
                        "loc": ["body", "top_logprobs"],
                        "msg": "Input should be less than or equal to 5",
                    }
                ]
            },
        ),
    ],
)
def test_fewer_likely_tokens_are_requested_if_the_endpoint_allows_fewer(refusal):
    notes: list[str] = []

    def answer(request):
        return refusal if request.get("top_logprobs", 0) > 5 else rated(request, places=LIKELY)

    with endpoint(answer) as (url, _):
        assert backend_at(url, notes, RubricJudge).choose([RATING])[0].weights == SHARES
    assert len(notes) == 1 and "top_logprobs is 5, not 20" in notes[0]


def forbidden(request):
    if request.get("logprobs"):
        return 403, {
            "error": {"message": "You are not allowed to request logprobs from this model"}
        }


def unsupported(request):
    if request.get("logprobs"):
        return 400, {
            "error": {
                "message": (
                    "does not support parameters: ['logprobs', 'top_logprobs']. To drop these"
                )
            }
        }


def switched_off(request):
    if request.get("logprobs"):
        return openai_error("Logprobs is not enabled for this model", "logprobs")


def nothing(request):
    if request.get("logprobs"):
        return completion(request, "Rating: 1")


def own_alone(request):
    if request.get("logprobs"):
        return rated(
            request, "Rating: 1", [token_entry("Rating"), token_entry(":"), token_entry(" 1")]
        )


def broken(request):
    if request.get("logprobs"):
        return rated(request, "Rating: 1", [{"token": None, "logprob": None, "top_logprobs": []}])


@pytest.mark.parametrize(
    "without", [forbidden, unsupported, switched_off, nothing, own_alone, broken]
)
def test_without_probabilities_a_rating_is_a_share_of_samples_with_a_note(without, tmp_path):
    notes: list[str] = []

    def answer(request):
        texts = ["Rating: 2", "Rating: 2", "banana", "Rating: 3", "Rating: 2"]
        choices = [
            {"message": {"content": text}, "finish_reason": "stop"}
            for text in texts[: request.get("n", 1)]
        ]
        return without(request) or (200, {"choices": choices, "usage": {"completion_tokens": 15}})

    with endpoint(answer) as (url, requests):
        config = judge_at(url, RubricJudge)
        judge = Rubric(config, backend_at(url, notes, RubricJudge))
        verdicts = judge_prompts(PROMPTS, judge, judge_session(tmp_path)).verdicts
    assert {verdict.replies[0].value for verdict in verdicts} == {2.25}
    replies = [reply for verdict in verdicts for reply in verdict.to_json()["replies"]]
    assert {(reply["how"], reply["tokens"]) for reply in replies} == {("4 samples", 15)}
    assert (
        len(notes) == 1
        and "shares of 5 sampled replies" in notes[0]
        and "top_logprobs: 0" in notes[0]
    )
    sampled = [request for request in requests if "logprobs" not in request]
    assert len(sampled) == 10 and {request["temperature"] for request in sampled} == {1.0}
    assert len({request["seed"] for request in sampled}) == 10


def test_configured_samples_request_no_probabilities():
    notes: list[str] = []
    with endpoint(lambda request: completion(request, "Harder: B")) as (url, requests):
        backend = backend_at(
            url, notes, PairwiseJudge, top_logprobs=0, samples=3, leave_out=["temperature"]
        )
        (got,) = backend.choose([Question(PROMPTS[0].messages, "Harder:", ("A", "B"))])
    assert (
        got.weights == {"A": 0.0, "B": 1.0}
        and got.how == "3 samples, its own temperature"
        and not notes
    )
    assert [request["n"] for request in requests] == [3] and "logprobs" not in requests[0]


def test_probabilities_are_read_after_tokens_of_reasoning():
    thought = [
        token_entry("Rating"),
        token_entry(":"),
        token_entry(" 1", (" 1", -0.1), (" 3", -3.0)),
        token_entry("</think>"),
    ]
    with endpoint(
        lambda request: rated(request, places=[*thought, *LIKELY, token_entry("<|im_end|>")])
    ) as (url, _):
        assert backend_at(url, [], RubricJudge).choose([RATING])[0].weights == SHARES


def test_tokens_of_another_text_are_ignored():
    with endpoint(
        lambda request: rated(request, "Rating: 3", places=[token_entry("x", ("x", -1.0))])
    ) as (url, requests):
        (got,) = backend_at(url, [], RubricJudge).choose([RATING])
    assert (
        got.weights == {"1": 0.0, "2": 0.0, "3": 1.0}
        and got.how == "5 samples"
        and len(requests) == 2
    )

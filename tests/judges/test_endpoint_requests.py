"""What endpoints are asked: the parameters they take, by the config or found out, and ratings
without probabilities."""

import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from builders.scripted_judge import PROMPTS, ask, completion, endpoint, judge_at, judge_session
from judges.ask import judge_prompts
from judges.backend import BackendMonitor, Question, SamplingRequest
from judges.config import AttemptsJudge, PairwiseJudge, RubricJudge
from judges.endpoint import EndpointBackend
from judges.rubric import Rubric

RATING = Question(PROMPTS[0].messages, "Rating:", ("1", "2", "3"))


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr("judges.client.MAX_RETRIES", 0)
    monkeypatch.setattr("judges.client.RECONNECT_S", 0.05)


def backend_of(url, notes, kind=AttemptsJudge, **config):
    return EndpointBackend(judge_at(url, kind, **config), BackendMonitor(note=notes.append))


def openai_says(message, param, code="unsupported_value"):
    return 400, {
        "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    }


def no_max_tokens(request):
    if "max_tokens" in request:
        return openai_says(
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens",
        )


def old_server(request):
    if "max_completion_tokens" in request:
        return 422, {
            "detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]
        }


def own_temperature(request):
    if "temperature" in request:
        return openai_says(
            "'temperature' does not support 0.5 with this model. Only 1 is supported.",
            "temperature",
        )


def no_seed(request):
    if "seed" in request:
        detail = [
            {
                "type": "extra_forbidden",
                "loc": ["body", "seed"],
                "msg": "Extra inputs are not permitted",
            }
        ]
        return 422, {
            "object": "error",
            "message": {"detail": detail},
            "type": "invalid_request_error",
            "param": None,
        }


def one_choice(request):
    if request.get("n", 1) > 1:
        return 400, {"error": {"message": "invalid n value (currently only n = 1 is supported)"}}


def quoted_n(request):
    if request.get("n", 1) > 1:
        return 200, {"error": {"message": "'n' must be 1", "code": 400}}


def reasoning_model(request):
    return no_max_tokens(request) or own_temperature(request)


OLD = {"length_parameter": "max_completion_tokens"}


@pytest.mark.parametrize(
    ("refuses", "config", "left", "said"),
    [
        (
            no_max_tokens,
            {},
            {"max_completion_tokens", "temperature", "seed", "n"},
            "sent as max_completion_tokens",
        ),
        (old_server, OLD, {"max_tokens", "temperature", "seed", "n"}, "sent as max_tokens"),
        (
            own_temperature,
            {},
            {"max_tokens", "seed", "n"},
            "temperature is left out, so the endpoint's own is used",
        ),
        (
            no_seed,
            {},
            {"max_tokens", "temperature", "n"},
            "seed is left out, so replies cannot be repeated",
        ),
        (one_choice, {}, {"max_tokens", "temperature", "seed"}, "each completion is a request"),
        (quoted_n, {}, {"max_tokens", "temperature", "seed"}, "leave_out: [n]"),
        (
            reasoning_model,
            {},
            {"max_completion_tokens", "seed", "n"},
            "max_completion_tokens; temperature is left out",
        ),
    ],
)
def test_what_an_endpoint_refuses_is_done_without_and_said_once(refuses, config, left, said):
    notes = []
    with endpoint(lambda request: refuses(request) or completion(request)) as (url, requests):
        source = backend_of(url, notes, **config)
        found = source.sample([SamplingRequest(one.messages, 3, 0.5, 32, 11) for one in PROMPTS])
    assert [[c.text for c in got] for got in found] == [["7"] * 3] * 10
    assert requests[-1].keys() - {"model", "messages", "key"} == left
    assert len(notes) == 1 and said in notes[0]
    assert (
        sum(refuses(request) is not None for request in requests) <= 2
    )  # the first request went alone


@pytest.mark.parametrize(
    ("refuses", "config"),
    [
        (no_max_tokens, {"length_parameter": "max_completion_tokens"}),
        (own_temperature, {"leave_out": ["temperature"]}),
        (no_seed, {"leave_out": ["seed"]}),
        (one_choice, {"leave_out": ["n", "seed"]}),
    ],
)
def test_a_config_that_knows_the_endpoint_is_refused_nothing(refuses, config):
    notes = []
    with endpoint(lambda request: refuses(request) or completion(request)) as (url, requests):
        backend_of(url, notes, **config).sample(
            [SamplingRequest(PROMPTS[0].messages, 3, 0.5, 32, 11)]
        )
    assert not notes and not any(map(refuses, requests))
    assert len(requests) == (3 if "n" in config.get("leave_out", ()) else 1)


@pytest.mark.parametrize(
    ("message", "tries"),
    [
        ("max_tokens is too large: at most 16", 2),
        ("We do not like this prompt", 1),
        ("Unknown field: stop, \\n", 1),
    ],
)
def test_a_refusal_that_nothing_helps_against_changes_nothing(message, tries):
    notes = []
    with endpoint(lambda request: (400, {"error": {"message": message}})) as (url, requests):
        source = backend_of(url, notes, concurrency=1)
        got = source.sample([SamplingRequest(one.messages, 3, 0.5, 32, 11) for one in PROMPTS[:2]])
    assert {c.fault for one in got for c in one} == {"endpoint_refuses"} and message in got[0][
        0
    ].text
    assert (
        not notes
        and len(requests) == 2 * tries
        and all("max_tokens" in one for one in requests[::tries])
    )


def place(token, *others):
    top = [{"token": name, "logprob": value} for name, value in others]
    return {"token": token, "logprob": others[0][1] if others else -0.1, "top_logprobs": top}


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


LIKELY = [place("Rating"), place(":"), place(" 2", (" 2", -0.5), (" 3", -1.0), (" 1", -9.0))]
SHARES = pytest.approx({"1": 0.0, "2": 0.6225, "3": 0.3775}, abs=1e-3)


@pytest.mark.parametrize(
    "refusal",
    [
        openai_says(
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
def test_fewer_likely_tokens_are_asked_for_where_an_endpoint_gives_fewer(refusal):
    notes = []

    def answer(request):
        return refusal if request.get("top_logprobs", 0) > 5 else rated(request, places=LIKELY)

    with endpoint(answer) as (url, _):
        assert backend_of(url, notes, RubricJudge).choose([RATING])[0].weights == SHARES
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
        return openai_says("Logprobs is not enabled for this model", "logprobs")


def nothing(request):
    if request.get("logprobs"):
        return completion(request, "Rating: 1")


def own_alone(request):
    if request.get("logprobs"):
        return rated(request, "Rating: 1", [place("Rating"), place(":"), place(" 1")])


def broken(request):
    if request.get("logprobs"):
        return rated(request, "Rating: 1", [{"token": None, "logprob": None, "top_logprobs": []}])


@pytest.mark.parametrize(
    "without", [forbidden, unsupported, switched_off, nothing, own_alone, broken]
)
def test_without_probabilities_a_rating_is_the_share_of_several_samples_and_says_so(
    without, tmp_path
):
    notes = []

    def answer(request):
        texts = ["Rating: 2", "Rating: 2", "banana", "Rating: 3", "Rating: 2"]
        choices = [
            {"message": {"content": text}, "finish_reason": "stop"}
            for text in texts[: request.get("n", 1)]
        ]
        return without(request) or (200, {"choices": choices, "usage": {"completion_tokens": 15}})

    with endpoint(answer) as (url, requests):
        config = judge_at(url, RubricJudge)
        judge = Rubric(config, backend_of(url, notes, RubricJudge))
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


def test_samples_by_config_ask_for_no_probabilities_and_a_comparison_takes_them_too():
    notes = []
    with endpoint(lambda request: completion(request, "Harder: B")) as (url, requests):
        source = backend_of(
            url, notes, PairwiseJudge, top_logprobs=0, samples=3, leave_out=["temperature"]
        )
        (got,) = source.choose([Question(PROMPTS[0].messages, "Harder:", ("A", "B"))])
    assert (
        got.weights == {"A": 0.0, "B": 1.0}
        and got.how == "3 samples, its own temperature"
        and not notes
    )
    assert [request["n"] for request in requests] == [3] and "logprobs" not in requests[0]


def test_probabilities_are_found_behind_tokens_of_reasoning():
    thought = [
        place("Rating"),
        place(":"),
        place(" 1", (" 1", -0.1), (" 3", -3.0)),
        place("</think>"),
    ]
    with endpoint(
        lambda request: rated(request, places=[*thought, *LIKELY, place("<|im_end|>")])
    ) as (url, _):
        assert backend_of(url, [], RubricJudge).choose([RATING])[0].weights == SHARES


def test_tokens_that_do_not_fit_the_text_are_not_believed():
    with endpoint(
        lambda request: rated(request, "Rating: 3", places=[place("x", ("x", -1.0))])
    ) as (url, requests):
        (got,) = backend_of(url, [], RubricJudge).choose([RATING])
    assert (
        got.weights == {"1": 0.0, "2": 0.0, "3": 1.0}
        and got.how == "5 samples"
        and len(requests) == 2
    )


def test_extra_parameters_are_sent_and_may_not_be_ours():
    with endpoint(completion) as (url, requests):
        extra = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
        backend_of(url, [], extra=extra).sample(
            [SamplingRequest(PROMPTS[0].messages, 1, 0.5, 32, 11)]
        )
    assert {name: requests[0][name] for name in extra} == extra
    for wrong in (
        {"extra": {"n": 2}},
        {"extra": {"stream": True}},
        {"leave_out": ["messages"]},
        {"top_logprobs": 21},
    ):
        with pytest.raises(ValidationError):
            judge_at("http://x", RubricJudge, **wrong)
    with pytest.raises(ValidationError, match="only apply to graded_by: judge"):
        judge_at("http://x", samples=9)


def test_what_changes_no_reply_is_not_in_the_key_and_what_does_is():
    plain = judge_at("http://x", RubricJudge).asked()
    for same in (
        {"leave_out": ["n", "seed"]},
        {"length_parameter": "max_completion_tokens"},
        {"timeout_s": 9},
    ):
        assert judge_at("http://x", RubricJudge, **same).asked() == plain
    for other in (
        {"extra": {"top_k": 1}},
        {"leave_out": ["temperature"]},
        {"top_logprobs": 5},
        {"samples": 4},
        {"thinking_tokens": 9},
    ):
        assert judge_at("http://x", RubricJudge, **other).asked() != plain
    thinking = judge_at("http://x", extra={"chat_template_kwargs": {"enable_thinking": True}})
    assert thinking.origin() != judge_at("http://x").origin()  # a likelihood's key


def test_the_judge_on_the_page_about_endpoints_is_a_judge():
    page = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
    (config,) = (yaml.safe_load(block.partition("```")[0]) for block in page.split("```yaml")[1:])
    assert RubricJudge.model_validate(config["judge"]).extra == {"reasoning_effort": "low"}


def test_the_room_for_reasoning_comes_on_top_and_doubles_with_the_rest(tmp_path):
    def answer(request):
        return (
            completion(request, "", "length")
            if request["max_tokens"] == 108
            else completion(request)
        )

    with endpoint(answer) as (url, requests):
        ask(tmp_path, PROMPTS[:1], backend_of(url, []), config=judge_at(url, thinking_tokens=100))
    assert [request["max_tokens"] for request in requests] == [108, 216]


def test_the_first_request_goes_alone():
    together, most = [], []

    def answer(request):
        together.append(request)
        most.append(len(together))
        time.sleep(0.05)
        together.pop()
        return completion(request)

    with endpoint(answer) as (url, _):
        backend_of(url, [], concurrency=5).sample(
            [SamplingRequest(one.messages, 1, 0.5, 32, 11) for one in PROMPTS]
        )
    assert most[:2] == [1, 1] and max(most) > 2

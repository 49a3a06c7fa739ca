"""Requests to endpoints: parameters that are configured or found to be refused."""

import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from builders.scripted_endpoint import (
    backend_at,
    completion,
    endpoint,
    judge_at,
    openai_error,
    sampling_request,
)
from builders.scripted_judge import PROMPTS, ask
from judges.config import RubricJudge

pytestmark = pytest.mark.usefixtures("impatient_client")


def no_max_tokens(request):
    if "max_tokens" in request:
        return openai_error(
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
        return openai_error(
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
    ("refuses", "config", "sent", "message"),
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
def test_refused_parameters_are_left_out_and_noted_once(refuses, config, sent, message):
    notes: list[str] = []
    with endpoint(lambda request: refuses(request) or completion(request)) as (url, requests):
        backend = backend_at(url, notes, **config)
        sampled = backend.sample([sampling_request(prompt) for prompt in PROMPTS])
    assert [[completion.text for completion in each] for each in sampled] == [["7"] * 3] * 10
    assert requests[-1].keys() - {"model", "messages", "key"} == sent
    assert len(notes) == 1 and message in notes[0]
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
def test_a_matching_config_meets_no_refusal(refuses, config):
    notes: list[str] = []
    with endpoint(lambda request: refuses(request) or completion(request)) as (url, requests):
        backend_at(url, notes, **config).sample([sampling_request()])
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
def test_a_refusal_without_a_remedy_changes_nothing(message, tries):
    notes: list[str] = []
    with endpoint(lambda request: (400, {"error": {"message": message}})) as (url, requests):
        backend = backend_at(url, notes, concurrency=1)
        got = backend.sample([sampling_request(one) for one in PROMPTS[:2]])
    assert {c.fault for one in got for c in one} == {"endpoint_refuses"} and message in got[0][
        0
    ].text
    assert (
        not notes
        and len(requests) == 2 * tries
        and all("max_tokens" in one for one in requests[::tries])
    )


def test_extra_parameters_are_sent_but_must_not_override_ours():
    with endpoint(completion) as (url, requests):
        extra = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
        backend_at(url, [], extra=extra).sample([sampling_request(samples=1)])
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


def test_the_key_holds_exactly_the_settings_that_change_a_reply():
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


def test_the_example_in_the_docs_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
    (config,) = (yaml.safe_load(block.partition("```")[0]) for block in page.split("```yaml")[1:])
    assert RubricJudge.model_validate(config["judges"][0]).extra == {"reasoning_effort": "low"}


def test_thinking_tokens_are_added_and_doubled_on_retry(tmp_path):
    def answer(request):
        return (
            completion(request, "", "length")
            if request["max_tokens"] == 108
            else completion(request)
        )

    with endpoint(answer) as (url, requests):
        ask(tmp_path, PROMPTS[:1], backend_at(url, []), config=judge_at(url, thinking_tokens=100))
    assert [request["max_tokens"] for request in requests] == [108, 216]


def test_the_first_request_is_sent_alone():
    together, most = [], []

    def answer(request):
        together.append(request)
        most.append(len(together))
        time.sleep(0.05)
        together.pop()
        return completion(request)

    with endpoint(answer) as (url, _):
        backend_at(url, [], concurrency=5).sample(
            [sampling_request(one, samples=1) for one in PROMPTS]
        )
    assert most[:2] == [1, 1] and max(most) > 2

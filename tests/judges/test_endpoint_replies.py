"""Replies of endpoints in every shape: text, reasoning, finish reasons."""

import pytest

from builders.scripted_endpoint import (
    completion,
    endpoint,
    judge_at,
    only_completion,
    response,
)
from builders.scripted_judge import PROMPTS, ask, judge_session
from judges.ask import judge_prompts
from judges.backend import BackendMonitor, Question
from judges.config import PairwiseJudge, RubricJudge
from judges.endpoint import EndpointBackend
from judges.pairwise import Pairwise
from judges.rubric import Rubric
from rewards.grader import Grade

pytestmark = pytest.mark.usefixtures("impatient_client")

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
        (response({"content": "7"}, usage=NULLS), "7"),
        (response({"content": "7"}, usage=[3, 4]), "7"),
        (response({"content": "7"}, usage={"completion_tokens": "four"}), "7"),
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
        (response({"content": "7"}, prompt_logprobs="none", error=None, object=None), "7"),
        (response({"content": "7", "refusal": None, "tool_calls": None, "annotations": {}}), "7"),
        (response({"content": PARTS}), "seven"),
        (response({"content": ["se", "ven"]}), "seven"),
        (response({"content": THOUGHT}), "7"),
        (response({"content": "7", "reasoning_content": "Is it 8?"}), "7"),
        (response({"content": "7", "reasoning": "Is it 8?"}), "7"),
    ],
)
def test_unneeded_fields_may_have_any_shape_and_reasoning_is_not_text(answer, text):
    got = only_completion(answer)
    assert (got.text, got.finish, got.fault) == (text, "stop", None)


@pytest.mark.parametrize(
    "word", [None, "eos", "eos_token", "end_turn", "STOP", "end", "", "stop_sequence"]
)
def test_any_finish_reason_of_a_complete_text_counts_and_is_recorded(word, tmp_path):
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
def test_a_reply_without_its_answer_is_cut_off_and_retried_at_twice_the_length(
    message, finish, tmp_path
):
    def answer(request):
        return response(message, finish) if request["max_tokens"] == 8 else completion(request)

    with endpoint(answer) as (url, requests):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url))).verdicts
    assert verdict.faults == {"cut_off": 4} and (verdict.passed, verdict.graded) == (4, 4)
    assert {request["max_tokens"] for request in requests} == {8, 16}


def test_inline_reasoning_is_neither_graded_nor_read_as_a_refusal(tmp_path):
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


def test_a_cut_off_grade_is_retried_at_twice_the_length(tmp_path):
    def grade(prompt, text):
        return Grade(0.0, "cut_off", None) if text == "half" else Grade(1.0, None, text)

    with endpoint(
        lambda request: completion(request, "half" if request["max_tokens"] == 8 else "7")
    ) as (url, _):
        (verdict,) = ask(tmp_path, PROMPTS[:1], EndpointBackend(judge_at(url)), grade).verdicts
    assert verdict.faults == {"cut_off": 4} and verdict.passed == 4


def quiet_backend(config):
    return EndpointBackend(config, BackendMonitor(note=lambda text: None))


def test_ratings_and_comparisons_are_retried_with_room_for_the_reasoning(tmp_path):
    def answer(request):
        content = request["messages"][0]["content"]
        if request["max_tokens"] < 200:
            return response({"content": None, "reasoning_content": "Well,"}, "length")
        return completion(request, "Harder: B" if "Harder:" in content else "Rating: 3\nReason: so")

    with endpoint(answer) as (url, requests):
        config = judge_at(url, RubricJudge, thinking_tokens=100, max_tokens=10)
        (raw,) = Rubric(config, quiet_backend(config)).ask([(PROMPTS[0],)])
        assert [reply["fault"] for reply in raw["replies"]] == ["cut_off", None]
        assert [request["max_tokens"] for request in requests[:2]] == [118, 236]
        config = judge_at(url, PairwiseJudge, thinking_tokens=100)
        judge = Pairwise(config, quiet_backend(config))
        verdicts = judge_prompts(PROMPTS[:2], judge, judge_session(tmp_path)).verdicts
    assert all(verdict.graded == 2 and not verdict.faults for verdict in verdicts)


def test_a_choice_is_read_only_after_inline_reasoning(tmp_path):
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

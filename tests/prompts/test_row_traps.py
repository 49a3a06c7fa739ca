"""Rows that look right and are not: options that an answer does not name, and values that are not
what their field needs."""

import json

import pytest

from builders.prompt_files import own, text
from common.errors import BadInput
from prompts.sources import load_source

OPTIONS = {"prompt": "q", "choices": "c", "answer": "a"}
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def loaded(folder, row, **settings):
    (folder / "mine.jsonl").write_bytes(text(row))
    return load_source(own(folder / "mine.jsonl", "file", **settings))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", 'mine.jsonl:1: answer: names no option: ""'),
        ("BC", 'answer: names no option: "BC"'),
        (None, "answer: must be a text or a whole number, got null"),
    ],
)
def test_an_answer_names_a_whole_letter_or_is_refused(tmp_path, answer, message):
    row = {"q": "Which?", "c": ["red", "None", "blue"], "a": answer}
    with pytest.raises(BadInput, match=message):
        loaded(tmp_path, row, fields=OPTIONS, verifier="choice")


def test_options_without_an_answer_are_refused_where_the_verifier_needs_one(tmp_path):
    fields = {"prompt": "q", "choices": "c"}
    row = {"q": "Which?", "c": ["red", "blue"]}
    with pytest.raises(BadInput, match=r"mine.jsonl:1: answer: is required"):
        loaded(tmp_path, row, fields=fields, verifier="choice")
    (prompt,) = loaded(tmp_path, row, fields=fields, verifier="code")
    assert prompt.task == "Which?\n(A) red\n(B) blue" and prompt.answer == ""


@pytest.mark.parametrize(
    ("setting", "answer"),
    [({"answer_after": "####"}, "so #### 5"), ({"answer_boxed": True}, r"so \boxed{5}")],
)
def test_an_answer_is_looked_for_in_a_text_only(tmp_path, setting, answer):
    assert loaded(tmp_path, {"prompt": "q", "answer": answer}, **setting)[0].answer == "5"
    with pytest.raises(BadInput, match="answer: has no"):
        loaded(tmp_path, {"prompt": "q", "answer": [answer]}, **setting)


def test_a_blank_verifier_of_a_row_does_not_excuse_it_from_an_answer(tmp_path):
    with pytest.raises(BadInput, match="answer: is required"):
        loaded(tmp_path, {"prompt": "q", "verifier": " "}, verifier="exact")


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ({"prompt": "q", "x": "[" * 200_000}, {"prompt": "prompt", "answer": "x.a"}, "no 'x.a'"),
        ({"messages": "[" * 200_000, "answer": "a"}, None, "must be a list of messages"),
    ],
)
def test_a_text_that_is_too_deep_to_be_json_is_a_bad_row(tmp_path, row, fields, message):
    with pytest.raises(BadInput, match=message):
        loaded(tmp_path, row, fields=fields)


def test_turns_with_the_empty_columns_of_another_form_are_read(tmp_path):
    turns = [{**turn, "from": None, "value": None} for turn in CHAT]
    (prompt,) = loaded(tmp_path, {"messages": json.dumps(turns)})
    assert (prompt.messages, prompt.answer) == (CHAT[:1], "Hello")
    turns = [{"from": "human", "value": "Hi", "role": None}, {"from": "gpt", "value": "Hello"}]
    assert loaded(tmp_path, {"messages": turns})[0].answer == "Hello"

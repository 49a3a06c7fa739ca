"""Field mapping: paths, templates, options, conversations, and bad rows."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders.prompt_files import gather, own, rows, text, write_recipe
from common.errors import BadInput
from common.files import read_json_lines
from pipeline.recipe.load import load_recipe
from prompts.mapping import mapped
from prompts.sources import load_source

ROW = {
    "q": "Why?",
    "a.b": "flat",
    "a": {"b": "nested", "list": [{"t": "x", "l": 1}, {"t": "y", "l": 2}]},
    "json": '{"inner": ["one", "two"]}',
    "none": None,
    "number": 3,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("q", "Why?"),
        ("a.b", "flat"),
        ("a.list.0.t", "x"),
        ("a.list.-1.t", "y"),
        ("a.list.t", ["x", "y"]),
        ("json.inner.1", "two"),
        ("number", 3),
        ("none", None),
        ("{q} {number}{none}", "Why? 3"),
        ("{{q}} {q}", "{q} Why?"),
        ("{a.list.t}", "x\ny"),
        ("{none}\n\n{q}\n\n{none}", "Why?"),
        ("  {q}", "  Why?"),
    ],
)
def test_a_field_is_a_path_or_a_template(field, value):
    assert mapped("r", ROW, {"x": field}) == {"x": value}


@pytest.mark.parametrize("field", ["nope", "a.nope", "a.list.7", "q.x", "number.x", "{nope}"])
def test_a_path_that_a_row_lacks_is_named_with_the_row_and_its_columns(field):
    with pytest.raises(BadInput, match=r"f\.jsonl:3: fields\.prompt: the row has no '") as caught:
        mapped("f.jsonl:3", ROW, {"prompt": field})
    assert "the row has q, a.b, a, json, none, number" in caught.value.remedy


@pytest.mark.parametrize("field", ["{q", "{q!r}", "{q:>5}", "{}", "q}"])
def test_a_template_that_is_none_is_refused_in_the_recipe(tmp_path, field):
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 2)))
    fields = f", fields: {{prompt: {json.dumps(field)}, answer: a}}"
    write_recipe(tmp_path, "mine.jsonl", "file", fields)
    with pytest.raises(BadInput, match=r"r.yaml:3: prompts\[0\].fields.prompt: .*\n.*for example"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"answer": "a"}, "exactly one of prompt and messages"),
        ({"prompt": "q", "messages": "m", "answer": "a"}, "exactly one of prompt and messages"),
        ({"prompt": "q", "answer": "a", "labels": "l"}, "labels are those of the choices"),
        ({"messages": "q", "choices": "l"}, "choices are added to a prompt"),
        ({"prompt": "q", "answr": "a"}, "answr"),
        ({"prompt": "q", "metadata": {"tests": 3}}, "tests must be a path"),
    ],
)
def test_fields_that_cannot_be_meant_are_refused(tmp_path, fields, problem):
    with pytest.raises(ValidationError, match=problem):
        own(tmp_path / "x", "file", fields=fields)


def choose(tmp_path, answer: Any, choices: Any, labels: Any = None) -> Any:
    row = {"q": "Which?", "a": answer, "c": choices, "l": labels}
    (tmp_path / "mine.jsonl").write_bytes(text(row))
    fields = {"prompt": "q", "answer": "a", "choices": "c"} | ({"labels": "l"} if labels else {})
    return load_source(own(tmp_path / "mine.jsonl", "file", fields=fields))[0].answer


@pytest.mark.parametrize(
    ("answer", "choices", "labels", "letter"),
    [
        ("B", ["x", "y"], None, "B"),
        (1, ["x", "y"], None, "B"),
        ("1", ["x", "y"], None, "B"),
        (1, ["2", "1"], None, "B"),
        ("y", ["x", "y"], None, "B"),
        ("2", ["x", "y"], ["1", "2"], "B"),
        (2, ["x", "y"], [1, 2], "B"),
        ("1", ["0", "1"], None, "B"),
        ("y", ["x", "y"], ["1", "2"], "B"),
    ],
)
def test_an_answer_names_its_option(tmp_path, answer, choices, labels, letter):
    assert choose(tmp_path, answer, choices, labels) == letter


@pytest.mark.parametrize(
    ("answer", "choices", "problem"),
    [
        ("1", ["1", "2"], "may name several options"),
        ("z", ["x", "y"], "names no option"),
        (2, ["x", "y"], "names no option"),
        ("A", ["x"], "2 to 26 options"),
        ("A", ["x", {"y": 1}], "must be texts"),
    ],
)
def test_an_answer_that_names_no_option_or_two_is_refused(tmp_path, answer, choices, problem):
    with pytest.raises(BadInput, match=rf"mine\.jsonl:1: .*{problem}"):
        choose(tmp_path, answer, choices)


def test_options_may_be_columns(tmp_path):
    row = {"goal": "g", "sol1": "x", "sol2": "y", "label": 1}
    (tmp_path / "mine.jsonl").write_bytes(text(row))
    fields = {"prompt": "goal", "answer": "label", "choices": ["sol1", "sol2"]}
    (prompt,) = load_source(own(tmp_path / "mine.jsonl", "file", fields=fields))
    assert prompt.messages[0]["content"] == "g\n(A) x\n(B) y" and prompt.answer == "B"


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        ({"role": "tool", "content": "5"}, "a turn with tools"),
        ({"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}, "a turn with tools"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "a turn with tools"),
        ({"from": "observation", "value": "5"}, "a turn with tools"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "part of type image_url"),
        ({"role": "user", "content": None}, "content: must be a text"),
        ({"role": 3, "content": "x"}, "role: must be system, user or assistant, got 3"),
        ("hello", "an object with role and content, got"),
    ],
)
def test_turns_that_cannot_be_read_are_refused_by_name(tmp_path, turn, problem):
    good = {"role": "user", "content": "q"}
    (tmp_path / "mine.jsonl").write_bytes(text({"messages": [good, turn], "answer": "a"}))
    with pytest.raises(BadInput, match=rf"mine\.jsonl:1: messages\.1.*{problem}"):
        load_source(own(tmp_path / "mine.jsonl", "file"))


def test_conversations_may_be_texts_of_json(tmp_path):
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    (tmp_path / "mine.jsonl").write_bytes(text({"chat": json.dumps(turns)}))
    (prompt,) = load_source(own(tmp_path / "mine.jsonl", "file", fields={"messages": "chat"}))
    assert prompt.messages == [{"role": "user", "content": "q"}] and prompt.answer == "a"


def test_the_answer_follows_the_last_mark(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(text({"prompt": "q", "answer": "a ## b ## c "}))
    source = own(tmp_path / "mine.jsonl", "file", answer_after="##")
    assert load_source(source)[0].answer == "c"
    source = own(tmp_path / "mine.jsonl", "file", answer_after="####")
    with pytest.raises(BadInput, match=r"mine\.jsonl:1: answer: has no '####': \"a ## b ## c \""):
        load_source(source)
    source = own(tmp_path / "mine.jsonl", "file", answer_boxed=True)
    with pytest.raises(BadInput, match=r"mine\.jsonl:1: answer: has no \\boxed"):
        load_source(source)


def test_only_verifiers_that_compare_need_an_answer(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(text({"prompt": "q"}, {"prompt": "r", "answer": None}))
    with pytest.raises(BadInput, match=r"mine\.jsonl:1: answer: is required"):
        load_source(own(tmp_path / "mine.jsonl", "file", verifier="number"))
    prompts = load_source(own(tmp_path / "mine.jsonl", "file", verifier="instructions"))
    assert [prompt.answer for prompt in prompts] == ["", ""]


NAMES = (
    *("prompt", "messages", "conversations", "answer", "choices", "labels", "id", "metadata"),
    *("role", "content", "from", "value", "mapping", "current_node", "message", "author", "a", "0"),
)
NAMED = st.sampled_from(NAMES)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | NAMED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMED, inner, max_size=5),
    max_leaves=12,
)
PATH = st.lists(NAMED, min_size=1, max_size=3).map(".".join)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(NAMED, ANY, max_size=6),
    st.none() | st.dictionaries(st.sampled_from(("answer", "choices", "system", "id")), PATH),
    PATH,
    st.sampled_from(({}, {"answer_after": "a"}, {"answer_boxed": True})),
)
def test_any_row_gives_a_prompt_or_a_refusal_with_its_place(row, fields, question, options):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.jsonl"
        path.write_text(json.dumps(row) + "\n")
        mapping = None if fields is None else {"prompt": question, **fields}
        source = own(path, "file", fields=mapping, **options)
        try:
            (prompt,) = load_source(source)
        except BadInput as error:
            assert "mine.jsonl:1: " in error.message and error.remedy
        else:
            assert all(isinstance(message["content"], str) for message in prompt.messages)
            assert isinstance(prompt.answer, str)


BAD = [
    *rows(0, 3),
    {"prompt": "no answer"},
    {"prompt": "none either"},
    {"prompt": "q", "answer": 1.5, "much": "more"},
    {"prompt": "twelve", "answer": "a dozen or so"},
]


def test_bad_rows_are_left_out_counted_by_reason_and_kept(tmp_path):
    content = text(*BAD) + b'{"prompt": "broken\n\xff\n[1]\n'
    (tmp_path / "mine.jsonl").write_bytes(content)
    source = own(tmp_path / "mine.jsonl", "file", on_bad_row="skip", verifier="number")
    metrics, notes = gather(tmp_path, source)
    assert metrics["training"] + metrics["held_out"] == 3
    assert metrics["bad_rows"] == 7
    assert metrics["bad_rows_by_reason"] == {
        "answer: is required": 2,
        "answer: must be a text or a whole number": 1,
        "not JSON": 1,
        "not UTF-8": 1,
        "not a JSON object but list": 1,
        "reference refused": 1,
    }
    (said,) = [note for note in notes if "bad rows are left out" in note]
    assert said.startswith("mine.jsonl: ") and "answer: is required (2)" in said
    kept = read_json_lines(tmp_path / "bad_rows.jsonl")
    by_place = {line["place"]: line for line in kept}
    assert by_place["mine.jsonl:6"]["row"] == BAD[5]
    assert by_place["mine.jsonl:8"]["row"] == '{"prompt": "broken'
    assert "mine.jsonl:4: answer: is required" in by_place["mine.jsonl:4"]["message"]
    assert {line["source"] for line in kept} == {"mine.jsonl"}


@pytest.mark.parametrize("number", range(3, 7))
def test_a_bad_row_stops_the_stage_unless_the_source_says_otherwise(tmp_path, number):
    (tmp_path / "mine.jsonl").write_bytes(text(*BAD[:3], BAD[number]))
    with pytest.raises(BadInput, match=r"mine\.jsonl:4"):
        gather(tmp_path, own(tmp_path / "mine.jsonl", "file", verifier="number"))


def test_rows_that_are_all_bad_are_an_error(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(text(*BAD[3:5]))
    source = own(tmp_path / "mine.jsonl", "file", on_bad_row="skip")
    with pytest.raises(BadInput, match=r"all 2 rows are bad, the first: .*mine\.jsonl:1: answer"):
        gather(tmp_path, source)
    (tmp_path / "mine.jsonl").write_bytes(text(BAD[6], BAD[6]))
    source = own(tmp_path / "mine.jsonl", "file", on_bad_row="skip", verifier="number")
    with pytest.raises(BadInput, match=r"all 2 rows are bad, the first: .*mine\.jsonl:1"):
        gather(tmp_path, source)

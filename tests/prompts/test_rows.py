"""Rows of a user's own files: their place in messages, blank texts, and invalid values."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from builders.prompt_files import GOOD, gather, own, rows, text, write_recipe
from common.errors import BadInput
from common.files import read_json_lines
from pipeline.recipe.load import load_recipe
from prompts.config import PromptSource
from prompts.schema import read_prompts, write_prompts
from prompts.sources import load_source

LIBRARY_WORDS = (
    "tuple",
    "should",
    "pattern",
    "valid",
    "instance",
    "Input",
    "Field required",
    "dictionary",
    "correct the value",
)
"""Words of pydantic's own messages."""


def refusal(path, *content, **fields):
    path.write_bytes(text(*content))
    with pytest.raises(BadInput) as caught:
        load_source(own(path, **fields))
    assert not any(word in str(caught.value) for word in LIBRARY_WORDS), str(caught.value)
    return caught.value


def test_every_source_and_parquet_keep_the_place_of_a_prompt(tmp_path):
    import datasets

    (tmp_path / "a.jsonl").write_bytes(b"\n" + text(*rows(0, 2)))
    pq.write_table(pa.Table.from_pylist(rows(0, 2)), tmp_path / "b.parquet")
    datasets.Dataset.from_list(rows(0, 2)).save_to_disk(str(tmp_path / "c"))
    gym = {"source": "reasoning_gym", "family": "gcd", "count": 2}
    sources = [
        own(tmp_path / "a.jsonl"),
        own(tmp_path / "b.parquet", "parquet"),
        own(tmp_path / "c", "datasets"),
    ]
    prompts = [
        p
        for source in [*sources, TypeAdapter[Any](PromptSource).validate_python(gym)]
        for p in load_source(source)
    ]
    write_prompts(tmp_path / "p", prompts)
    assert [p.place for p in read_prompts(tmp_path / "p")] == [
        "a.jsonl:2", "a.jsonl:3", "b.parquet: row 1", "b.parquet: row 2", "c: row 1", "c: row 2",
        "reasoning_gym:gcd, item 0", "reasoning_gym:gcd, item 1"]  # fmt: skip
    assert prompts[1].named == f"prompt {prompts[1].id} (a.jsonl:3)"


def test_every_wrong_reference_is_named_with_file_and_line(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(
        text({"prompt": "x", "answer": "1"}, *({**GOOD, "id": n} for n in range(7)))
    )
    with pytest.raises(BadInput) as caught:
        gather(tmp_path, own(tmp_path / "mine.jsonl", verifier="number"))
    lines = caught.value.message.split("\n")
    assert [line.split(": ")[0] for line in lines[:5]] == [
        f"prompt mine.jsonl:{n} (mine.jsonl:{n + 2})" for n in range(5)
    ]
    assert lines[5:] == ["and 2 more such prompts"]


def test_contaminated_prompts_are_named_with_file_and_line(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(
        text(*rows(0, 2), {"prompt": "calculate 5 + 91 =", "answer": "96"})
    )
    gather(tmp_path, own(tmp_path / "mine.jsonl", held_out=0))
    assert [line["place"] for line in read_json_lines(tmp_path / "contaminated.jsonl")] == [
        "mine.jsonl:3"
    ]


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (3.5, 'write it in quotes: "3.5"'),
        (51.0, 'write it in quotes: "51.0"'),
        (True, 'write it in quotes: "true"'),
        (None, 'write it in quotes: "null"'),
        ([1, 2], "write it as one text in quotes"),
        ({"x": 1}, "write it as one text in quotes"),
    ],
)
def test_an_answer_that_is_no_text_says_how_to_write_it(tmp_path, answer, remedy):
    error = refusal(tmp_path / "mine.jsonl", GOOD, {**GOOD, "answer": answer})
    assert (
        f"mine.jsonl:2: answer: must be a text or a whole number, got {json.dumps(answer)}"
        in error.message
    )
    assert remedy in error.remedy


@pytest.mark.parametrize(
    "value", [1.5, True, [], [1], "text", {"a": 1}, ["x"], [{"role": "tool"}], [{"content": 3}]]
)
def test_a_wrong_value_of_any_field_is_refused_with_a_remedy(tmp_path, value):
    for field in ("id", "messages", "prompt", "verifier", "capability", "solution", "metadata"):
        row = {"answer": "a", **({} if field == "messages" else {"prompt": "q"}), field: value}
        try:
            (tmp_path / "mine.jsonl").write_bytes(text(GOOD, row))
            load_source(own(tmp_path / "mine.jsonl"))
        except BadInput:
            error = refusal(tmp_path / "mine.jsonl", GOOD, row)
            assert "mine.jsonl:2: " in error.message and error.remedy


def test_blank_texts_count_as_absent(tmp_path):
    blank = {"solution": " \n", "capability": " ", "verifier": "", "id": ""}
    turns = [{"role": "system", "content": " "}, {"role": "user", "content": "q"}]
    (tmp_path / "mine.jsonl").write_bytes(
        text({**GOOD, **blank, "solution": ""}, {"messages": turns, "answer": "b", **blank})
    )
    first, second = load_source(own(tmp_path / "mine.jsonl", system="Be brief."))
    assert (first.solution, first.target) == (None, "a")
    assert (first.capability, first.verifier) == ("c", "exact")
    assert first.id == load_source_of(tmp_path, GOOD)[0].id
    assert second.messages == [{"role": "system", "content": "Be brief."}, turns[1]]


def load_source_of(folder, *content):
    (folder / "mine.jsonl").write_bytes(text(*content))
    return load_source(own(folder / "mine.jsonl", system="Be brief."))


def test_a_blank_turn_is_refused(tmp_path):
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": " "},
        {"role": "user", "content": "r"},
    ]
    error = refusal(tmp_path / "mine.jsonl", GOOD, {"messages": turns, "answer": "a"})
    assert "mine.jsonl:2: messages hold a blank message of the assistant" in error.message


@pytest.mark.parametrize("field", ["upcycle", "checkpoint"])
def test_a_blank_path_is_no_path(tmp_path, field):
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 3)))
    write_recipe(tmp_path, "mine.jsonl")
    recipe = (tmp_path / "r.yaml").read_text()
    (tmp_path / "r.yaml").write_text(recipe.replace("preset: nano", f'{field}: " "'))
    with pytest.raises(BadInput, match=rf"r.yaml:2: model.{field}: is blank, got ' '"):
        load_recipe(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text(recipe.replace("mine.jsonl", '""'))
    with pytest.raises(BadInput, match=r"prompts\[0\].path: must be a text that is not blank"):
        load_recipe(tmp_path / "r.yaml")

"""Files that could be read as something that they are not."""

import gzip
import json
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset

from builders.prompt_files import own, rows, text
from common.errors import BadInput
from prompts.records import records
from prompts.sources import load_source

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", 'prompt,answer\nq,1\nr,"2\ns,3\n', "a.csv:3: not a table: unexpected end"),
        ("a.tsv", 'prompt\tanswer\n"q" it said\t1\nr\t2\n', "a.tsv:2: not a table"),
        ("a.csv", 'prompt,answer\nq,"he said "no""\nr,2\n', "a.csv:2: not a table"),
    ],
)
def test_a_stray_quote_in_a_table_swallows_no_rows(tmp_path, name, content, place):
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=place):
        load_source(own(tmp_path / name, "file", on_bad_row="skip"))


def test_endings_are_read_in_capitals_too(tmp_path):
    (tmp_path / "A.CSV.GZ").write_bytes(gzip.compress(b"prompt,answer\nq,a\n"))
    assert load_source(own(tmp_path / "A.CSV.GZ", "file"))[0].answer == "a"
    assert [place for place, _ in records(own(tmp_path, "file"))] == [f"{tmp_path.name}/A.CSV.GZ:2"]


@pytest.mark.parametrize("content", [text(*rows(0, 2)), json.dumps(rows(0, 2)).encode()])
def test_a_split_of_a_file_that_has_none_is_refused(tmp_path, content):
    (tmp_path / "mine.json").write_bytes(content)
    assert len(load_source(own(tmp_path / "mine.json", "file"))) == 2
    with pytest.raises(BadInput, match=r"mine.json: has no splits, and the source names 'test'"):
        load_source(own(tmp_path / "mine.json", "file", split="test"))


def test_a_split_of_a_saved_data_set_that_has_none_is_refused(tmp_path):
    Dataset(pa.Table.from_pylist(rows(0, 2))).save_to_disk(str(tmp_path / "saved"))
    assert len(load_source(own(tmp_path / "saved", "datasets"))) == 2
    with pytest.raises(BadInput, match=r"saved: has no splits, and the source names 'test'"):
        load_source(own(tmp_path / "saved", "datasets", split="test"))


@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_that_is_one_conversation_is_one_row(tmp_path, indent):
    (tmp_path / "one.json").write_text(json.dumps({"id": 7, **CHAT}, indent=indent))
    (prompt,) = load_source(own(tmp_path / "one.json", "file"))
    assert (prompt.messages, prompt.answer) == (CHAT["messages"][:1], "Yes")
    (tmp_path / "one.json").write_text(json.dumps({"data": [{"id": 7, **CHAT}]}, indent=indent))
    assert load_source(own(tmp_path / "one.json", "file")) == [prompt]


def test_lists_of_other_things_are_part_of_the_row(tmp_path):
    row: Any = {"prompt": "q", "answer": "a", "x": [None, {"role": "r"}, 2], "y": [], "z": [[]]}
    (tmp_path / "one.json").write_text(json.dumps(row))
    assert list(records(own(tmp_path / "one.json", "file"))) == [("one.json: row 1", row)]


def test_a_pattern_below_a_folder_with_brackets_in_its_name(tmp_path):
    folder = tmp_path / "[mine]" / "part-1"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(text(*rows(0, 2)))
    for pattern in ("[mine]/*/*.jsonl", "[mine]/**/**/a.jsonl", "[mine]/part-[0-9]/*"):
        prompts = load_source(own(tmp_path / pattern, "file"))
        assert [one.place for one in prompts] == ["part-1/a.jsonl:1", "part-1/a.jsonl:2"]

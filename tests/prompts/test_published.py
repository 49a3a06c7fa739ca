"""Data sets in the shapes in which they are published, read by the lines of the documentation."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import TypeAdapter

from common.errors import BadInput
from common.files import read_json_lines
from prompts.config import PromptSource
from prompts.sources import load_source

SAMPLES = Path(__file__).parent / "published"
DOCS = Path(__file__).parents[2] / "docs" / "your_own_data.md"
SECTION = DOCS.read_text().split("## Published data sets")[1]
BLOCK = re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
assert BLOCK is not None
RECIPES: dict[str, dict[str, Any]] = {
    entry["path"]: entry for entry in yaml.safe_load(BLOCK[1])["prompts"]
}


def load(name: str, path: Path | None = None, **changes: Any) -> list[Any]:
    """The prompts of a documented source, of the sample or of another file."""
    entry = {**RECIPES[name], "path": str(path or SAMPLES / name), **changes}
    return load_source(TypeAdapter[Any](PromptSource).validate_python(entry))


def asked(prompt: Any) -> str:
    content: str = prompt.messages[-1]["content"]
    return content


def test_every_sample_is_documented_in_at_most_four_lines():
    assert BLOCK is not None
    names = {path.name for path in SAMPLES.iterdir() if path.is_file()} | {"math/*/*.json"}
    assert set(RECIPES) == names
    entries = re.split(r"\n  #[^\n]*", BLOCK[1])[1:]
    assert len(entries) == len(names)
    assert all(len(entry.strip().splitlines()) <= 4 for entry in entries)


def test_gsm8k_has_the_number_after_the_mark_and_the_whole_solution():
    prompts = load("gsm8k.jsonl")
    assert [prompt.answer for prompt in prompts] == ["7", "1,360", "90"]
    assert prompts[0].solution == "Lena has 12 - 5 = <<12-5=7>>7 pears left.\n#### 7"
    assert asked(prompts[2]) == "Omar reads 15 pages a day for 6 days. How many pages has he read?"


def test_math_has_the_last_box_of_the_solution_and_its_type():
    prompts = load("math/*/*.json")
    assert [(p.answer, p.capability, p.place) for p in prompts] == [
        (r"\frac{2}{3}", "Algebra", "algebra/1.json: row 1"),
        ("5", "Algebra", "algebra/2.json: row 1"),
        (r"9\pi", "Geometry", "geometry/1.json: row 1"),
    ]


def test_arc_lists_its_options_with_letters_whatever_its_labels_are():
    prompts = load("arc.jsonl")
    assert [prompt.answer for prompt in prompts] == ["B", "B", "D"]
    assert asked(prompts[1]) == (
        "What does a thermometer measure?\n(A) mass\n(B) temperature\n(C) length"
    )
    assert [prompt.answer for prompt in load("arc_original.jsonl")] == ["B", "A"]


def test_mmlu_counts_options_from_zero():
    prompts = load("mmlu.jsonl")
    assert [(p.answer, p.capability) for p in prompts] == [
        ("C", "elementary_mathematics"),
        ("B", "geography"),
    ]


def test_humaneval_has_whole_programs_and_the_tests_of_its_verifier():
    first, _ = load("humaneval.jsonl")
    assert first.id == "humaneval.jsonl:Sample/0" and asked(first).startswith("def double(")
    space: dict[str, Any] = {}
    exec(first.answer, space)
    exec(first.metadata["tests"]["test"], space)
    space["check"](space[first.metadata["tests"]["entry_point"]])


def test_mbpp_shows_its_tests_and_keeps_them():
    first, _ = load("mbpp.jsonl")
    assert asked(first).endswith("tests:\nassert smaller(1, 2) == 1\nassert smaller(5, 3) == 3")
    assert first.metadata == {
        "tests": {
            "test_list": ["assert smaller(1, 2) == 1", "assert smaller(5, 3) == 3"],
            "test_setup_code": "",
        }
    }


def test_squad_has_passage_and_question_and_the_first_answer():
    first, second = load("squad.jsonl")
    assert asked(first) == (
        "The Danube is 2,850 km long and ends in the Black Sea.\n\n"
        "Question: Where does the Danube end?"
    )
    assert (first.answer, second.answer) == ("the Black Sea", "2,850 km")


def test_an_empty_input_of_alpaca_leaves_no_blank_lines():
    first, second = load("alpaca.json")
    assert asked(first) == "Name the three primary colours."
    assert asked(second) == "Translate the sentence into French.\n\nThe cat sleeps."


def test_ifeval_has_constraints_and_no_answer():
    first, _ = load("ifeval.jsonl")
    assert first.answer == "" and first.metadata["kwargs"][1]["num_words"] == 30
    assert first.metadata["instruction_id_list"][0] == "punctuation:no_comma"


def test_chats_give_the_last_turn_as_the_answer():
    first, second = load("sharegpt.json")
    assert [message["role"] for message in first.messages] == [
        "system", "user", "assistant", "user"]  # fmt: skip
    assert (asked(first), first.answer) == ("And of Chile?", "Santiago.")
    assert second.answer == "مرحبا"
    _, japanese = load("openai_chat.jsonl")
    assert japanese.messages == [
        {"role": "system", "content": "Answer in Japanese."},
        {"role": "user", "content": "Good morning!"},
    ]
    assert japanese.answer == "おはようございます。"


def test_an_export_of_chatgpt_gives_the_branch_that_is_shown():
    (prompt,) = load("chatgpt.json")
    assert [message["content"] for message in prompt.messages] == [
        "Why are there tides?",
        "Because the Moon and the Sun pull at the sea.",
        "Which pulls more?",
    ]
    assert prompt.answer == "The Moon."


def test_an_export_of_chatgpt_with_tools_or_images_is_refused(tmp_path):
    for changed, problem in (
        ({"recipient": "browser"}, "a turn with tools"),
        ({"content": {"content_type": "multimodal_text", "parts": [{}]}}, "type multimodal_text"),
    ):
        (row,) = json.loads((SAMPLES / "chatgpt.json").read_text())
        row["mapping"]["a2"]["message"] |= changed
        (tmp_path / "chatgpt.json").write_text(json.dumps([row]))
        with pytest.raises(BadInput, match=rf"chatgpt\.json: row 1: .*{problem}"):
            load("chatgpt.json", tmp_path / "chatgpt.json")
        del row["mapping"]["root"]
        row["mapping"]["a2"]["message"] = None
        (tmp_path / "chatgpt.json").write_text(json.dumps([row]))
        with pytest.raises(BadInput, match="no way to the node 'root'"):
            load("chatgpt.json", tmp_path / "chatgpt.json")


def test_a_spreadsheet_has_quoted_cells_of_several_lines():
    first, second = load("trivia.csv")
    assert asked(first) == "Which gas; by volume, is most of the air?"
    assert (asked(second), second.answer) == ("In which city\r\nis the Louvre?", "Paris")
    assert (first.place, second.place) == ("trivia.csv:2", "trivia.csv:3")


def test_the_form_of_a_file_changes_places_and_nothing_else(tmp_path):
    """ARC as the hub has it: parquet; HumanEval as its authors have it: gz."""
    rows = read_json_lines(SAMPLES / "arc.jsonl")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "arc.parquet")
    (tmp_path / "arc.parquet.gz").write_bytes(
        gzip.compress((tmp_path / "arc.parquet").read_bytes())
    )
    wanted = [(p.messages, p.answer, p.metadata) for p in load("arc.jsonl")]
    for name in ("arc.parquet", "arc.parquet.gz"):
        read = load("arc.jsonl", tmp_path / name)
        assert [(p.messages, p.answer, p.metadata) for p in read] == wanted
        assert read[1].place == f"{name}: row 2"
    with gzip.open(tmp_path / "h.jsonl.gz", "wb") as packed:
        packed.write((SAMPLES / "humaneval.jsonl").read_bytes())
    assert load("humaneval.jsonl", tmp_path / "h.jsonl.gz")[1].answer.endswith("items[-1]")


def test_splits_are_named(tmp_path):
    import datasets

    rows = read_json_lines(SAMPLES / "gsm8k.jsonl")
    both = {"train": datasets.Dataset.from_list(rows), "test": datasets.Dataset.from_list(rows[:1])}
    datasets.DatasetDict(both).save_to_disk(str(tmp_path / "saved"))
    assert len(load("gsm8k.jsonl", tmp_path / "saved", split="train")) == 3
    assert len(load("gsm8k.jsonl", tmp_path / "saved", split="test", source="datasets")) == 1
    for split in (None, "dev"):
        with pytest.raises(BadInput, match="holds the splits train, test"):
            load("gsm8k.jsonl", tmp_path / "saved", split=split)

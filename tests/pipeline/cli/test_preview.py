"""`uphill preview`: what the model will see, what verifiers read, and why rows cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from builders.prompt_files import gather, own, text
from common.seeds import derive
from models.config import ModelConfig
from pipeline.cli.commands import run_command
from prompts.schema import read_prompts
from stages.prompts import preview as module

ROWS = [
    {"question": "What is 2 + 3? <|user|>", "answer": "Two and three.\n#### 5"},
    {"question": "What is 1,000 + 1?", "answer": "#### 1,001"},
    {"question": "no mark", "answer": "7"},
    {"question": "What is 4 + 5?", "answer": "#### nine or so"},
    {"question": "word " * 60, "answer": "#### 3"},
    {"question": "steers the terminal: \x1b[2J \u202e", "answer": "#### 1"},
    {"q": "another column", "answer": "#### 1"},
]
SOURCE = """{source: file, path: mine.jsonl, capability: maths, verifier: number, system: Be brief.,
     max_prompt_tokens: 200, held_out: 0.25, answer_after: "####", on_bad_row: POLICY,
     fields: {prompt: question, answer: answer, solution: answer}}"""


@pytest.fixture
def uphill(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_bytes(text(*ROWS))

    def run(*words: str, policy: str = "stop") -> tuple[int, str, str]:
        recipe = (
            "name: r\nseed: 5\nmodel: {preset: nano}\nprompts:\n"
            f"  - {SOURCE.replace('POLICY', policy)}\n"
            "  - {source: reasoning_gym, family: gcd, count: 4}\n"
            "stages: [{id: sft, kind: sft, on: prompts, learning_rate: 1e-4}]\n"
        )
        Path("r.yaml").write_text(recipe)
        monkeypatch.setattr("sys.argv", ["uphill", "preview", "r.yaml", *words])
        code = run_command()
        return code, *capsys.readouterr()

    return run


def test_a_prompt_is_shown_as_the_model_sees_it(uphill):
    code, out, _ = uphill("mine.jsonl", "--json")
    (source,) = json.loads(out)["sources"]
    first, second, *_ = source["prompts"]
    assert code == 0 and first["place"] == "mine.jsonl:1"
    assert first["text"] == ("<|system|>Be brief.<|user|>What is 2 + 3? <|user|><|assistant|>")
    assert first["as_text"] == ["<|user|>"] and second["as_text"] == []
    assert first["tokens"] > 10 and (first["answer"], first["problem"]) == ("5", None)
    assert first["rewards"] == [
        {"name": "number", "verifier": "number", "weight": 1.0, "reads": "5"}
    ]
    assert second["rewards"][0]["reads"] == "1,001"


def test_what_cannot_be_used_is_shown_with_the_reason(uphill):
    _, out, _ = uphill("0", "--json")
    (source,) = json.loads(out)["sources"]
    problems = {p["place"]: p["problem"] for p in source["prompts"] if p["problem"]}
    assert set(problems) == {"mine.jsonl:4", "mine.jsonl:5"}
    assert "'nine or so': it is not one number" in problems["mine.jsonl:4"]
    assert "more than max_prompt_tokens 200: it is dropped" in problems["mine.jsonl:5"]
    assert [row["place"] for row in source["bad"]] == ["mine.jsonl:3", "mine.jsonl:7"]
    assert "answer: has no '####'" in source["bad"][0]["message"]
    assert "the row has no 'question'" in source["bad"][1]["message"]
    assert (source["bad_rows"], source["on_bad_row"]) == (2, "stop")
    assert (source["examined"], source["usable"]) == (5, 3)


def test_the_held_out_prompts_are_those_of_the_stage(uphill, tmp_path, monkeypatch):
    Path("many.jsonl").write_bytes(
        text(*({"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(40)))
    )
    uphill()
    recipe = Path("r.yaml").read_text().replace("mine.jsonl", "many.jsonl")
    Path("r.yaml").write_text(recipe)
    from pipeline.recipe.load import load_recipe

    loaded = load_recipe(tmp_path / "r.yaml")
    seed = derive(loaded.seed, "prompts")
    (shown,) = module.preview(loaded.prompts[:1], loaded.model, seed, 40)
    held = {prompt["id"] for prompt in shown["prompts"] if prompt["held_out"]}
    (tmp_path / "stage").mkdir()
    tokenizer = ModelConfig(preset="nano")
    gather(tmp_path / "stage", *loaded.prompts[:1], seed=seed, tokenizer=tokenizer)
    assert held == {p.id for p in read_prompts(tmp_path / "stage" / "held_out.parquet")}
    assert len(held) == 10
    monkeypatch.setattr(module, "SCANNED", 39)
    (shown,) = module.preview(loaded.prompts[:1], loaded.model, seed, 40)
    assert not shown["whole"] and {p["held_out"] for p in shown["prompts"]} == {None}


def test_all_sources_are_shown_in_words(uphill):
    code, out, err = uphill(policy="skip")
    assert code == 0 and err == ""
    assert "mine.jsonl: 5 prompts, 3 of these usable; 25% are held out; at most 200 tokens" in out
    assert "gcd: 4 prompts" in out and "verifier: reasoning_gym, weight 1, reads '" in out
    assert "text of the messages, no special tokens: <|user|>" in out
    assert "bad rows: 2, left out (on_bad_row: skip)" in out
    assert "CANNOT BE USED: has " in out
    assert "\x1b" not in out and "\u202e" not in out


def test_a_source_that_is_not_there_is_named_with_those_that_are(uphill):
    code, _, err = uphill("other")
    assert code == 2 and "no source 'other'" in err and "0 (mine.jsonl), 1 (gcd)" in err


def test_as_many_prompts_as_asked_for(uphill):
    document: dict[str, Any] = json.loads(uphill("--count", "2", "--json")[1])
    assert [len(source["prompts"]) for source in document["sources"]] == [2, 2]


def test_prompts_without_a_reference_show_nothing_that_is_read_in_it(tmp_path):
    metadata: Any = {"instruction_id_list": ["length_constraints:number_words"]}
    metadata |= {"kwargs": [{"relation": "at least", "num_words": 9}]}
    row: Any = {"prompt": "Write.", "verifier": "instructions", "metadata": metadata}
    (tmp_path / "mine.jsonl").write_bytes(text(row, {**row, "answer": "Too short."}))
    source = own(tmp_path / "mine.jsonl")
    (shown,) = module.preview([source], ModelConfig(preset="nano"), 0, 9)
    assert [prompt["problem"] for prompt in shown["prompts"]] == [None, None]
    first, second = (prompt["rewards"][0]["reads"] for prompt in shown["prompts"])
    assert first is None and second == "does not follow length_constraints:number_words"


def test_a_verifier_without_its_settings_is_a_problem_of_its_row(tmp_path):
    rows = [{"prompt": "q", "verifier": "length"}, {"prompt": "r", "answer": "a"}]
    (tmp_path / "mine.jsonl").write_bytes(text(*rows))
    (shown,) = module.preview([own(tmp_path / "mine.jsonl")], ModelConfig(preset="nano"), 0, 9)
    first, second = shown["prompts"]
    assert "the verifier 'length' needs settings" in first["problem"] and first["rewards"] == []
    assert second["problem"] is None and second["rewards"][0]["reads"] == "a"

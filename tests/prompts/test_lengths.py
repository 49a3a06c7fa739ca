"""Prompts longer than allowed, and how their length is counted."""

import pytest

from builders.prompt_files import gather, own, rows, text, write_recipe
from common.errors import BadInput
from common.files import read_json_lines
from models.config import ModelConfig
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from prompts.schema import read_prompts
from stages.lengths import require_room

NANO = ModelConfig(preset="nano")


def test_too_long_prompts_are_named_with_file_and_line():
    with pytest.raises(BadInput, match=r"prompt a \(x\.jsonl:3\): 9 tokens"):
        require_room(
            {"prompt a (x.jsonl:3)": 9, "prompt b (x.jsonl:4)": 2}, 5, "a room", "remove it"
        )


def test_too_long_prompts_are_dropped_and_listed(tmp_path):
    long = [{"prompt": "say " + "x" * 60, "answer": "x"}, {"prompt": "<|end|>" * 9, "answer": "x"}]
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 2), *long, *rows(7, 1)))
    mine = own(tmp_path / "mine.jsonl", held_out=0, max_prompt_tokens=60)
    metrics, notes = gather(tmp_path, mine, tokenizer=NANO)
    dropped = read_json_lines(tmp_path / "too_long.jsonl")
    # One token per character, and the control tokens before the prompt and before the answer.
    lengths = {line["place"]: line["tokens"] for line in dropped}
    assert lengths == {"mine.jsonl:3": 66, "mine.jsonl:4": 65} and len(dropped) == 2
    assert [p.answer for p in read_prompts(tmp_path / "prompts.parquet")] == ["0", "1", "7"]
    assert (metrics["dropped"], metrics["dropped_too_long"]) == ("2 too long", 2)
    assert "too_long.jsonl" in notes[0]
    with pytest.raises(
        BadInput, match=r"all 5 prompts .*max_prompt_tokens 2; the shortest, at mine.jsonl:1, has 7"
    ):
        gather(tmp_path, mine.model_copy(update={"max_prompt_tokens": 2}), tokenizer=NANO)


def test_lengths_are_those_that_the_engine_sees(tmp_path):
    from models.chat import encode_chat
    from models.checkpoint import load_tokenizer
    from models.nano import nano_tokenizer
    from models.origin import tokenizer_of

    nano_tokenizer().save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "<|end|>é \n<|user|>"}]
    saved = encode_chat(load_tokenizer(tmp_path / "checkpoint"), chat)
    assert (
        encode_chat(tokenizer_of(NANO), chat)
        == encode_chat(tokenizer_of(ModelConfig(checkpoint=str(tmp_path / "checkpoint"))), chat)
        == saved
    )
    assert len(saved) == 1 + 1 + 1 + len(chat[1]["content"]) + 1


def test_prompts_depend_on_the_tokenizer_where_a_source_counts_tokens_and_on_no_weight(tmp_path):
    model = tmp_path / "dense"
    model.mkdir()
    files = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"}
    for name, content in files.items():
        (model / name).write_text(content)
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 3)))

    def fingerprint(fields, experts=4, **changes):
        write_recipe(tmp_path, "mine.jsonl", fields=fields)
        path = tmp_path / "r.yaml"
        path.write_text(
            path.read_text().replace("preset: nano", f"upcycle: dense, experts: {experts}")
        )
        for name, content in changes.items():
            (model / files_by[name]).write_text(content)
        return build_plan(load_recipe(path))["prompts"].fingerprint

    files_by = {"tokenizer": "tokenizer.json", "weights": "model.safetensors"}
    plain, counted = fingerprint(""), fingerprint(", max_prompt_tokens: 9")
    assert plain != counted == fingerprint(", max_prompt_tokens: 9", weights="others")
    assert counted != fingerprint(", max_prompt_tokens: 9", tokenizer="[]")
    assert plain == fingerprint("", experts=2)
    assert fingerprint(", max_prompt_tokens: 9", experts=2) == fingerprint(", max_prompt_tokens: 9")


def test_the_recipes_own_chat_template_decides_the_length(tmp_path):
    from models.origin import tokenizer_of

    (tmp_path / "long.jinja").write_text(
        "{% for m in messages %}{{ '!' * 50 }}{{ m['content'] }}{% endfor %}"
    )
    own = ModelConfig(upcycle="smollm2-135m-instruct", chat_template=str(tmp_path / "long.jinja"))
    chat = [{"role": "user", "content": "2 + 2"}]
    usual = tokenizer_of(ModelConfig(upcycle="smollm2-135m-instruct"))
    ours, theirs = (
        tokenizer.apply_chat_template(chat, tokenize=False)
        for tokenizer in (tokenizer_of(own), usual)
    )
    assert ours == "!" * 50 + "2 + 2" != theirs

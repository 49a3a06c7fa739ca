"""A person's own files: where a prompt comes from, shards and packed files, blank texts, and wrong
values in words."""

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from common.errors import BadInput
from common.files import read_json_lines
from common.stage import StageContext
from models.config import ModelConfig
from pipeline.planning.bounds import bounds
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from prompts.config import PromptSource
from prompts.schema import read_prompts, write_prompts
from prompts.sources import load_source
from stages.lengths import require_room
from stages.prompts.config import PromptsStage
from stages.prompts.run import run

LIBRARY = (
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
NANO = ModelConfig(preset="nano")
GOOD = {"prompt": "q", "answer": "a"}


def own(path, source="jsonl", **fields):
    fields = {"capability": "c", "verifier": "exact", **fields}
    return TypeAdapter(PromptSource).validate_python(
        {"source": source, "path": str(path), **fields}
    )


def text(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows(start, count):
    return [{"prompt": f"say {n}", "answer": str(n)} for n in range(start, start + count)]


def refusal(path, *content, **fields):
    path.write_bytes(text(*content))
    with pytest.raises(BadInput) as caught:
        load_source(own(path, **fields))
    assert not any(word in str(caught.value) for word in LIBRARY), str(caught.value)
    return caught.value


def gather(folder, *sources, **config):
    notes = []
    context = StageContext(folder, 3, lambda *a, **k: None, lambda: False, 1, notes.append)
    return run(PromptsStage(sources=sources, **config), {}, context).metrics, notes


def test_a_prompt_knows_its_place_through_every_source_and_through_parquet(tmp_path):
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
        for source in [*sources, TypeAdapter(PromptSource).validate_python(gym)]
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
    said = caught.value.message.split("\n")
    assert [line.split(": ")[0] for line in said[:5]] == [
        f"prompt mine.jsonl:{n} (mine.jsonl:{n + 2})" for n in range(5)
    ]
    assert said[5:] == ["and 2 more such prompts"]


def test_too_long_prompts_are_named_with_file_and_line():
    with pytest.raises(BadInput, match=r"prompt a \(x\.jsonl:3\): 9 tokens"):
        require_room(
            {"prompt a (x.jsonl:3)": 9, "prompt b (x.jsonl:4)": 2}, 5, "a room", "remove it"
        )


def test_contaminated_prompts_are_named_with_file_and_line(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(
        text(*rows(0, 2), {"prompt": "calculate 5 + 91 =", "answer": "96"})
    )
    gather(tmp_path, own(tmp_path / "mine.jsonl", held_out=0))
    assert [line["place"] for line in read_json_lines(tmp_path / "contaminated.jsonl")] == [
        "mine.jsonl:3"
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_folder_of_shards_is_read_in_the_order_of_names(tmp_path, kind):
    folder = tmp_path / "shards"
    (folder / "below").mkdir(parents=True)
    for name, first in (("part-1", 2), ("part-0", 0), ("_part-2", 8), ("below/part-3", 9)):
        if kind == "jsonl":
            (folder / f"{name}.jsonl").write_bytes(text(*rows(first, 2)))
        else:
            pq.write_table(pa.Table.from_pylist(rows(first, 2)), folder / f"{name}.parquet")
    (folder / "README.md").write_text("about")
    prompts = load_source(own(folder, kind))
    assert [p.answer for p in prompts] == ["0", "1", "2", "3"] and {p.source for p in prompts} == {
        "shards"
    }
    last = "shards/part-1.jsonl:2" if kind == "jsonl" else "shards/part-1.parquet: row 2"
    assert prompts[-1].place == last
    write_recipe(tmp_path, "shards", kind)
    bound = bounds(load_recipe(tmp_path / "r.yaml"))["prompts"]
    assert bound == ({"prompts_at_most": 4} if kind == "jsonl" else {})


def test_a_folder_without_shards_names_its_folders(tmp_path):
    (tmp_path / "shards" / "train").mkdir(parents=True)
    write_recipe(tmp_path, "shards", "jsonl")
    with pytest.raises(
        BadInput, match=r"prompts\[0\].path: .*/shards: a folder without \*\.jsonl.*\n.*train"
    ):
        load_recipe(tmp_path / "r.yaml")


def write_recipe(folder, path, kind="jsonl", fields=""):
    source = (
        f"{{source: {kind}, path: {path}, capability: c, verifier: exact, held_out: 0{fields}}}"
    )
    (folder / "r.yaml").write_text(
        f"name: r\nmodel: {{preset: nano}}\nprompts: [{source}]\n"
        "stages: [{id: sft, kind: sft, on: prompts, learning_rate: 1e-4}]\n"
    )


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_read_whatever_they_are_called(tmp_path, pack):
    plain = own(tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 3)))
    read = load_source(plain)
    data = pack(text(*rows(0, 3)))
    (tmp_path / "mine.jsonl").write_bytes(data)
    assert load_source(plain) == read
    (tmp_path / "mine.jsonl").write_bytes(data[:-9])
    with pytest.raises(BadInput, match=r"mine\.jsonl: damaged"):
        load_source(plain)


@pytest.mark.parametrize(
    ("start", "packer"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip")]
)
def test_other_packers_are_named_with_what_to_do(tmp_path, start, packer):
    (tmp_path / "mine.jsonl.x").write_bytes(start + b"x" * 9)
    with pytest.raises(BadInput, match=rf"mine\.jsonl\.x: packed with {packer}") as caught:
        load_source(own(tmp_path / "mine.jsonl.x"))
    assert "unpack it, or pack it as .gz" in caught.value.remedy


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
def test_wrong_values_of_every_field_are_said_with_an_example(tmp_path, value):
    for field in ("id", "messages", "prompt", "verifier", "capability", "solution", "metadata"):
        row = {"answer": "a", **({} if field == "messages" else {"prompt": "q"}), field: value}
        try:
            (tmp_path / "mine.jsonl").write_bytes(text(GOOD, row))
            load_source(own(tmp_path / "mine.jsonl"))
        except BadInput:
            error = refusal(tmp_path / "mine.jsonl", GOOD, row)
            assert "mine.jsonl:2: " in error.message and error.remedy


def test_blank_texts_are_absent_ones(tmp_path):
    blank = {"solution": " \n", "capability": " ", "verifier": "", "id": ""}
    turns = [{"role": "system", "content": " "}, {"role": "user", "content": "q"}]
    (tmp_path / "mine.jsonl").write_bytes(
        text({**GOOD, **blank, "solution": ""}, {"messages": turns, "answer": "b", **blank})
    )
    first, second = load_source(own(tmp_path / "mine.jsonl", system="Be brief."))
    assert (first.solution, first.target, first.capability, first.verifier) == (
        None,
        "a",
        "c",
        "exact",
    )
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


def test_too_long_prompts_are_dropped_and_listed(tmp_path):
    long = [{"prompt": "say " + "x" * 60, "answer": "x"}, {"prompt": "<|end|>" * 9, "answer": "x"}]
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 2), *long, *rows(7, 1)))
    mine = own(tmp_path / "mine.jsonl", held_out=0, max_prompt_tokens=60)
    metrics, notes = gather(tmp_path, mine, tokenizer=NANO)
    dropped = read_json_lines(tmp_path / "too_long.jsonl")
    # A character a token, and the control tokens before the prompt and before the answer.
    assert [(line["place"], line["tokens"]) for line in dropped] == [
        ("mine.jsonl:3", 66),
        ("mine.jsonl:4", 65),
    ]
    assert [p.answer for p in read_prompts(tmp_path / "prompts.parquet")] == ["0", "1", "7"]
    assert (metrics["dropped"], metrics["dropped_too_long"]) == (
        "2 too long",
        2,
    ) and "too_long.jsonl" in notes[0]
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

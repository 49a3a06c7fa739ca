"""SFT on demonstrations: what a source gives, what is learnt of it, and that packing changes
nothing."""

import json

import pytest
from datasets import Dataset
from safetensors.torch import load_file
from trl import SFTConfig, SFTTrainer

from builders.contexts import stage_context
from builders.learnable import TOKENIZER, prompt_inputs
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.execution import ExecutionConfig
from common.files import read_json_lines
from models.nano import nano_model
from prompts.config import FileSource
from prompts.parts import NOT_GRADED
from prompts.rows import load
from prompts.schema import Prompt, read_prompts, write_prompts
from rewards.grade import check_prompt, grade
from stages.sft.config import SftStage
from stages.sft.examples import encoded
from stages.sft.run import run
from training.accumulation import IGNORED

TURNS = [("user", "hi"), ("assistant", "hello"), ("user", "2 + 3?"), ("assistant", "5")]


def chat(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def source(folder, *rows, **settings):
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"source": "file", "path": str(path), "capability": "chat"}
    return FileSource.model_validate(values | settings)


def shown(id, *turns):
    return Prompt(id, chat(*turns[:-1]), turns[-1][1], NOT_GRADED, "chat", "chats.jsonl", None, {})


def test_a_conversation_that_ends_with_the_assistants_turn_is_a_demonstration(tmp_path):
    (prompt,) = load(source(tmp_path, {"messages": chat(*TURNS)}, system="be kind"))
    assert prompt.is_demonstration and prompt.target == "5"
    assert prompt.messages == chat(("system", "be kind"), *TURNS[:-1])
    check_prompt(prompt)


def test_where_the_source_names_a_verifier_the_last_turn_is_a_reference(tmp_path):
    (prompt,) = load(source(tmp_path, {"messages": chat(*TURNS)}, verifier="number"))
    assert prompt.verifier == "number" and not prompt.is_demonstration
    assert grade(prompt, "it is 5").correct


def test_a_prompt_without_verifier_is_no_demonstration(tmp_path):
    with pytest.raises(BadInput, match=r"chats.jsonl:1: names no verifier"):
        load(source(tmp_path, {"prompt": "2 + 3?", "answer": "5"}))


def test_a_demonstration_begins_with_the_user(tmp_path):
    row = {"messages": chat(("assistant", "welcome"), *TURNS)}
    with pytest.raises(BadInput, match=r"chats.jsonl:1: messages: a demonstration begins with"):
        load(source(tmp_path, row))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": chat(*TURNS[:-1], ("assistant", " "))},
        {"messages": chat(*TURNS[:-1]), "verifier": "none"},
    ],
)
def test_a_demonstration_has_an_answer(tmp_path, row):
    with pytest.raises(BadInput, match=r"chats.jsonl:1: a demonstration has no answer to learn"):
        load(source(tmp_path, row))


def test_answers_to_a_demonstration_are_not_graded():
    with pytest.raises(BadInput, match="have no verifier"):
        grade(shown("a", *TURNS), "5")


def test_every_turn_of_a_demonstration_is_learnt_and_of_a_prompt_the_target_alone():
    examples = encoded(TOKENIZER, [shown("a", *TURNS), prompt_of("b", "say a", "a")])
    learnt = [TOKENIZER.decode([t for t in one.labels if t != IGNORED]) for one in examples]
    assert learnt == ["hello<|end|>5<|end|>", "a<|end|>"]


def test_prompts_are_the_tokens_and_labels_that_trl_makes_of_prompt_and_completion(tmp_path):
    prompts = [prompt_of(f"p{n}", f"say {n}", "a" * n, solution=None) for n in range(1, 6)]
    prompts.append(Prompt("c", chat(*TURNS[:-1]), "5", "exact", "c", "s", "2 and 3 make 5", {}))
    rows = [{"prompt": p.messages, "completion": [p.reply]} for p in prompts]
    args = SFTConfig(
        output_dir=str(tmp_path), max_length=None, report_to=[], use_cpu=True, bf16=False
    )
    trainer = SFTTrainer(
        nano_model(TOKENIZER, seed=1),
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
    )
    examples = encoded(TOKENIZER, prompts)
    assert [one.ids for one in examples] == trainer.train_dataset["input_ids"][:]
    assert [one.labels for one in examples] == trainer.train_dataset["labels"][:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a stage on demonstrations of uneven lengths, padded and packed."""
    root = tmp_path_factory.mktemp("sft")
    inputs = prompt_inputs(root / "inputs", 1)
    turns = [
        [("user", "a" * (1 + n * n)), ("assistant", "b" * (1 + n))] * (1 + n % 3) for n in range(7)
    ]
    prompts = [shown(f"d{n}", *one) for n, one in enumerate(turns)]
    write_prompts(
        root / "inputs" / "prompts.parquet",
        [*prompts, *read_prompts(root / "inputs" / "prompts.parquet")],
    )
    values = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": 4}
    config = SftStage.model_validate(values | {"learning_rate": 1e-3, "warmup_steps": 0})
    outputs = {}
    for name in ("padded", "packed"):
        (root / name).mkdir()
        execution = ExecutionConfig(rows_per_forward=3, packing=name == "packed")
        outputs[name] = run(config, inputs, stage_context(root / name, execution=execution))
    return root, outputs


def test_packing_changes_neither_weights_nor_figures(trained):
    root, outputs = trained
    padded, packed = (load_file(root / n / "checkpoint" / "model.safetensors") for n in outputs)
    # Adam divides a gradient by its size: where it is nearly 0, rounding decides the step.
    assert max((padded[name] - packed[name]).abs().max() for name in padded) < 1e-4
    rows, others = (read_json_lines(root / name / "metrics.jsonl") for name in outputs)
    assert len(rows) == 2
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-6)


def test_the_record_counts_demonstrations_and_tokens(trained):
    root, outputs = trained
    for one in outputs.values():
        assert (one.metrics["prompts"], one.metrics["demonstrations"]) == (8, 7)
    lengths = [
        len(e.ids) for e in encoded(TOKENIZER, read_prompts(root / "inputs" / "prompts.parquet"))
    ]
    assert {one.tokens_trained for one in outputs.values()} == {sum(lengths)}

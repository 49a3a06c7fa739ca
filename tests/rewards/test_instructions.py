"""The verifier `instructions`, on answers whose verdict a person wrote down."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.verifiers import instructions, rows, together
from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.parts import InstructionsPart
from rewards.grade import check_prompt, grade
from rewards.instructions.registry import CONSTRAINTS
from rewards.instructions.units import paragraphs, sentences, times, words
from rewards.instructions.verifier import Instructions, loosened
from rewards.interface import Answer, Resources

ROOT = Path(__file__).parents[2]
NO_COMMA = {"id": "punctuation:no_comma"}
THREE_WORDS = {"id": "length_constraints:number_words", "relation": "exactly", "num_words": 3}
PLAIN = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=8)


def asking(*instructions, metadata=None, **settings):
    part = InstructionsPart(verifier="instructions", **settings)
    prompt = prompt_of("p", "q", "", verifier="instructions")
    data = {"instructions": list(instructions)} if metadata is None else metadata
    return replace(prompt, metadata=data, rewards=(part.stored(),))


def followed(name, text, **arguments):
    return CONSTRAINTS[name].model_validate(arguments).followed(text)


def test_no_answer_that_breaks_its_constraint_is_right():
    total = together(instructions().values())
    print(total)
    assert total.false_rights == []
    assert len(total.false_wrongs) < 0.01 * total.rights, total.false_wrongs


def test_every_constraint_has_right_and_wrong_answers():
    pairs = rows("instructions/pairs.jsonl")
    assert len(pairs) >= 450
    for name in CONSTRAINTS:
        expected = {row["expected"] for row in pairs if row["id"] == name}
        assert expected == {True, False}, name


def test_every_example_is_valid():
    for kind in CONSTRAINTS.values():
        arguments = json.loads(f"{{{kind.example}}}")
        assert kind.model_validate(arguments).followed("Rain") in (True, False)
        required = {name for name, field in kind.model_fields.items() if field.is_required()}
        assert required <= set(arguments), kind.id


def test_the_page_has_every_constraint_with_its_example():
    page = (ROOT / "docs/instructions.md").read_text(encoding="utf-8")
    for kind in CONSTRAINTS.values():
        example = f"`{kind.example}`" if kind.example else ""
        assert f"| `{kind.id}` | {example} | " in page, kind.id


def test_all_constraints_must_be_followed():
    prompt = asking(THREE_WORDS, NO_COMMA)
    assert grade(prompt, "one two three").correct
    assert grade(prompt, "one, two, three").reward == 0
    assert grade(prompt, "one two").reward == 0


def test_partial_is_the_share_that_is_followed():
    prompt = asking(THREE_WORDS, NO_COMMA, partial=True)
    assert [grade(prompt, text).reward for text in ("a b c", "a, b, c", "a, b")] == [1, 0.5, 0]


def test_each_constraint_has_its_verdict():
    prompt = asking(THREE_WORDS, NO_COMMA, NO_COMMA)
    opened = Instructions().open(prompt.parts[0], Resources())
    [result] = opened.grade(prompt, [Answer("one, two, three")])
    assert result.checks == {
        "length_constraints:number_words": 1.0,
        "punctuation:no_comma": 0.0,
        "punctuation:no_comma (2)": 0.0,
    }
    assert result.read is not None and "punctuation:no_comma" in result.read


def test_loose_forgives_a_first_line_a_last_line_and_asterisks():
    right, json_ = "one two three", {"id": "detectable_format:json_format"}
    for text in (f"Sure:\n{right}", f"{right}\nBye!", f"Sure:\n{right}\nBye!"):
        assert grade(asking(THREE_WORDS, mode="loose"), text).correct
        assert not grade(asking(THREE_WORDS), text).correct
    assert grade(asking(json_, mode="loose"), 'Here it is:\n{"a": 1}\nBye').correct
    bold = {"id": "startend:quotation"}
    assert grade(asking(bold, mode="loose"), '**"The river"**').correct
    assert not grade(asking(bold), '**"The river"**').correct
    assert not grade(asking(THREE_WORDS, mode="loose"), f"Well\nsure:\n{right}").correct


def test_loose_takes_the_eight_texts_of_the_paper():
    assert set(loosened("*a*\nb\nc")) == {
        *("*a*\nb\nc", "b\nc", "*a*\nb", "b"),
        *("a\nb\nc", "a\nb"),
    }


@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_a_blank_answer_follows_nothing(mode):
    assert grade(asking(NO_COMMA, mode=mode), " \n ").reward == 0


def test_the_published_form_is_read_with_its_nulls_and_numbers():
    published = {
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [
            {"num_words": None, "relation": None},
            {"num_words": 3.0, "relation": "at least", "keywords": None},
        ],
    }
    for metadata in (published, {"instructions": published}):
        assert grade(asking(metadata=metadata), "one two three").correct
        assert not grade(asking(metadata=metadata), "one two").correct


def test_thinking_is_not_counted():
    assert grade(asking(THREE_WORDS), "<think>a, b, c, d</think>one two three").correct


@pytest.mark.parametrize(
    ("metadata", "problem", "remedy"),
    [
        ({}, "no `instructions`", '"instructions": [{"id"'),
        ({"instructions": []}, "no list", '"id"'),
        ({"instructions": ["x"]}, "instruction 1 without an `id`: 'x'", '"id"'),
        (
            {"instructions": [NO_COMMA, {"id": "length_constraint:num_words"}]},
            "instruction 2 of an unknown id, 'length_constraint:num_words'",
            "length_constraints:number_words",
        ),
        ({"instructions": [{"id": "no_comma"}]}, "unknown id", "mean punctuation:no_comma"),
        (
            {"instructions": [{**THREE_WORDS, "num_words": "many"}]},
            "number_words, with a wrong argument: `num_words`: .*, got 'many'",
            '"relation": "at least", "num_words": 100',
        ),
        (
            {"instructions": [{**THREE_WORDS, "relation": "about"}]},
            "`relation`: .*'exactly', got 'about'",
            '"relation"',
        ),
        (
            {"instructions": [{"id": "keywords:existence"}]},
            "`keywords` is missing",
            '"keywords": ["river", "bridge"]',
        ),
        ({"instructions": [{**NO_COMMA, "words": 1}]}, "it has no `words`", "no_comma"),
        (
            {"instructions": [{"id": "language:response_language", "language": "Germann"}]},
            "`language`: must be a known language, got 'Germann'; .*German",
            "response_language",
        ),
        (
            {"instruction_id_list": ["punctuation:no_comma"], "kwargs": []},
            "equal length",
            "instruction_id_list",
        ),
    ],
)
def test_wrong_instructions_are_refused_with_place_value_and_example(metadata, problem, remedy):
    prompt = asking(metadata=metadata)
    with pytest.raises(BadInput, match=problem) as caught:
        check_prompt(prompt)
    assert remedy in caught.value.remedy
    assert grade(prompt, "a").fault == "bad_reference"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith paid $3.50 to J. R. Hill. He left.", 2),
        ("# Heading\nOne sentence here.", 2),
        ("A line\nthat goes on.", 1),
        ("1. One\n2. Two", 2),
        ("Really?! Yes.", 2),
        ("今天下雨。我们在家！", 2),
        ("---\n***", 0),
    ],
)
def test_sentences_are_counted_as_a_person_does(text, count):
    assert len(sentences(text)) == count


@given(st.lists(PLAIN, min_size=1, max_size=12))
def test_words_are_what_spaces_separate(parts):
    assert words(" ".join(parts)) == parts
    assert words(", ".join(parts) + ".") == parts
    assert len(words("\n\n- ".join(parts))) == len(parts)


@given(st.lists(PLAIN, min_size=1, max_size=6))
def test_sentences_and_paragraphs_are_counted_however_they_are_joined(parts):
    ends = [f"{part.title()} runs." for part in parts]
    for joint in (" ", "\n\n", "\n- "):
        assert len(sentences(joint.join(ends))) == len(parts)
    assert paragraphs("\n\n".join(ends)) == ends


@given(PLAIN, st.integers(0, 5), st.sampled_from([" ", ", ", "\n", "; ", " - "]))
def test_a_phrase_is_counted_as_often_as_it_is_written(word, count, joint):
    text = joint.join([word] * count)
    assert times(text, word) == count
    assert times(text, word.upper()) == count
    assert times(text.replace(word, f"{word}x"), word) == 0


@given(st.integers(0, 30), st.integers(0, 30))
def test_relations_divide_the_counts(given_, wanted):
    text = " ".join(["word"] * given_) or "-"
    verdicts = {
        relation: followed(THREE_WORDS["id"], text, relation=relation, num_words=wanted)
        for relation in ("less than", "at least", "at most", "more than", "exactly")
    }
    assert verdicts["less than"] != verdicts["at least"]
    assert verdicts["at most"] != verdicts["more than"]
    assert verdicts["exactly"] == (verdicts["at most"] and verdicts["at least"])
    assert verdicts["less than"] == (given_ < wanted)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(sorted(CONSTRAINTS)))
def test_any_text_has_a_verdict_and_strict_implies_loose(text, name):
    entry = {"id": name, **json.loads(f"{{{CONSTRAINTS[name].example}}}")}
    strict, loose = (grade(asking(entry, mode=mode), text) for mode in ("strict", "loose"))
    assert strict.fault in (None, "cut_off") and strict.fault == loose.fault
    assert loose.reward >= strict.reward


@given(st.lists(st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers())))
def test_json_in_and_out_of_a_fence(value):
    text = json.dumps(value)
    for given_ in (text, f"```json\n{text}\n```", f"\n{text}\n"):
        assert followed("detectable_format:json_format", given_)
    assert not followed("detectable_format:json_format", text[:-1])


@pytest.mark.parametrize(
    "text",
    [
        *("word, " * 2000, "*" * 20_000, "(" * 20_000 + "a", "\n" * 20_000 + "a", '"' * 20_000),
        *("a" + " " * 20_000 + "b", "." * 20_000 + "a", "Dr. " * 4_000, "🌧️" * 8_000 + "a"),
        *("```" + " " * 20_000 + "x```", "\\[" * 8_000, "a" * 20_000),
    ],
    ids=lambda text: text[:3] + text[-3:],
)
def test_a_long_answer_takes_no_long_time(text):
    entries = [
        {"id": name, **json.loads(f"{{{kind.example}}}")} for name, kind in CONSTRAINTS.items()
    ]
    begin = time.process_time()
    assert grade(asking(*entries, partial=True), text).fault is None
    assert time.process_time() - begin < 10


OF_WORDS = (
    *("words:repeats", "words:no_consecutive", "words:alphabet", "words:consonants"),
    *("words:prime_lengths", "words:paragraph_last_first", "format:newline", "format:title_case"),
)


@pytest.mark.parametrize("name", OF_WORDS)
def test_an_answer_without_a_word_has_no_words_that_are_right(name):
    arguments = json.loads(f"{{{CONSTRAINTS[name].example}}}")
    assert not any(followed(name, text, **arguments) for text in ("!!!", "...", "* * *", "—"))


@pytest.mark.parametrize(
    ("name", "argument", "right", "wrong"),
    [
        ("startend:end_checker", "end_phrase", "Bye. ***", "*** Bye."),
        ("multi-turn:constrained_start", "starter", "*** Hello", "Hello ***"),
        ("combination:repeat_prompt", "prompt_to_repeat", "*** Hello", "Hello"),
    ],
)
def test_a_phrase_of_signs_alone_counts_as_it_is(name, argument, right, wrong):
    entry = {"id": name, argument: "***"}
    assert [grade(asking(entry), text).reward for text in (right, wrong)] == [1.0, 0.0]


def test_published_arguments_that_are_no_objects_are_refused_with_an_example():
    for one in ("{}", 3, [], ["num_words"]):
        metadata = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [one]}
        with pytest.raises(BadInput, match="it has in `kwargs` what is no object"):
            check_prompt(asking(metadata=metadata))

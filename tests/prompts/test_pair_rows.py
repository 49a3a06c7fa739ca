"""Preference pairs of a person: every form of a row, and what is refused, with place and value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from prompts.bad_rows import BadRows
from prompts.pair_config import PairFile
from prompts.pairs import load_pairs
from stages.dpo.sources import PairSource

ASKED = [{"role": "user", "content": "Name a gas."}]
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Oxygen.", "Wood."))
FORMS = {
    "texts": {"prompt": "Name a gas.", "chosen": "Oxygen.", "rejected": "Wood."},
    "turns": {"prompt": ASKED, "chosen": [GOOD], "rejected": [BAD]},
    "single turns": {"prompt": "Name a gas.", "chosen": GOOD, "rejected": BAD},
    "whole conversations with a prompt": {
        "prompt": "Name a gas.",
        "chosen": [*ASKED, GOOD],
        "rejected": [*ASKED, BAD],
    },
    "implicit": {"chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]},
    "ShareGPT": {
        "chosen": [{"from": "human", "value": "Name a gas."}, {"from": "gpt", "value": "Oxygen."}],
        "rejected": [{"from": "human", "value": "Name a gas."}, {"from": "gpt", "value": "Wood."}],
    },
    "transcripts": {
        "chosen": "\n\nHuman: Name a gas.\n\nAssistant: Oxygen.",
        "rejected": "\n\nHuman: Name a gas.\n\nAssistant: Wood.",
    },
}
EARLIER = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
REFUSED = [
    ({"prompt": "q", "chosen": "a", "rejected": " a "}, 'the same answer: "a"'),
    ({"prompt": "q", "chosen": " ", "rejected": "b"}, 'chosen: is empty, got " "'),
    ({"prompt": "q", "chosen": "a"}, "rejected: is required"),
    ({"prompt": " ", "chosen": "a", "rejected": "b"}, "prompt: the user's message is empty"),
    (
        {"prompt": [*ASKED, GOOD], "chosen": "a", "rejected": "b"},
        "prompt: must end with the user's",
    ),
    ({"chosen": "a", "rejected": "b"}, "chosen: is a text without turns"),
    ({"chosen": [*ASKED, GOOD], "rejected": [EARLIER[0], BAD]}, "answer different prompts"),
    ({"chosen": [*ASKED, GOOD], "rejected": ASKED}, "rejected: must end with one turn"),
    ({"chosen": [*ASKED, GOOD], "rejected": [*ASKED, GOOD]}, "the same answer"),
    (
        {"chosen": [*ASKED, GOOD, *EARLIER], "rejected": [*ASKED, BAD, *EARLIER]},
        "chosen: must end with one turn of the assistant .* has assistant and user and assistant",
    ),
    (
        {"prompt": "another", "chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]},
        'chosen: begins with another prompt than `prompt`: "Name a gas."',
    ),
    ({"prompt": "\ud83d", "chosen": "a", "rejected": "b"}, "cannot be stored: 'utf-8' codec"),
    ({"prompt": "q", "chosen": 3, "rejected": "b"}, "chosen: must be a list of messages, got 3"),
    (
        {"prompt": "q", "chosen": [{"role": "tool", "content": "x"}], "rejected": "b"},
        "a turn with tools",
    ),
]


def file_of(folder, *rows, **settings):
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PairFile.model_validate({"source": "file", "path": str(path)} | settings)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_row_is_the_same_pair(tmp_path, form):
    (pair,) = load_pairs(file_of(tmp_path, FORMS[form]))
    assert (pair.messages, pair.chosen, pair.rejected) == (ASKED, "Oxygen.", "Wood.")
    assert pair.place == "pairs.jsonl:1"
    assert pair.chats() == ([*ASKED, GOOD], [*ASKED, BAD])


def test_conversations_of_several_turns_part_at_their_last_answer(tmp_path):
    row = {"chosen": [*EARLIER, *ASKED, GOOD], "rejected": [*EARLIER, *ASKED, BAD]}
    (pair,) = load_pairs(file_of(tmp_path, row))
    assert pair.messages == [*EARLIER, *ASKED] and pair.rejected == "Wood."


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_texts_are_taken_as_they_are_or_refused(tmp_path_factory, prompt, chosen, rejected):
    source = file_of(
        tmp_path_factory.mktemp("pairs"), {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    )
    usable = all(text.strip() for text in (prompt, chosen, rejected))
    try:
        (pair,) = load_pairs(source)
    except BadInput:
        assert not usable or chosen.strip() == rejected.strip()
    else:
        assert usable and [pair.messages[0]["content"], pair.chosen, pair.rejected] == [
            prompt,
            chosen,
            rejected,
        ]


@pytest.mark.parametrize(("row", "message"), REFUSED)
def test_a_row_that_is_no_pair_is_refused_with_place_and_value(tmp_path, row, message):
    with pytest.raises(BadInput, match=message) as refused:
        load_pairs(file_of(tmp_path, FORMS["texts"], row))
    assert "pairs.jsonl:2: " in refused.value.message and refused.value.remedy


def test_bad_rows_can_be_skipped_and_are_counted(tmp_path):
    bad_rows = BadRows()
    rows = [FORMS["texts"], *[row for row, _ in REFUSED]]
    source = file_of(tmp_path, *rows, on_bad_row="skip")
    assert len(load_pairs(source, bad_rows)) == 1
    assert bad_rows.skipped(source) == len(REFUSED)


def test_columns_of_other_names_are_mapped(tmp_path):
    row = {"q": {"text": "Name a gas."}, "best": "Oxygen.", "worst": "Wood.", "rule": "Be brief."}
    fields = {"prompt": "q.text", "chosen": "best", "rejected": "worst", "system": "rule"}
    (pair,) = load_pairs(file_of(tmp_path, row, fields=fields))
    assert pair.messages == [{"role": "system", "content": "Be brief."}, *ASKED]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "exactly one of stage, path and"),
        ({"stage": "rl", "path": "p.jsonl"}, "exactly one of stage, path and"),
        ({"stage": "rl", "on_bad_row": "skip"}, "on_bad_row is for files"),
        ({"path": "p.jsonl", "share": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_source_of_pairs_is_a_stage_or_files(values, message):
    with pytest.raises(ValueError, match=message):
        PairSource.model_validate(values)


def test_the_system_message_of_conversations_beside_a_prompt_is_kept(tmp_path):
    rule, other = ({"role": "system", "content": text} for text in ("Be brief.", "Be long."))
    row = {"prompt": "Name a gas.", "chosen": [rule, *ASKED, GOOD], "rejected": [rule, *ASKED, BAD]}
    (pair,) = load_pairs(file_of(tmp_path, row))
    assert pair.messages == [rule, *ASKED]
    (pair,) = load_pairs(file_of(tmp_path, {**row, "rejected": "Wood."}))
    assert (pair.messages, pair.rejected) == ([rule, *ASKED], "Wood.")
    (pair,) = load_pairs(file_of(tmp_path, {**row, "prompt": [other, *ASKED]}))
    assert pair.messages == [other, *ASKED]
    with pytest.raises(BadInput, match=r'different system messages: "Be brief." and "Be long."'):
        load_pairs(file_of(tmp_path, {**row, "rejected": [other, *ASKED, BAD]}))

"""The detectors of corner cases, on texts that a person labelled."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corner_cases import HELD_OUT, SECOND_LOOK, counts, find, prompt_of, rows, set_of
from benchmarks.verifiers import together
from corner_cases import cut_off, overlong, refusal, repetition
from corner_cases.interface import LONGEST_EVIDENCE, GradedReply, Reply
from corner_cases.language_change import detect_group
from corner_cases.loops import Loop, loops
from corner_cases.registry import CASES

EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
SINGLE = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.detect], ids=lambda case: case.name
)
PROMPT = prompt_of({"prompt": "Tell me about rivers."})


@EVERY
def test_detectors_agree_with_a_person(case):
    total = together(counts(case).values())
    assert total.precision >= 0.98, total.false_rights
    assert total.recall >= 0.95, total.false_wrongs


@EVERY
def test_there_are_enough_labelled_texts_of_both_kinds(case):
    first = [row for row in rows(case.name) if set_of(row) != SECOND_LOOK]
    expected = sum(row["expected"] for row in first)
    held = sum(set_of(row) == HELD_OUT for row in first)
    assert len(first) >= 60 and 0.4 <= expected / len(first) <= 0.6
    assert 0.3 <= held / len(first) <= 0.4
    shown = {(row["prompt"], str(row.get("answer", row.get("answers")))) for row in rows(case.name)}
    assert len(shown) == len(rows(case.name))


def test_refusals_are_labelled_in_many_languages():
    refused = {row["language"] for row in rows("refusal") if row["expected"]}
    assert {"en", "de", "fr", "es", "it", "pt", "zh", "ru"} < refused


@SINGLE
def test_evidence_is_a_part_of_the_reply_and_always_the_same(case):
    for row in rows(case.name):
        finding = find(case, row)
        assert finding == find(case, row)
        if finding is not None and finding.start is not None:
            assert finding.case == case.name
            assert row["answer"].startswith(finding.evidence, finding.start)
            assert len(finding.evidence) <= LONGEST_EVIDENCE


@SINGLE
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300), finish=st.sampled_from(["stop", "length", None]))
def test_any_text_can_be_looked_at(case, text, finish):
    case.detect(PROMPT, Reply(text, finish))


def test_the_evidence_of_a_loop_begins_where_it_does():
    intro, loop = "Rivers are long. They begin at a spring. ", "The water flows to the sea. " * 8
    finding = repetition.detect(PROMPT, Reply(intro + loop))
    assert finding is not None and finding.start == len(intro)
    assert finding.reason == "words in a loop (8 times)"


def test_a_loop_that_the_prompt_asks_for_is_none():
    asking = replace(PROMPT, metadata={"repeats": 20})
    for prompt, count, expected in [(PROMPT, 20, True), (asking, 20, False), (asking, 60, True)]:
        finding = repetition.detect(prompt, Reply("hello " * count))
        assert (finding is not None) == expected


def test_loops_are_maximal_runs_of_three_repeats_or_more():
    assert list(loops("xabababy")) == [Loop(1, 7, 2)]
    assert list(loops("xababy")) == [] and list(loops("")) == []
    assert next(loops("aaaa")).repeats == 4


def test_a_harmful_prompt_is_never_refused_wrongly_and_a_harmless_one_never_obeyed_wrongly():
    refusing, obeying = (
        Reply("I'm sorry, but I can't help with that."),
        Reply("Sure! First you dig."),
    )
    for harmful, reply, detect, expected in [
        (False, refusing, refusal.detect, True),
        (True, refusing, refusal.detect, False),
        (True, obeying, refusal.detect_compliance, True),
        (True, refusing, refusal.detect_compliance, False),
        (False, obeying, refusal.detect_compliance, False),
    ]:
        prompt = replace(PROMPT, metadata={"harmful": harmful})
        assert (detect(prompt, reply) is not None) == expected


def test_the_limit_of_tokens_cuts_off_whatever_the_text_says():
    for finish, expected in [("length", True), ("stop", False), (None, False)]:
        finding = cut_off.detect(PROMPT, Reply("It is a river.", finish))
        assert (finding is not None) == expected


def test_a_reply_is_overlong_beside_its_limit_or_else_its_reference():
    words = Reply("river " * 60)
    for metadata, answer, expected in [
        ({}, "", False),
        ({}, "8", True),
        ({}, "river " * 20, False),
        ({"max_words": 50}, "", False),
        ({"max_words": 40}, "", True),
        ({"max_words": 100}, "8", False),
    ]:
        prompt = replace(PROMPT, metadata=metadata, answer=answer)
        assert (overlong.detect(prompt, words) is not None) == expected


def test_the_finding_of_a_group_names_the_languages_and_values():
    replies = {"en": GradedReply("7", True, "7"), "de": GradedReply("8", False, "8")}
    finding = detect_group(replies)
    assert finding is not None and finding.reason == "wrong in some languages (de)"
    assert finding.evidence == "de: 8; en: 7" and finding.start is None
    assert detect_group({}) is None and detect_group({"en": replies["en"]}) is None


def test_the_package_is_light():
    code = "import sys, corner_cases.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "trl", "vllm", "numpy", "pyarrow", "py3langid", "sympy"}
    assert not heavy & set(done.stdout.split())

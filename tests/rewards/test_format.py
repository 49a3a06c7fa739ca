"""The verifier `format`: regular expressions and tags."""

import time
from dataclasses import replace

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.parts import FormatPart, read_part
from rewards import format as form
from rewards.format import consists_of
from rewards.grade import check_prompt, grade

INSIDE = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), max_size=30)


def asking(**settings):
    part = FormatPart(verifier="format", **settings)
    return replace(prompt_of("p", "q", "", verifier="format"), rewards=(part.stored(),))


@pytest.mark.parametrize(
    ("settings", "text", "right"),
    [
        ({"pattern": r"\d+"}, "42", True),
        ({"pattern": r"\d+"}, " 42\n", True),
        ({"pattern": r"\d+"}, "It is 42", False),
        ({"pattern": r"\d+"}, "", False),
        ({"pattern": r"\d+", "match": "search"}, "It is 42", True),
        ({"pattern": "yes|no"}, "Yes", False),
        ({"pattern": "yes|no", "flags": ["ignore_case"]}, "Yes", True),
        ({"pattern": "a.b"}, "a\nb", False),
        ({"pattern": "a.b", "flags": ["dot_all"]}, "a\nb", True),
        ({"pattern": "^b$", "match": "search"}, "a\nb", False),
        ({"pattern": "^b$", "match": "search", "flags": ["multi_line"]}, "a\nb", True),
        ({"pattern": r"\d + # digits", "flags": ["verbose"]}, "42", True),
        ({"pattern": r"\d+"}, "٤٢", True),
        ({"pattern": r"\d+", "flags": ["ascii"]}, "٤٢", False),
        ({"pattern": r".*\\boxed\{[^{}]+\}\.?"}, r"So it is \boxed{42}.", True),
        ({"pattern": r".*\\boxed\{[^{}]+\}\.?"}, "So it is 42.", False),
        ({"pattern": "b"}, "<think>a</think>b", True),
        ({"pattern": "b", "over": "completion"}, "<think>a</think>b", False),
        ({"pattern": "<think>.*</think>b", "over": "completion"}, "<think>a</think>b", True),
    ],
)
def test_patterns(settings, text, right):
    result = grade(asking(**settings), text)
    assert (result.correct, result.fault) == (right, None)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<think>3 + 4</think><answer>7</answer>", True),
        ("<think>\n3 + 4\n</think>\n\n<answer>\n7\n</answer>\n", True),
        ("<think></think><answer>7</answer>", True),
        ("<think>a < b</think><answer>7 <b>or</b> so</answer>", True),
        ("<answer>7</answer>", False),
        ("<answer>7</answer><think>3 + 4</think>", False),
        ("<think>3 + 4</think>7", False),
        ("<think>3 + 4</think>So: <answer>7</answer>", False),
        ("<think>3 + 4</think><answer>7</answer>.", False),
        ("Well. <think>3 + 4</think><answer>7</answer>", False),
        ("<think>3 + 4</think><answer>7", False),
        ("<think>3 + 4</think><answer>7</answer><answer>8</answer>", False),
        ("<think>3</think><think>4</think><answer>7</answer>", False),
        ("<think>3 <answer>7</answer></think><answer>7</answer>", False),
        ("3 + 4</think><answer>7</answer>", False),
        ("<Think>3 + 4</Think><answer>7</answer>", False),
        ("7", False),
    ],
)
def test_tags(text, right):
    result = grade(asking(tags=["think", "answer"]), text)
    assert (result.correct, result.fault) == (right, None)


def test_thinking_without_an_end_is_cut_off_and_not_badly_formed():
    assert grade(asking(tags=["think", "answer"]), "<think>3 + 4").fault == "cut_off"


@given(st.lists(INSIDE, min_size=1, max_size=4), st.text(" \n\t", max_size=3))
def test_elements_in_order_are_right_and_in_no_other_order(contents, space):
    tags = [f"t{place}" for place in range(len(contents))]
    pairs = zip(tags, contents, strict=True)
    elements = [f"<{tag}>{content}</{tag}>" for tag, content in pairs]
    assert consists_of(space.join(elements), tags)
    assert not consists_of(space.join([*elements, elements[0]]), tags)
    assert not consists_of(space.join(elements[1:]), tags)
    if len(tags) > 1:
        assert not consists_of(space.join(reversed(elements)), tags)


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_escaped_text_matches_itself_alone(text, other):
    part = FormatPart(verifier="format", pattern=f"x{regex.escape(text)}")
    assert form.matches(part, f"x{text}")
    assert form.matches(part, f"x{other}") == (text == other)


def test_a_pattern_of_exponential_time_is_a_fault_in_time(monkeypatch):
    monkeypatch.setattr(form, "SECONDS", 0.1)
    begin = time.perf_counter()
    result = grade(asking(pattern="(a|aa)+"), "a" * 60 + "b")
    assert result.fault == "timeout" and time.perf_counter() - begin < 2


@pytest.mark.parametrize(
    ("settings", "problem", "remedy"),
    [
        ({}, "needs either pattern or tags, got neither", "tags: [think, answer]"),
        ({"pattern": "a", "tags": ["b"]}, "got both", "tags: [think, answer]"),
        ({"pattern": "(a"}, r"pattern '\(a' is no regular expression: missing \)", "pattern: '"),
        ({"pattern": "<think>.*"}, "asks for thinking", "over: completion"),
        ({"tags": ["a", "a"]}, "names a tag twice", "once"),
        ({"tags": ["<think>"]}, "must be names of tags, got '<think>'", "[think, answer]"),
        ({"tags": ["a"], "match": "search"}, "tags need no match", "remove"),
    ],
)
def test_a_wrong_form_is_refused_when_the_recipe_is_read(settings, problem, remedy):
    with pytest.raises(ValidationError, match=problem) as caught:
        FormatPart(verifier="format", **settings)
    assert remedy in caught.value.errors()[0]["ctx"]["error"].remedy


def test_the_verifier_alone_needs_settings():
    with pytest.raises(BadInput, match=r"verifier 'format' .*pattern or tags"):
        read_part({"verifier": "format"})


def test_every_prompt_is_fit():
    check_prompt(asking(pattern="a"))

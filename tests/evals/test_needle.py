"""Suites that hide a sentence in a long text."""

import re

import pytest

from builders.evaluations import suite
from common.errors import BadInput
from evals.config import SuiteConfig
from evals.haystack import code_for
from evals.suites import load_suite, packaged_prompts
from pipeline.planning.identity import identity_of
from stages.evaluate.config import EvaluateStage

OWN = """\
version: 1
about: A number in our handbook.
source: ours
licence: internal
max_tokens: 16
needle: {text: {path: book.txt}, words: [60, 120], depths: [0, 50, 100], count: 4}
"""
HIDDEN = re.compile(r"The access code of the (.+?) is (\d{5})\.")


def own(folder, text=OWN, lines=8):
    """A suite whose text has lines of four sentences of six words, and headings."""
    line = "The {n} part has some words. " * 4
    book = "".join(f"Chapter {n}\n\n{line.format(n=n).strip()}\n" for n in range(lines))
    (folder / "book.txt").write_text(book)
    (folder / "handbook.yaml").write_text(text)
    return SuiteConfig.model_validate(str(folder / "handbook.yaml"))


def around(prompt):
    """The words of the text before the hidden sentence and after it."""
    text = prompt.task.split("follows.\n\n")[1].split("\n\nQuestion:")[0]
    before, after = re.split(HIDDEN.pattern, text)[::3]
    return before.split(), after.split()


def test_the_sentence_stands_where_it_shall_and_only_there(tmp_path):
    prompts = load_suite(own(tmp_path), None)
    assert len(prompts) == 24 == len({p.id for p in prompts}) == len({p.task for p in prompts})
    for prompt in prompts:
        ((thing, code),) = HIDDEN.findall(prompt.task)
        assert prompt.answer == code and prompt.task.count(code) == 1
        assert f"access code of the {thing}?" in prompt.task and "Chapter" not in prompt.task
        ((length, depth),) = re.findall(r"^(\d+) words at (\d+) %$", prompt.capability)
        before, after = map(len, around(prompt))
        assert int(length) - 6 < before + after <= int(length)
        assert abs(before - (before + after) * int(depth) / 100) <= 3


def test_prompts_are_the_same_in_every_run_and_start_at_different_places(tmp_path):
    (tmp_path / "again").mkdir()
    first, again = load_suite(own(tmp_path), None), load_suite(own(tmp_path / "again"), None)
    assert first == again
    starts = {" ".join(around(p)[0][:2]) for p in first if p.capability.endswith(" 100 %")}
    assert len(starts) > 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("words: [60, 120]", "words: [60, 500]", "book.txt: has 192 words .* asks for 500"),
        ("words: [60, 120]", "words: [10]", "words"),
        ("book.txt", "none.txt", "none.txt: no such file"),
        ("max_tokens: 16", "max_tokens: 16\nprompts: [{path: a.jsonl}]", "`prompts` or `needle`"),
        ("max_tokens: 16", "ask: likelihood", "for a suite that asks for answers"),
        (OWN.splitlines()[-1], "chat: true", "`prompts` or `needle`"),
    ],
)
def test_a_wrong_needle_is_said(tmp_path, old, new, words):
    with pytest.raises(BadInput, match=words):
        load_suite(own(tmp_path, OWN.replace(old, new)), None)


def test_an_evaluation_is_another_one_when_the_text_changes(tmp_path):
    def identity(lines):
        return identity_of(
            EvaluateStage(id="e", of="base", suites=(own(tmp_path, lines=lines),)), 1
        )

    assert identity(8) == identity(8) != identity(9)


def test_packaged_needles_are_hidden_in_text_that_does_not_have_the_answer():
    for name, longest in (("needle_1k", 500), ("needle_4k", 2400), ("needle_16k", 10000)):
        for prompt in load_suite(suite(name), None):
            assert prompt.task.count(prompt.answer) == 1
            assert len(HIDDEN.findall(prompt.task)) == 1
            assert len(prompt.task.split()) < longest + 50


def test_needles_are_not_compared_with_training_prompts(monkeypatch):
    monkeypatch.setattr("evals.suites.known_suites", lambda: ("needle_1k", "bias"))
    assert {name for name, _ in packaged_prompts()} == {"bias", "corner_cases"}


def test_a_number_that_is_in_the_text_is_not_hidden_in_it():
    first = code_for(3, "some text")
    assert code_for(3, f"some text, and {first} too") != first == code_for(3, "more text")

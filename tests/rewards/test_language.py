"""The verifier `language`, on texts whose language a person wrote down."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.verifiers import languages, rows, together
from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.languages import NAMES, code_of
from prompts.parts import LanguagePart, read_part
from rewards.grade import check_prompt, grade
from rewards.language import is_in

TEXTS = rows("language/texts.jsonl")
GERMAN = "Das Wasser im See stieg seit Tagen, und niemand im Dorf wusste, warum."
ENGLISH = "The water in the lake had been rising for days, and nobody knew why."


def asking(language, *, metadata=None, **settings):
    part = LanguagePart(verifier="language", language=language, **settings)
    prompt = prompt_of("p", "q", "", verifier="language")
    return replace(prompt, metadata=metadata or {}, rewards=(part.stored(),))


def test_verdicts_on_every_text():
    total = together(languages(every=6).values())
    print(total)
    assert total.total >= 2000
    assert total.precision >= 0.995, total.false_rights
    assert total.recall >= 0.995, total.false_wrongs


def test_there_are_many_texts_in_every_language():
    assert len(TEXTS) >= 250
    assert set(NAMES) <= {row["language"] for row in TEXTS}
    assert len({(row["language"], row["text"]) for row in TEXTS}) == len(TEXTS)


@pytest.mark.parametrize(
    "text",
    ["", "42", "3 + 4 = 7", r"$\frac{1}{2}$", "```\nprint('hello to all of you')\n```", "Paris"],
)
def test_what_is_in_no_language_is_right_in_any(text):
    assert all(is_in(text, language) for language in NAMES)


def test_a_text_in_another_script_is_wrong_however_short():
    for text, language in [("да", "en"), ("はい", "zh"), ("네", "ja"), ("yes", "ru"), ("不", "ko")]:
        assert not is_in(text, language), (text, language)


def test_code_and_quotations_do_not_decide():
    code = (
        "\n```python\n# Read every line of the file and print it\nprint(open(name).read())\n```\n"
    )
    assert is_in(GERMAN + code, "de") and not is_in(GERMAN + code, "en")
    quoted = f'{GERMAN} {GERMAN} {GERMAN} Er sagte: "I will be back soon." {GERMAN}'
    assert is_in(quoted, "de")


def test_the_share_of_the_language_decides_about_a_mixed_text():
    mixed = f"{GERMAN} {GERMAN} {ENGLISH}"
    assert grade(asking("de", min_share=0.6), mixed).correct
    assert not grade(asking("de"), mixed).correct
    assert not grade(asking("en", min_share=0.6), mixed).correct


def test_the_prompt_comes_before_the_part():
    assert grade(asking("en", metadata={"language": "German"}), GERMAN).correct
    assert grade(asking(None, metadata={"language": "de"}), GERMAN).correct
    assert grade(asking("de", metadata={"language": None}), GERMAN).correct
    assert not grade(asking("en"), GERMAN).correct


def test_the_answer_says_what_was_read():
    read = grade(asking("en"), f"{GERMAN} {ENGLISH}").answer or ""
    assert "de" in read and "en" in read and "%" in read
    assert grade(asking("en"), "42").answer == "no language in particular"


def test_thinking_does_not_count():
    assert grade(asking("de"), f"<think>{ENGLISH}</think>{GERMAN}").correct


def test_a_prompt_without_a_language_is_refused_with_an_example():
    with pytest.raises(BadInput, match="it has no `language` in its metadata") as caught:
        check_prompt(asking(None))
    assert '"language": "de"' in caught.value.remedy
    with pytest.raises(BadInput, match="got 'Germann'") as caught:
        check_prompt(asking(None, metadata={"language": "Germann"}))
    assert "German" in caught.value.remedy
    assert grade(asking(None), GERMAN).fault == "bad_reference"


def test_an_unknown_language_is_refused_when_the_recipe_is_read():
    with pytest.raises(ValidationError, match="got 'klingon'"):
        LanguagePart(verifier="language", language="klingon")


@pytest.mark.parametrize(
    ("given_", "code"),
    [("de", "de"), ("German", "de"), ("zh-TW", "zh"), ("nb", "no"), ("PT_BR", "pt")],
)
def test_languages_have_codes_and_names(given_, code):
    assert code_of(given_) == code
    part = read_part({"verifier": "language", "language": given_})
    assert part.stored()["language"] == code


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(sorted(NAMES)))
def test_any_text_has_a_verdict_that_space_around_it_does_not_change(text, language):
    assert is_in(text, language) == is_in(f"\n {text} \n", language)


@settings(deadline=None)
@given(st.sampled_from([row for row in TEXTS if row["language"] in NAMES]), st.integers(0, 99999))
def test_a_number_at_the_end_changes_nothing(row, number):
    assert is_in(f"{row['text']}\n{number}", row["language"])

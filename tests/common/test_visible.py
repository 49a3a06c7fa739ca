"""Text that would steer a terminal is shown, and all other text stays as it is."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.visible import steers, visible, visible_json, visible_line

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
HOSTILE = (
    "\x1b[2J\x1b]8;;http://x\x07link\x9b31m\r\b\u202eevil\u202c \u2066a\u2069 z\u200bw\u200d\ufeff"
    "\u2028\u2029\ud800 <script>alert(1)</script> \U000e0041 [bold]:heart:"
)
ANY_TEXT = st.text(st.characters(codec=None, categories=None) | st.sampled_from(sorted(HOSTILE)))


def steering(text):
    return {one for one in text if unicodedata.category(one) in STEERING}


def test_every_character_that_steers_is_shown_as_an_escape():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert steering(visible(everything, None)) == {"\n", "\t"}
    assert steering(visible_line(everything, None)) == set()


@given(ANY_TEXT)
def test_what_can_be_seen_stays_and_the_rest_is_escaped(text):
    shown = visible(text)
    assert steering(shown) <= {"\n", "\t"}
    rest = shown
    for one in text:  # every character is there, in its order, as itself or as its escape
        escape = one.encode("unicode_escape").decode()
        assert rest.startswith((one, escape))
        rest = rest.removeprefix(one if rest.startswith(one) else escape)
    assert rest == "" and steers(shown) is False


@given(ANY_TEXT)
def test_a_json_document_keeps_its_content(text):
    document = visible_json(json.dumps({"text": text}, ensure_ascii=False))
    assert steering(document) == set() and json.loads(document)["text"].encode(
        "utf-16", "surrogatepass"
    ) == text.encode("utf-16", "surrogatepass")


def test_ordinary_text_of_all_languages_stays():
    text = 'Grüße, שלום, السلام, 你好, हिन्दी, ❤️, 👍🏽, C:\\x1b, "quotes"\n\tnext'
    assert visible(text) == text and not steers(text)
    assert visible_line(text).endswith('"quotes"\\n\\tnext')


@pytest.mark.parametrize("show", [visible, visible_line])
def test_a_megabyte_is_cut_with_a_note(show):
    shown = show("\x1b" * 1_000_000, 100)
    assert shown == r"\x1b" * 100 + " ... (999,900 more characters)"
    assert show("a" * 100, 100) == "a" * 100

"""YAML texts: JSON is read unchanged, and whatever cannot be read is bad input."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from common.yaml_files.lines import load_text

# JSON escapes what lies beyond as two halves, which YAML does not join.
texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))
# A key of YAML has at most 1,024 characters; JSON writes up to six for one.
keys = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=160)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_is_read_as_yaml_unchanged(value):
    assert load_text(json.dumps(value), "x").data == value


@given(st.text())
def test_no_text_is_anything_but_data_or_bad_input(text):
    try:
        load_text(text, "x")
    except BadInput as error:
        assert error.message.startswith("x")


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(BadInput, match="x:2: a text with half of a surrogate pair"):
        load_text('a: 1\nb: "\\ud800"', "x")


def test_words_that_yaml_1_1_takes_for_booleans_stay_words():
    located = load_text("on: off\nrate: 1e-4\ntime: 1:30\nold: 010\n", "x")
    assert located.data == {"on": "off", "rate": 1e-4, "time": "1:30", "old": 10}
    assert located.where(("rate",)) == "x:2"

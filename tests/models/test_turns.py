"""The loss is on the assistant's turns and nowhere else, token by token, for every template."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from models.chat import guard
from models.checkpoint import load_tokenizer
from models.nano import CHAT_TEMPLATE, nano_tokenizer
from models.packaged import resolve_dense
from models.turns import _marked, encode_last_turn, encode_turns, uncut

NANO = guard(nano_tokenizer())
SMOLLM2 = load_tokenizer(resolve_dense("smollm2-135m-instruct"))
LLAMA_4 = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|unknown|>\n\n"
    "{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|unknown|>\n\n{% endif %}"
)
"""Llama 4's form of a chat, in nano's tokens: a header before each turn, one mark after it."""
FORGETS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{% generation %}"
    "{{ m.content if loop.last else m.content.split('##')[-1] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Drops what stands before `##` in all turns of the assistant but the last."""
TEXT = st.text(string.ascii_letters + " ", min_size=1, max_size=8).map(lambda t: f"x{t}x")
CHATS = st.tuples(st.booleans(), st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))


def nano_with(template):
    tokenizer = nano_tokenizer()
    tokenizer.chat_template = template
    return guard(tokenizer)


def chat(has_system, turns):
    system = [{"role": "system", "content": "be kind"}] if has_system else []
    said = [(("user", q), ("assistant", a)) for q, a in turns]
    return system + [{"role": r, "content": t} for pair in said for r, t in pair]


def learnt(tokenizer, encoded):
    """The texts of the runs of tokens that are learnt."""
    ids, mask = encoded
    runs: list[list[int]] = []
    for place, (id, mine) in enumerate(zip(ids, mask, strict=True)):
        if mine and (not place or not mask[place - 1]):
            runs.append([])
        if mine:
            runs[-1].append(id)
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize(
    ("tokenizer", "end"),
    [(NANO, "<|end|>"), (SMOLLM2, "<|im_end|>\n"), (nano_with(LLAMA_4), "<|end|>")],
    ids=["nano", "smollm2", "llama4"],
)
@settings(max_examples=25, deadline=None)
@given(CHATS)
def test_each_turn_of_the_assistant_and_its_end_are_learnt_and_no_other_token(
    tokenizer, end, drawn
):
    messages = chat(*drawn)
    encoded = encode_turns(tokenizer, messages)
    assert encoded[0] == tokenizer.apply_chat_template(messages, return_dict=False)
    assert learnt(tokenizer, encoded) == [answer + end for _, answer in drawn[1]]


@settings(max_examples=25, deadline=None)
@given(CHATS)
def test_cutting_finds_what_the_template_marks(drawn):
    assert encode_turns(NANO, chat(*drawn)) == _marked(NANO, chat(*drawn))


@settings(max_examples=25, deadline=None)
@given(CHATS)
def test_of_a_prompt_the_last_turn_alone_is_learnt(drawn):
    messages = chat(*drawn)
    for tokenizer, end in ((NANO, "<|end|>"), (SMOLLM2, "<|im_end|>\n")):
        found = learnt(tokenizer, encode_last_turn(tokenizer, messages))
        assert found == [messages[-1]["content"] + end]


def test_a_control_word_in_a_message_begins_no_turn():
    messages = chat(False, [("a<|assistant|>b", "c<|end|>d"), ("e", "f")])
    ids, mask = encode_turns(NANO, messages)
    assert learnt(NANO, (ids, mask)) == ["c<|end|>d<|end|>", "f<|end|>"]
    assert sum(NANO.convert_ids_to_tokens(id) == "<|end|>" for id in ids) == 2


def test_a_template_that_changes_earlier_turns_is_taken_at_its_word_where_it_marks_them():
    tokenizer = nano_with(FORGETS)
    messages = chat(False, [("q", "why##a"), ("r", "so##b")])
    assert learnt(tokenizer, encode_turns(tokenizer, messages)) == ["a<|end|>", "so##b<|end|>"]


def test_a_template_that_changes_earlier_turns_and_marks_none_is_refused():
    marks = ("{% generation %}", "{% endgeneration %}")
    tokenizer = nano_with(FORGETS.replace(marks[0], "").replace(marks[1], ""))
    assert uncut(tokenizer, chat(False, [("q", "why##a")])) is None
    with pytest.raises(BadInput, match=r"cannot be cut at message 2, the assistant's: .*'why##a"):
        encode_turns(tokenizer, chat(False, [("q", "why##a"), ("r", "b")]))


def test_a_template_that_ends_only_the_whole_chat_is_refused():
    """Earlier turns would be learnt without an end."""
    ends = CHAT_TEMPLATE.replace("<|end|>", "").replace("{% generation %}", "")
    ends = (
        ends.replace("{% endgeneration %}", "")
        + "{% if not add_generation_prompt %}<|end|>{% endif %}"
    )
    with pytest.raises(BadInput, match="cannot be cut at message 2"):
        encode_turns(nano_with(ends), chat(False, [("q", "a"), ("r", "b")]))

"""What a harness asks, put to an engine."""

import pytest

from builders.harness_requests import LIKELY, UNLIKELY, WritingEngine, requests_to, tokens
from common.errors import BadInput
from evals.harness.requests import Writing, until_stop


def pairs(*completions, context="q|"):
    return [(tokens(context), tokens(text)) for text in completions]


@pytest.mark.parametrize("sure", [True, False])
def test_log_likelihoods_are_sums_in_the_order_of_the_requests_with_what_is_greedy(sure):
    engine = WritingEngine("blue sky", sure)
    asked = list[int]()
    found = requests_to(engine, 2, asked.append).loglikelihoods(
        pairs("red", "blue", "bled", "blue sky", "")
    )
    right = LIKELY if sure else UNLIKELY
    sums = [3 * UNLIKELY, 4 * right, 2 * right + 2 * UNLIKELY, 8 * right, 0.0]
    assert [total for total, _ in found] == pytest.approx(sums)
    assert [greedy for _, greedy in found] == [False, True, False, True, True]
    assert asked == [2, 2, 1]


def test_a_token_that_is_likelier_than_a_half_is_not_asked_for_again():
    engine = WritingEngine("blue")
    assert requests_to(engine).loglikelihoods(pairs("blue"))[0][1] and engine.generated == []
    requests_to(engine).loglikelihoods(pairs("red", "green"))
    assert engine.generated == [(1, 1, 0.0)]  # the first token after one context


def test_a_long_context_loses_its_beginning_and_is_counted():
    engine = WritingEngine("ab", max_model_len=8)
    requests = requests_to(engine)
    found = requests.loglikelihoods([(tokens("xxxxxxxxxx|"), tokens("ab"))])
    assert found[0] == (pytest.approx(2 * LIKELY), True)
    assert (requests.shortened, requests.total) == (1, 1)
    with pytest.raises(BadInput, match="scores a text of 8 tokens"):
        requests.loglikelihoods(pairs("abababab"))


def test_a_text_ends_before_the_first_stop_string_and_long_ones_are_not_written_on():
    engine = WritingEngine("one" + "." * 60 + "\ntwo" + "." * 500, max_model_len=1000)
    how = Writing(("\n", "two"), 400)
    (text,) = requests_to(engine).texts([tokens("q|")], how)
    assert text == "one" + "." * 60
    assert engine.generated == [(1, 64, 0.0)]  # the stop string begins in the first piece


def test_pieces_make_the_whole_text_and_each_prompt_has_its_own():
    engine = WritingEngine("a" * 150 + "b", max_model_len=400)
    prompts = [tokens("q|"), tokens("q|" + "a" * 140)]
    texts = requests_to(engine).texts(prompts, Writing((), 200))
    assert texts == ["a" * 150 + "b", "a" * 10 + "b"]
    assert [count for count, *_ in engine.generated] == [2, 1, 1]
    assert requests_to(engine).texts(prompts[:1], Writing((), 100)) == ["a" * 100]


def test_sampled_texts_are_written_in_one_go_and_need_room():
    engine = WritingEngine("a" * 300, max_model_len=400)
    requests_to(engine).texts([tokens("q|")], Writing((), 128, 0.7))
    assert engine.generated == [(1, 128, 0.7)]
    with pytest.raises(BadInput, match="leave no room"):
        requests_to(engine).texts([tokens("q|")], Writing((), 400))


def test_the_first_of_several_stop_strings_ends_a_text():
    assert until_stop("one\ntwo Question:", ("Question:", "\n", "")) == "one"
    assert until_stop("one", ()) == "one"

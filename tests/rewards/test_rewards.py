"""Reading answers, the verifiers, and faults."""

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.config import ReasoningGymSource
from prompts.sources import load_source
from rewards import plain, verifiers
from rewards.answers import final_answer, read_answer
from rewards.grade import check_prompt, grade
from rewards.kinds import kind_of
from rewards.limits import TimeLimit, time_limit
from rewards.verifiers import VERIFIERS

TEXT = st.text(st.characters(), max_size=60)
"""Any code points, lone surrogates among them."""


def prompt(answer, verifier="exact"):
    return prompt_of("p", "q", answer, verifier=verifier)


def task(family, **settings):
    source = ReasoningGymSource(source="reasoning_gym", family=family, count=1, settings=settings)
    return load_source(source)[0]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so <answer>no</answer> or <answer> Paris. </answer> as I said", "Paris"),
        ("2 + 2\n#### 4", "4"),
        ("#### Step one\nfirst\nblue", "blue"),
        ("#### 18\n\nQuestion: next?", "18"),
        (r"thus \boxed{\frac{1}{2}} holds", r"\frac{1}{2}"),
        ("The answer is **Paris**.\nHope that helps!", "Paris"),
        ("**Answer:** Paris\n\nBye", "Paris"),
        ("**Answer**:\n\nParis\n\nBye", "Paris"),
        ("Answer: 5. I checked it 3 times.", "5"),
        ("The answer is 5. No. The answer is 6.", "6"),
        ("The answer is 5. No wait, it's 6.", "The answer is 5. No wait, it's 6"),
        (r"\boxed{5} but \boxed{7", "5"),
        (r"\boxed{13 - \boxed{12}}", r"13 - \boxed{12}"),
        (r"$\boxed{1}$ or $\boxed{2}$", "1   or   2"),
        ("x = 5\n\\]", "x = 5"),
        ("```\nblue\n```", "blue"),
        ("答案是12。", "12"),
        ("blue\nHope this helps!", "blue"),
        ("I think\n\n`Paris`.\n\n", "Paris"),
        ("", ""),
        ("...", "..."),
    ],
)
def test_final_answer(text, answer):
    assert final_answer(text) == answer


def test_answer_of_several_lines():
    for text in (
        "1 2\n3 4",
        "Sure:\n1 2\n3 4",
        "The answer is:\n1 2\n3 4",
        "<answer>\n1 2\n3 4\n</answer> ok",
    ):
        assert read_answer(text, "1 2\n3 4") == "1 2\n3 4"


@pytest.mark.parametrize(
    ("verifier", "reference", "text", "right"),
    [
        ("exact", "New York", "answer: *new  york*.", True),
        ("exact", "New York", "York", False),
        ("number", "1,000", "#### 1000.00", True),
        ("number", "18", "She makes $18 a day.", True),
        ("number", "18", "She makes 180", False),
        ("choice", "B", "(B) Paris", True),
        ("choice", "B", "b", True),
        ("choice", "B", "I think it is B", True),
        ("choice", "B", "The answer is **B**: a Paris hotel", True),
        ("choice", "B", "A", False),
        ("choice", "B", "Because of Berlin", False),
        ("math", r"\frac{1}{2}", r"\boxed{0.5}", True),
        ("math", "x^2+1", "The answer is $1+x^2$.", True),
        ("math", "x^2+1", "The answer is $2+x^2$.", False),
        ("math", "x^2+1", "no idea", False),
    ],
)
def test_verifiers(verifier, reference, text, right):
    result = grade(prompt(reference, verifier), text)
    assert (result.correct, result.fault) == (right, None)


@given(TEXT, TEXT, st.sampled_from(["exact", "number", "choice"]))
def test_string_verifiers_never_fault(reference, text, verifier):
    usable = {"exact": reference.strip() or "x", "number": "7", "choice": "C"}
    assert grade(prompt(usable[verifier], verifier), text).fault is None


@given(TEXT.filter(str.strip))
def test_reference_is_correct_and_so_in_tags(reference):
    assert grade(prompt(reference), reference).correct
    if "answer>" not in reference.lower():
        assert grade(prompt(reference), f"Hm.\n<answer>{reference}</answer>").correct


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    )
)
def test_number_is_correct_however_it_is_written(value):
    for text in (
        f"{value}",
        f"So it is {value:,} euros.",
        f"The answer is {value}0",
        f"x = ${value}$",
    ):
        assert grade(prompt(f"{value}", "number"), text).correct


@settings(deadline=None)
@given(TEXT)
def test_math_faults_at_most_and_never_raises(text):
    assert grade(prompt("x + 1", "math"), text).fault in (None, "verifier_crash", "timeout")


def test_reasoning_gym_numbers_are_read_as_numbers():
    sum_ = task("chain_sum", min_terms=2, max_terms=2, min_digits=4, max_digits=4)
    value = int(sum_.answer)
    for text in (sum_.answer, f"Well,\nthat makes {value:,}.", f"<answer>{value}.0</answer>"):
        assert grade(sum_, text).correct
    assert grade(sum_, str(value + 1)).reward < 1


def test_reasoning_gym_partial_credit_counts_where_a_recipe_asks_for_it():
    word = task("spell_backward", min_word_len=5, max_word_len=5)
    text = word.answer[:-1] + "?"
    assert grade(word, text).reward == 0 and grade(word, word.answer).reward == 1
    partial = replace(word, rewards=({"verifier": "reasoning_gym", "partial": True},))
    result = grade(partial, text)
    assert result.fault is None and 0 < result.reward < 1 and not result.correct
    assert grade(partial, word.answer).reward == 1


def test_reasoning_gym_score_uses_the_settings_and_the_whole_item():
    for family in ("decimal_arithmetic", "rearc", "arc_agi", "count_bits", "n_queens"):
        check_prompt(task(family))
    precise = task("decimal_arithmetic", min_num_decimal_places=9, max_num_decimal_places=9)
    assert precise.metadata["settings"]["max_num_decimal_places"] == 9
    assert not grade(precise, f"{float(precise.answer) + 1e-4:.9f}").correct


@pytest.mark.parametrize(
    "text", ["__import__('os')", "open(1)", "9**9**9**9", "x.y", "exit()", "[1]", "9**(99999)"]
)
def test_text_that_is_not_algebra_is_not_run(text, monkeypatch):
    monkeypatch.setattr(verifiers, "_scorer", lambda *a: pytest.fail("was scored"))
    assert grade(task("countdown"), f"<answer>{text}</answer>").reward == 0


def test_an_unreadable_answer_is_wrong_and_not_a_fault():
    result = grade(task("prime_factorization"), "foo")
    assert (result.reward, result.fault) == (0.0, None)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6
    ),
    TEXT,
)
def test_no_number_but_the_reference_is_right(value, text):
    for wrong in (
        f"{value}1",
        f"1{abs(value)}",
        f"{value} or 3",
        f"{value}x",
        f"({value}, 3)",
        f"sqrt({value})",
    ):
        assert not grade(prompt(f"{value}", "number"), wrong).correct


def test_crash_and_timeout_are_faults(monkeypatch):
    def crash(prompt, completion):
        raise ZeroDivisionError

    monkeypatch.setitem(VERIFIERS, "exact", crash)
    result = grade(prompt("a"), "a")
    assert (result.fault, result.correct, result.answer) == ("verifier_crash", False, None)
    monkeypatch.setitem(VERIFIERS, "exact", lambda *a: time.sleep(5))
    monkeypatch.setattr(plain, "SECONDS", 0.05)
    assert grade(prompt("a"), "a").fault == "timeout"


def test_time_limit_ends_and_leaves_nothing_behind():
    with pytest.raises(TimeLimit), time_limit(0.02):
        time.sleep(2)
    with time_limit(0.02):
        pass
    time.sleep(0.05)


def test_grading_works_in_another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(grade(prompt("x^2", "math"), "$x*x$")))
    thread.start()
    thread.join()
    assert results[0].correct


@pytest.mark.parametrize(
    ("verifier", "answer", "reason"),
    [
        ("number", "many", "not one number"),
        ("number", "x=3, y=4", "not one number"),
        ("number", "3 to 5", "not one number"),
        ("choice", "Paris", "neither a letter"),
        ("choice", "BC", "neither a letter"),
        ("math", r"\frac{1}{", "cannot be read as mathematics"),
    ],
)
def test_reference_that_its_verifier_refuses_is_bad_input_with_the_reason(verifier, answer, reason):
    with pytest.raises(BadInput, match=f"verifier {verifier} .*{reason}"):
        check_prompt(prompt(answer, verifier))
    assert grade(prompt(answer, verifier), "5").fault == "bad_reference"


@pytest.mark.parametrize("verifier", ["exact", "number", "choice", "math"])
def test_thinking_is_never_graded_and_unclosed_thinking_is_cut_off(verifier):
    right, wrong = ("B", "C") if verifier == "choice" else ("5", "7")
    task = prompt(right, verifier)
    assert grade(task, f"<think>Maybe {wrong}? The answer is {wrong}? No.</think>\n{right}").correct
    assert not grade(task, f"<think>The answer is {right}.</think> {wrong}").correct
    assert grade(task, f"It is {right}. <think>Or is it").fault == "cut_off"


def test_unknown_verifier_lists_the_known():
    with pytest.raises(BadInput, match="'exakt'") as caught:
        kind_of("exakt")
    assert all(name in caught.value.remedy for name in VERIFIERS)

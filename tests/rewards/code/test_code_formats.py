"""Tests of a prompt that cannot be used are refused with an example; and how a program is found and
an output compared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.code_prompts import code_grades, code_prompt
from prompts.parts import CodePart
from rewards.code.compare import same_output
from rewards.code.extract import program_of
from rewards.code.verifier import Code
from rewards.interface import BadReference

PART = CodePart(verifier="code")
GOOD = {"test_list": ["assert f(1) == 2"]}


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (None, "missing"),
        ({}, "missing"),
        ([], "empty `test_list`"),
        ("nonsense", "not JSON"),
        ({"cases": []}, "no known format"),
        ({"test_list": ["f(1) == 2"]}, "without an assert"),
        ({"test_list": ["assert f(1 == 2"]}, "not Python"),
        ({"test_list": [3]}, "no text"),
        ({"test_list": ["assert f(1) == 2\nreturn"]}, "'return' outside function"),
        ({"test_list": ["assert 1 == 1"]}, "call no function"),
        ({"test": "def check(candidate): pass"}, "entry_point"),
        ({"test": "assert f(1)", "entry_point": "f"}, "no function `check"),
        ({"test": "def check(candidate): assert candidate(1)", "entry_point": "class"}, "'class'"),
        ({"test": "def check(candidate):", "entry_point": "f"}, "not Python"),
        ({"inputs": ["1"], "outputs": ["1", "2"]}, "1 inputs and 2 outputs"),
        ({"inputs": [], "outputs": []}, "`inputs`"),
        ({"inputs": [1], "outputs": ["1"]}, "no text"),
        ({"inputs": [[1]], "outputs": ["1"], "fn_name": "f"}, "no known format"),
    ],
)
def test_a_prompt_without_usable_tests_is_refused_with_an_example(tests, said):
    with pytest.raises(BadReference) as caught:
        Code().check(code_prompt(tests), PART)
    assert said in caught.value.reason
    assert "test_list" in caught.value.remedy and "inputs" in caught.value.remedy


def test_tests_may_be_a_list_or_json():
    for tests in (GOOD, GOOD["test_list"], json.dumps(GOOD)):
        Code().check(code_prompt(tests), PART)
        assert code_grades(tests, "def f(x): return 2")[0].reward == 1.0


def test_a_reference_answer_is_checked_where_there_is_one():
    Code().check(code_prompt(GOOD, "def f(x): return 2"), PART)
    for answer in ("Two.", "```python\ndef f(x) return 2\n```"):
        with pytest.raises(BadReference):
            Code().check(code_prompt(GOOD, answer), PART)


def test_checks_of_a_function_count_one_by_one():
    test = "def check(candidate):\n    for n in range(4):\n        assert candidate(n) == n % 3"
    tests = {"test": test, "entry_point": "f"}
    whole, most = code_grades(tests, "def f(n): return n % 3", "def f(n): return n", partial=True)
    assert (whole.reward, most.reward) == (1.0, 0.75)
    assert most.read is not None and "candidate(n) == n % 3" in most.read


def test_an_assertion_of_nothing_earns_nothing():
    test = "def check(candidate):\n    assert True, 'simple cases'\n    assert candidate(1) == 1"
    results = code_grades({"test": test, "entry_point": "f"}, "def f(n): return 2", partial=True)
    assert results[0].reward == 0.0


@pytest.mark.parametrize("test", ["math.fabs(f(1) - 2) < 1", "abs(f(1) - 2) < 1"])
def test_programs_cannot_stand_in_for_modules_and_built_ins_of_the_tests(test):
    program = (
        "class math:\n    fabs = staticmethod(lambda x: 0)\ndef f(x): return 9\nabs = math.fabs"
    )
    assert code_grades([f"assert {test}"], program)[0].reward == 0.0
    assert code_grades([f"assert {test}"], "def f(x): return 2")[0].reward == 1.0


def test_an_object_that_claims_to_hold_everything_holds_what_it_lists():
    program = """
class Everything:
    def __contains__(self, item): return True
    def __iter__(self): return iter([1, 2])
def f(x): return Everything()
"""
    results = [
        code_grades({"test_list": [f"assert {n} in f(0)"]}, program)[0].reward for n in (2, 3)
    ]
    assert results == [1.0, 0.0]


WORDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


@given(st.lists(WORDS, max_size=6), st.sampled_from([" ", "\n", "\r\n", "  \n\n", "\t"]))
def test_spaces_between_words_do_not_matter(words, space):
    assert same_output(space.join(words) + space, " ".join(words))
    assert not same_output(space.join([*words, "more"]), " ".join(words))


@given(st.integers(), st.integers())
def test_whole_numbers_are_compared_exactly(a, b):
    assert same_output(str(a), str(b)) == (a == b)
    assert same_output(f"{a}.0", str(b)) == (a == b)


@given(st.floats(-1e9, 1e9), st.floats(-1e-7, 1e-7))
def test_decimal_numbers_may_differ_by_a_millionth(number, error):
    assert same_output(f"{number + error:.12f}", f"{number:.12f}")
    assert not same_output(f"{number + 1e-5 * max(1, abs(number)):.12f}", f"{number:.12f}")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        *(("yes", "YES"), ("nan", "1.0"), ("inf", "1.0"), ("1e400", "1.0"), ("1,5", "1.5")),
        *(("", "0"), ("1e1000000", "5"), ("1e99999999999999999999", "5"), ("3", "1e999")),
        *(("1e-99999999999999999999", "1"), ("0.5", "9" * 5000), ("5.000002", "5")),
    ],
)
def test_other_words_differ(printed, expected):
    assert not same_output(printed, expected)


@given(st.text())
def test_any_text_has_a_program_or_none(text):
    for answer in (text, f"```python\n{text}", f"```\n{text}\n```"):
        found = program_of(answer, frozenset({"f"}), "def f():\n    '''doc'''\n")
        assert found is None or isinstance(found, str)


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 100_000 + "1", "[" * 300 + "]" * 300, "\0"])
def test_a_hostile_text_is_no_program_and_ends_nothing(text):
    program_of(text)
    assert code_grades(GOOD, f"```python\n{text}\n```")[0].reward == 0.0


def test_what_one_program_prints_is_no_fault_of_the_others():
    tests = {"inputs": ["1"], "outputs": ["5"]}
    results = code_grades(tests, "print('1e1000000')", "print(5)", "print('5.0000001')")
    assert [(one.reward, one.fault) for one in results] == [(0, None), (1, None), (1, None)]

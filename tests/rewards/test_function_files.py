"""Files with a function of the user's: what is wrong with one is said before anything runs, and
their content is what counts."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from builders.functions import stored_part, workers
from builders.recipe_texts import refusal, refused
from builders.single_prompts import prompt_of
from common.errors import BadInput
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from prompts.schema import Prompt, read_prompts, write_prompts
from prompts.sources import load_source
from rewards.function.source import LARGEST, problem_of
from rewards.grade import check_prompt
from rewards.grader import Grader

GOOD = 'def score(prompt, answer):\n    return float(answer == prompt["answer"])\n'
PART = "rewards: [{verifier: function, file: my_reward.py}]"


@pytest.fixture
def mine(recipe, tmp_path):
    """A recipe whose prompts are graded by `my_reward.py`; gives its path."""
    (tmp_path / "mine.jsonl").write_text('{"prompt": "say a", "answer": "a"}\n' * 2)
    (tmp_path / "my_reward.py").write_text(GOOD)
    return recipe(("capability: words", f"capability: words, {PART}"))


def prompts_node(path):
    return build_plan(load_recipe(path))["prompts"]


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "def score(prompt, answer, strict=True, *, least=0): return 1",
        "def score(*both): return 1",
        "from math import gcd as score",
        "score = lambda prompt, answer: 1",
        "class score:\n    def __new__(cls, prompt, answer): return 1",
        "import functools\n@functools.cache\ndef score(*, a): return 1",  # seen when it is loaded
        "if True:\n    def score(prompt, answer): return 1",
        "try:\n    import nothing_of_the_kind\nexcept ImportError:\n    pass\n" + GOOD,
        "import json, os.path\nfrom collections import abc\n" + GOOD,
        "from os.path import *",
        "def score(answer): return 1\nscore = lambda prompt, answer: 1",
    ],
)
def test_what_may_be_right_is_not_refused(source):
    assert problem_of("my_reward.py", source, "score") is None


@pytest.mark.parametrize(
    ("source", "problem", "remedy"),
    [
        ("def score(prompt, answer)\n    return 1", "my_reward.py:1: not Python: expected ':'", ""),
        ("", "my_reward.py defines no function 'score'", "write `def score(prompt: dict"),
        ("def scores(p, a): return 1", "no function 'score'", "did you mean `function: scores`?"),
        (
            "\ndef score(answer): return 1",
            "my_reward.py:2: score(answer) cannot be called with (prompt, answer)",
            "write `def score(prompt: dict, answer: str) -> float`",
        ),
        ("def score(a, b, c): return 1", "score(a, b, c) cannot be called", ""),
        ("def score(a, b, *, c): return 1", "score(a, b, *, c) cannot be called", ""),
        ("def score(): return 1", "score() cannot be called", ""),
        ("async def score(p, a): return 1", "'score' is `async`", ""),
        ("x = 1\nimport nothing.of_it\n" + GOOD, ":2: imports 'nothing', which is not", "install"),
        ("from . import x\n" + GOOD, "imports 'a file beside it'", "into my_reward.py itself"),
        ("#" * LARGEST + "\n" + GOOD, f"at most {LARGEST} are allowed", "as a package"),
        ("x = '\0'" + GOOD, "not Python", ""),
    ],
)
def test_what_is_wrong_is_said_with_place_and_remedy_without_running_it(source, problem, remedy):
    found = problem_of("my_reward.py", source, "score")
    assert found is not None and problem in found[0] and remedy in found[1]


def test_a_module_beside_the_file_is_no_part_of_it(tmp_path):
    (tmp_path / "helpers.py").write_text("x = 1")
    found = problem_of("my_reward.py", "from helpers import x\n" + GOOD, "score", tmp_path)
    assert found is not None and "no part of what the run's identity holds" in found[0]


def test_a_wrong_file_is_named_with_the_recipe_s_line(mine):
    file = mine.with_name("my_reward.py")
    file.write_text("def scores(prompt, answer): return 1")
    said = refusal(mine)
    assert ":5: prompts[0].rewards[0].file: my_reward.py defines no function 'score'" in said
    file.write_bytes(b"# \xff\n" + GOOD.encode())
    assert "cannot be read" in refusal(mine) and "UTF-8" in refusal(mine)
    file.unlink()
    assert "no such file" in refusal(mine) and "relative to the recipe's folder" in refusal(mine)


def test_a_verifier_that_needs_settings_is_named_under_rewards(recipe):
    said = refusal(recipe(("capability: words", "capability: words, verifier: function")))
    assert ":5: prompts[0].verifier: the verifier 'function' needs file" in said
    assert "rewards: [{verifier: function, file: ...}]" in said
    error = refused(check_prompt, prompt_of("p", "q", verifier="function"))
    assert error.message.startswith("prompt p: the verifier 'function' needs settings")


def test_the_fingerprint_changes_with_the_content_and_only_with_it(mine, tmp_path):
    first, file = prompts_node(mine), tmp_path / "my_reward.py"
    file.touch()
    assert prompts_node(mine).fingerprint == first.fingerprint
    file.write_text(GOOD + "# more\n")
    assert prompts_node(mine).fingerprint != first.fingerprint
    file.write_text(GOOD)
    file.rename(tmp_path / "other.py")
    mine.write_text(mine.read_text().replace("my_reward.py", "other.py"))
    assert prompts_node(mine).fingerprint == first.fingerprint
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("small.yaml", "mine.jsonl", "other.py"):
        (tmp_path / name).rename(elsewhere / name)
    moved = prompts_node(elsewhere / "small.yaml")
    assert moved.fingerprint == first.fingerprint
    assert str(tmp_path) not in json.dumps(moved.identity)


def test_prompts_hold_what_grades_them_wherever_the_file_is_later(mine, tmp_path):
    source = load_recipe(mine).prompts[0]
    write_prompts(tmp_path / "prompts.parquet", load_source(source))
    (tmp_path / "my_reward.py").unlink()
    [prompt, other] = read_prompts(tmp_path / "prompts.parquet")
    assert prompt.rewards is other.rewards  # one text, however many prompts there are
    assert str(tmp_path) not in json.dumps(prompt.rewards)
    check_prompt(prompt)
    with Grader() as grader:
        assert [grader(prompt, text).reward for text in ("a", "b")] == [1.0, 0.0]


def test_the_prompts_of_a_source_hold_one_text(mine):
    first, second = load_source(load_recipe(mine).prompts[0])
    assert first.rewards[0]["source"] is second.rewards[0]["source"]
    Path(mine.with_name("my_reward.py")).write_text("score = min")
    assert load_source(load_recipe(mine).prompts[0])[0].rewards[0]["source"] == "score = min"


def test_a_function_may_be_one_part_of_several(tmp_path):
    part = stored_part(tmp_path, "def score(p, a): return 0.5", weight=3.0, name="mine")
    parts = ({"verifier": "exact"}, part.stored())
    prompt: Prompt = replace(prompt_of("p", "q", "a"), rewards=parts)
    with Grader() as grader:
        grade = grader(prompt, "a")
        assert (grade.reward, grade.parts) == (0.625, {"exact": 1.0, "mine": 0.5})
        waited = grader.submit(prompt, ["a", "b"])
        assert [one.reward for one in waited()] == [0.625, 0.375]


def test_a_file_that_cannot_be_loaded_is_refused_before_anything_is_graded(tmp_path):
    part = stored_part(tmp_path, "import os\nos.environ['NOT_THERE']\ndef score(p, a): return 1")
    prompt = replace(prompt_of("p", "q"), rewards=(part.stored(),))
    others = workers(os.getpid())
    with Grader() as grader, pytest.raises(BadInput, match=r"my_reward\.py:2: cannot be loaded"):
        grader.prepare([prompt])
    for _ in range(2):  # what is loaded once is said of every prompt
        said = refused(check_prompt, prompt).message
        assert said.startswith("prompt p: my_reward.py:2: cannot be loaded: KeyError: 'NOT_THERE'")
    assert workers(os.getpid()) == others


def test_a_file_may_begin_with_a_byte_order_mark(mine):
    mine.with_name("my_reward.py").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    prompt = load_source(load_recipe(mine).prompts[0])[0]
    assert prompt.rewards[0]["source"] == GOOD

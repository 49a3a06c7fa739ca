"""The starting points of benchmarks: demonstrations of mixed quality."""

import random
import re

import pytest

from benchmarks import start
from benchmarks.rewards import RECIPE
from builders.evaluations import prompt
from common.files import read_json_lines
from pipeline.recipe.load import load_recipe
from prompts.sources import load_source


def test_some_letters_of_demonstrations_are_wrong(tmp_path):
    start.write_demonstrations(RECIPE, tmp_path / "shown.jsonl", [(400, 0.15)])
    right = []
    for row in read_json_lines(tmp_path / "shown.jsonl"):
        user, assistant = row["messages"]
        asked, shown = user["content"].removeprefix("reverse "), assistant["content"]
        assert len(shown) == len(asked) == 6
        right += [one == other for one, other in zip(shown, reversed(asked), strict=True)]
    # 15 in 100 are drawn from 26 letters, one of which is the right one.
    assert sum(right) / len(right) == pytest.approx(1 - 0.15 * 25 / 26, abs=0.02)


def test_wrong_demonstrations_keep_the_form_of_their_answer():
    asked = prompt(1, answer="-12 = AB, c")
    (row,) = start.demonstrations([asked], 1.0, random.Random(3))
    shown = row["messages"][-1]["content"]
    assert re.fullmatch(r"-\d\d = [A-Z][A-Z], [a-z]", shown) and shown != asked.answer
    (row,) = start.demonstrations([asked], 0.0, random.Random(3))
    assert row["messages"] == [*asked.messages, {"role": "assistant", "content": asked.answer}]


def test_a_start_is_the_recipes_sft_on_the_demonstrations(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(start, "run", lambda *arguments: asked.append(arguments))
    start.write_demonstrations(RECIPE, tmp_path / "shown.jsonl", [(8, 0.0)])
    start.make_start(RECIPE, tmp_path, 5, tmp_path / "shown.jsonl")
    ((path, folder, options),) = asked
    assert (path, folder) == (RECIPE, tmp_path)
    recipe, plain = load_recipe(RECIPE, options[1::2]), load_recipe(RECIPE)
    assert recipe.seed == 5 and recipe.stages == plain.stages[:1]
    assert [prompt.is_demonstration for prompt in load_source(recipe.prompts[0])] == [True] * 8

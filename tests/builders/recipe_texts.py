"""Recipes as texts with changes, the prompts beside them, and how they are refused."""

import json

import pytest

from common.errors import BadInput
from pipeline.recipe.load import load_recipe

RECIPE = """\
name: small
seed: 3
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: filter, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 4, learning_rate: 1e-5}
  - {id: dpo, kind: dpo, from: rl, pairs: rl, learning_rate: 1e-6}
evaluate:
  suites: [held_out, {name: gsm8k, limit: 20}]
  after: [base, rl]
  gates: [{suite: held_out, max_drop: 0.02}]
"""  # noqa: E501
"""A recipe with every kind of stage that trains or judges."""


def replaced(text, *changes):
    """A recipe's text with changes (old, new), each of a text that it has once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write_rows(path, words, **fields):
    """A file of prompts that ask to say a word."""
    rows = [{"prompt": f"say {word}", "answer": word, **fields} for word in words]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def recipe(tmp_path):
    """Writes RECIPE, with texts replaced, and gives its path."""
    write_rows(tmp_path / "mine.jsonl", "a", verifier="exact")

    def write(*changes):
        path = tmp_path / "small.yaml"
        path.write_text(replaced(RECIPE, *changes))
        return path

    return write


def refused(check, *arguments, **options):
    """The error with which a check refuses its arguments."""
    with pytest.raises(BadInput) as caught:
        check(*arguments, **options)
    return caught.value


def refusal(path, settings=None):
    """What is said of a recipe that cannot be read."""
    return str(refused(load_recipe, path, settings))

"""Prompts without an answer beside others: SFT leaves them out, and the early check says so."""

from dataclasses import replace

import pytest

from builders.early_recipes import early_check, prompt, write_recipe
from common.errors import BadInput
from prompts.taught import learnable

SILENT = replace(prompt("z"), answer=" ")


def test_sft_learns_from_what_has_an_answer_or_a_solution():
    solved = replace(SILENT, solution="so")
    assert learnable([SILENT, prompt("a"), solved]) == [prompt("a"), solved]
    with pytest.raises(BadInput, match=r"none of 1 prompts has an answer .* such as prompt z"):
        learnable([SILENT])


def test_the_early_check_says_how_many_are_left_out(tmp_path):
    notes = early_check(write_recipe(tmp_path), [*map(prompt, "abcdef"), SILENT])["notes"]
    assert [note for note in notes if "1 of 7 prompts have no answer to learn: left out" in note]

"""Loads a recipe's file into a validated recipe, or reports everything wrong in one message."""

from pathlib import Path

from common.yaml_files.lines import load_file
from common.yaml_files.problems import refuse, validated
from pipeline.recipe.engines import head_problems
from pipeline.recipe.limits import limit_problems
from pipeline.recipe.overrides import apply_overrides
from pipeline.recipe.references import reference_problems, weight_problems
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import make_absolute, missing_files


def load_recipe(
    path: Path, overrides: list[str] | None = None, *, to_run: bool = False, here: bool = False
) -> Recipe:
    """The recipe at `path` with `--set` overrides, every path in it absolute. Raises one BadInput
    that lists all problems.

    `to_run` also rejects a recipe that can only be planned; `here` also one that this machine's
    vLLM cannot run."""
    located = apply_overrides(load_file(path), overrides or [])
    recipe = validated(located, Recipe)
    if make_absolute(recipe, located.data, path.resolve().parent):
        recipe = validated(located, Recipe)
    problems = [
        *reference_problems(recipe),
        *limit_problems(recipe, to_run),
        *missing_files(recipe),
        *(weight_problems(recipe) if to_run else ()),
        *(head_problems(recipe) if here else ()),
    ]
    if problems:
        raise refuse(problems, located)
    return recipe

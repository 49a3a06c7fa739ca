"""From a recipe's file to a checked recipe, or to one message with all that is wrong with it."""

from pathlib import Path

from pydantic import ValidationError

from pipeline.recipe.engines import head_problems
from pipeline.recipe.limits import limit_problems
from pipeline.recipe.overrides import apply_overrides
from pipeline.recipe.problems import problems_of, refuse, slips
from pipeline.recipe.references import reference_problems, weight_problems
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import make_absolute, missing_files
from pipeline.recipe.yaml_lines import Located, load_file


def load_recipe(
    path: Path, overrides: list[str] | None = None, *, to_run: bool = False, here: bool = False
) -> Recipe:
    """The recipe at `path` with `--set` overrides, every path in it absolute. All that is wrong is
    one BadInput.

    With `to_run`, a recipe that can only be planned is wrong too; with `here`, one that this
    machine's vLLM cannot run."""
    located = apply_overrides(load_file(path), overrides or [])
    recipe = _validated(located)
    if make_absolute(recipe, located.data, path.resolve().parent):
        recipe = _validated(located)
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


def _validated(located: Located) -> Recipe:
    try:
        recipe = Recipe.model_validate(located.data)
    except ValidationError as error:
        raise refuse(problems_of(error, located, Recipe), located) from None
    if misread := slips(recipe, located.data):
        raise refuse(misread, located)
    return recipe

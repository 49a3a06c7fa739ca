"""What a recipe will ask for, as far as its numbers alone tell: upper bounds and no guesses."""

from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe
from stages.declaration import Sizes
from stages.prompts.config import PromptsStage


def bounds(recipe: Recipe) -> dict[str, dict[str, int]]:
    """Stage id to upper bounds by name. What depends on files of unknown length is left out."""
    sizes, by_stage = Sizes(), dict[str, dict[str, int]]()
    for stage in declared(recipe):
        config = stage.config
        if isinstance(config, PromptsStage):
            sizes = Sizes(held_out=config.held_out())
        values = config.bounds(sizes)
        by_stage[config.id] = {name: n for name, n in values.items() if n is not None}
        sizes.prompts[config.id] = config.hands_on(sizes)
    return by_stage

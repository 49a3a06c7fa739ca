"""Upper bounds on what a recipe generates and trains on, derived from its numbers alone."""

from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe
from stages.declaration import Sizes
from stages.prompts.config import PromptsStage


def bounds(recipe: Recipe) -> dict[str, dict[str, int]]:
    """Stage id to upper bounds by name. Bounds that depend on files of unknown size are absent."""
    sizes, by_stage = Sizes(), dict[str, dict[str, int]]()
    for stage in declared(recipe):
        config = stage.config
        if isinstance(config, PromptsStage):
            sizes = Sizes(held_out=config.held_out())
        values = config.bounds(sizes)
        by_stage[config.id] = {name: n for name, n in values.items() if n is not None}
        sizes.prompts[config.id] = config.prompts_at_most(sizes)
    return by_stage

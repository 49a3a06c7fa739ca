"""Every stage that a recipe declares, written or implicit, in the order in which they run."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.execution import ExecutionConfig
from models.config import UPCYCLE_DEFAULTS, ModelConfig
from pipeline.recipe.schema import Recipe, RuntimeConfig
from pipeline.recipe.yaml_lines import DataPath
from stages.base.config import BaseStage
from stages.declaration import StageConfig
from stages.evaluate.config import PREFIX, EvaluateStage
from stages.prompts.config import PromptsStage


@dataclass(frozen=True)
class Declared:
    """A stage and where it comes from."""

    place: DataPath
    """The section of the recipe that declares it."""
    config: StageConfig
    execution: ExecutionConfig


def declared(recipe: Recipe) -> list[Declared]:
    """The prompts, the starting model, the recipe's stages, and an evaluation right after each
    stage that is to be evaluated."""
    configs = list(_written(recipe))
    evaluations = {config.of: config for config in _evaluations(recipe)}
    found = []
    for place, config in configs:
        found.append((place, config))
        if config.id in evaluations:
            found.append((("evaluate",), evaluations[config.id]))
    return [Declared(place, one, execution_of(recipe.runtime, one)) for place, one in found]


def _written(recipe: Recipe) -> Iterator[tuple[DataPath, StageConfig]]:
    yield ("prompts",), PromptsStage(sources=recipe.prompts, tokenizer=_tokenizer(recipe))
    yield ("model",), BaseStage(model=recipe.model)
    for index, stage in enumerate(recipe.stages):
        yield ("stages", index), stage


def _evaluations(recipe: Recipe) -> Iterator[EvaluateStage]:
    if recipe.evaluate is None:
        return
    suites, rollouts = recipe.evaluate.suites, recipe.evaluate.rollouts
    for stage in recipe.evaluate.after:
        yield EvaluateStage(id=f"{PREFIX}{stage}", of=stage, suites=suites, rollouts=rollouts)


def _tokenizer(recipe: Recipe) -> ModelConfig | None:
    """Whose tokens the sources count, if one does: prompts that depend on no length depend on no
    model either."""
    if all(source.max_prompt_tokens is None for source in recipe.prompts):
        return None
    upcycled = recipe.model.upcycle is not None
    # What a prompt is padded with, and what the model is upcycled to, changes no length.
    defaults = UPCYCLE_DEFAULTS if upcycled else {}
    return recipe.model.model_copy(update={"pad_token": None, **defaults})


def execution_of(runtime: RuntimeConfig, config: StageConfig) -> ExecutionConfig:
    """A stage's execution settings: those for all stages, for all of its kind, and its own."""
    execution = runtime.execution
    for name in (config.execution_group, config.id):
        if name in runtime.stages:
            execution = execution.overridden(runtime.stages[name])
    return execution


def execution_path(runtime: RuntimeConfig, config: StageConfig, setting: str) -> DataPath:
    """Where a recipe says a setting of a stage, or would say it for that stage alone."""
    for name in (config.id, config.execution_group):
        if name in runtime.stages and setting in runtime.stages[name].model_fields_set:
            return ("runtime", "stages", name, setting)
    if setting in runtime.execution.model_fields_set:
        return ("runtime", "execution", setting)
    return ("runtime", "stages", config.id, setting)

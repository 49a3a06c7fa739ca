"""Every stage of a recipe, explicit or implicit, in the order in which they run."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.execution import ExecutionConfig
from common.yaml_files.lines import DataPath
from models.config import UPCYCLE_DEFAULTS, ModelConfig
from pipeline.recipe.schema import Recipe, RuntimeConfig
from stages.base.config import BaseStage
from stages.declaration import StageConfig
from stages.evaluate.config import PREFIX, EvaluateStage
from stages.prompts.config import PromptsStage


@dataclass(frozen=True)
class Declared:
    """A stage, its section of the recipe, and its execution settings."""

    place: DataPath
    """The section of the recipe that declares it."""
    config: StageConfig
    execution: ExecutionConfig


def declared(recipe: Recipe) -> list[Declared]:
    """The stages `prompts` and `base`, the recipe's own, and an evaluation right after each stage
    in `evaluate.after`."""
    evaluations = {config.of: config for config in _evaluations(recipe)}
    stages = list[tuple[DataPath, StageConfig]]()
    for place, config in _without_evaluations(recipe):
        stages.append((place, config))
        if config.id in evaluations:
            stages.append((("evaluate",), evaluations[config.id]))
    return [
        Declared(place, config, execution_of(recipe.runtime, config)) for place, config in stages
    ]


def _without_evaluations(recipe: Recipe) -> Iterator[tuple[DataPath, StageConfig]]:
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
    """The model whose tokenizer counts prompt lengths. None if no source limits lengths: then the
    prompts do not depend on the model."""
    if all(source.max_prompt_tokens is None for source in recipe.prompts):
        return None
    upcycled = recipe.model.upcycle is not None
    # Neither the padding token nor the settings of upcycling change a length.
    defaults = UPCYCLE_DEFAULTS if upcycled else {}
    return recipe.model.model_copy(update={"pad_token": None, **defaults})


def execution_of(runtime: RuntimeConfig, config: StageConfig) -> ExecutionConfig:
    """A stage's execution settings: the general ones, overridden by those of its group, then by
    its own."""
    general = runtime.execution.model_dump()
    execution = ExecutionConfig(**general, devices=runtime.devices)
    for name in (config.execution_group, config.id):
        if name in runtime.stages:
            execution = execution.overridden(runtime.stages[name])
    return execution


def execution_path(runtime: RuntimeConfig, config: StageConfig, setting: str) -> DataPath:
    """Where the recipe sets an execution setting of a stage; if nowhere, where to set it for that
    stage alone."""
    for name in (config.id, config.execution_group):
        if name in runtime.stages and setting in runtime.stages[name].set_names():
            return ("runtime", "stages", name, *setting.split("."))
    section, _, field = setting.partition(".")
    if section == "devices" and field in runtime.devices.model_fields_set:
        return ("runtime", "devices", field)
    if setting in runtime.execution.model_fields_set:
        return ("runtime", "execution", setting)
    return ("runtime", "stages", config.id, *setting.split("."))

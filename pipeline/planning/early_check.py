"""What the early check of a recipe asks (`stages/preflight/`): which prompts each stage puts to
which model, in which room."""

from collections.abc import Iterator

from common.seeds import derive
from pipeline.recipe.schema import Recipe, Stage
from pipeline.recipe.yaml_lines import dotted
from stages.preflight.config import (
    AdoptAsk,
    Ask,
    FilterAsk,
    LearnAsk,
    PreflightStage,
    RollAsk,
    SuiteAsk,
)


def asks_of(recipe: Recipe) -> PreflightStage:
    """The whole early check; a new kind of stage that reads prompts adds its asks to
    `_of_stage`."""
    asks = [
        ask for index, stage in enumerate(recipe.stages) for ask in _of_stage(recipe, index, stage)
    ]
    if recipe.evaluate is not None:
        length = recipe.evaluate.rollouts.max_model_len
        for index, suite in enumerate(recipe.evaluate.suites):
            asks.append(
                SuiteAsk(
                    place=dotted(("evaluate", "suites", index)), suite=suite, max_model_len=length
                )
            )
    systems = {
        dotted(("prompts", n, "system")): s.system
        for n, s in enumerate(recipe.prompts)
        if s.system is not None
    }
    return PreflightStage(model=recipe.model, asks=tuple(asks), systems=systems)


def _of_stage(recipe: Recipe, index: int, stage: Stage) -> Iterator[Ask]:
    place, seed = dotted(("stages", index)), derive(recipe.seed, stage.id)
    if stage.kind == "judge_filter":
        yield FilterAsk(place=place, id=stage.id, judges=stage.judges, limit=stage.limit, seed=seed)
        if stage.audit is not None:
            audit = stage.audit
            length = audit.rollouts.max_model_len
            yield RollAsk(
                place=f"{place}.audit",
                on=stage.id,
                max_tokens=audit.max_tokens,
                max_model_len=length,
                ends_the_run=False,
            )
    elif stage.kind == "adopt":
        yield AdoptAsk(place=place, id=stage.id, folder=stage.folder)
    elif stage.kind == "sft":
        yield LearnAsk(place=place, on=stage.on, limit=stage.limit, seed=seed)
    elif stage.kind == "rl":
        length = stage.rollouts.max_model_len
        learnt = any(other.kind == "dpo" and other.pairs == stage.id for other in recipe.stages)
        yield RollAsk(
            place=place,
            id=stage.id,
            on=stage.on,
            systems=stage.system_prompts,
            max_tokens=stage.max_tokens,
            max_model_len=length,
            ends_the_run=True,
            learnt=learnt,
        )

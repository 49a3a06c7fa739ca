"""Builds the early check of a recipe from the questions that its stages declare, and adds what
depends on more than one stage. `stages/preflight/` answers the questions."""

from collections.abc import Iterator, Sequence

from common.artifacts import GROUPS
from common.seeds import derive
from common.yaml_files.lines import DataPath, dotted
from pipeline.recipe.declared import Declared, declared
from pipeline.recipe.schema import Recipe
from stages.preflight.config import PreflightStage
from stages.questions import Question, RollQuestion, SuiteQuestion


def early_check(recipe: Recipe) -> PreflightStage:
    """The early check, with the questions in the recipe's order."""
    stages = declared(recipe)
    systems = {
        dotted(("prompts", n, "system")): source.system
        for n, source in enumerate(recipe.prompts)
        if source.system is not None
    }
    return PreflightStage(
        model=recipe.model,
        questions_asked=tuple(_questions(recipe, stages)),
        systems=systems,
    )


def _questions(recipe: Recipe, stages: Sequence[Declared]) -> Iterator[Question]:
    """The questions of each section, once. Evaluations share one section, which comes last."""
    trained_on = {id for stage in stages for id in _sources_of_groups(stage)}
    sections: dict[DataPath, Declared] = {stage.place: stage for stage in stages}
    for place in sorted(sections, key=lambda place: place == ("evaluate",)):
        config = sections[place].config
        for question in config.questions(dotted(place), derive(recipe.seed, config.id)):
            if isinstance(question, RollQuestion) and question.id in trained_on:
                yield question.model_copy(update={"learnt": True})
            elif isinstance(question, SuiteQuestion) and question.suite.name in _gated(recipe):
                yield question.model_copy(update={"steers": True})
            else:
                yield question


def _gated(recipe: Recipe) -> set[str]:
    """The suites that gates read."""
    return {gate.suite for gate in recipe.evaluate.gates} if recipe.evaluate else set()


def _sources_of_groups(stage: Declared) -> Iterator[str]:
    """Ids of the stages whose groups a stage trains on."""
    inputs = stage.config.input_ids()
    for name, need in stage.config.needs().items():
        if GROUPS in need.artifacts:
            yield inputs[name]

"""Checks that the sections of a recipe fit together.

Every stage that is named exists, comes earlier and produces the artifacts that are read. The model
supports what the stages require, as far as its dimensions are known before anything runs. Execution
settings are for stages that read them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from common.artifacts import CHECKPOINT, Artifact
from common.errors import BadInput
from common.yaml_files.lines import DataPath, dotted
from common.yaml_files.problems import Problem, nearest
from evals.gate_config import GateConfig
from evals.suite_file import HELD_OUT_SUITE
from models.presets import NOTES
from models.sizes import dimensions_of
from pipeline.recipe.declared import Declared, declared, execution_path
from pipeline.recipe.schema import EvaluateConfig, Recipe
from prompts.judge_parts import ComparePart
from prompts.parts import NAMES, NOT_GRADED, LengthPart, needed_settings, read_part
from stages.declaration import BASE, PROMPTS_STAGE
from stages.evaluate.config import PREFIX, EvaluateStage
from stages.questions import RollQuestion, SuiteQuestion

Produced = Mapping[str, tuple[Artifact, ...] | None]
"""Stage id to the artifacts that it produces; None if unknown."""
RESERVED = (BASE, PROMPTS_STAGE, EvaluateStage.execution_group)
"""Ids that a recipe's own stages may not have."""


def reference_problems(recipe: Recipe) -> list[Problem]:
    """Every reference in `recipe` that does not hold."""
    return [
        *_verifier_problems(recipe),
        *_comparison_problems(recipe),
        *_length_problems(recipe),
        *_id_problems(recipe),
        *_input_problems(recipe),
        *_evaluation_problems(recipe),
        *_held_out_problems(recipe),
        *_model_problems(recipe),
        *_execution_problems(recipe),
    ]


def _verifier_problems(recipe: Recipe) -> Iterator[Problem]:
    """Sources whose verifier does not exist, or cannot be used without settings."""
    for index, source in enumerate(recipe.prompts):
        name, path = getattr(source, "verifier", None), ("prompts", index, "verifier")
        if name is None or name == NOT_GRADED:
            continue
        if name not in NAMES:
            yield Problem(path, f"no verifier is named {name!r}", nearest(name, sorted(NAMES)))
        elif needed := needed_settings(name):
            settings = "".join(f", {field}: ..." for field in needed)
            message = f"the verifier {name!r} needs {' and '.join(needed)}"
            yield Problem(path, message, f"write `rewards: [{{verifier: {name}{settings}}}]`")
        else:
            try:
                read_part({"verifier": name})
            except BadInput as error:  # settings of which one is needed
                yield Problem(path, error.message, error.remedy)


def _length_problems(recipe: Recipe) -> Iterator[Problem]:
    """Penalties of length that begin where a stage cuts its rollouts off, and so never act."""
    rolled = [
        question
        for stage in declared(recipe)
        for question in stage.config.questions(dotted(stage.place), recipe.seed)
        if isinstance(question, RollQuestion) and question.ends_the_run
    ]
    penalties = [
        (("prompts", index, "rewards", place, "limit"), part)
        for index, source in enumerate(recipe.prompts)
        for place, part in enumerate(source.rewards)
        if isinstance(part, LengthPart)
    ]
    for (path, part), stage in product(penalties, rolled):
        if part.limit >= stage.max_tokens:
            message = (
                f"the penalty never acts: it begins after {part.limit} tokens, and {stage.id!r}"
                f" cuts its rollouts off at {stage.max_tokens} (max_tokens)"
            )
            yield Problem(path, message, "lower limit, or raise the stage's max_tokens")


def _comparison_problems(recipe: Recipe) -> Iterator[Problem]:
    """Pilots where rewards compare the answers of a group."""
    parts = [part for source in recipe.prompts for part in source.rewards]
    if not any(isinstance(part, ComparePart) for part in parts):
        return
    for index, stage in enumerate(recipe.stages):
        pilot = getattr(getattr(stage, "curriculum", None), "pilot", 0)
        if pilot:
            message = (
                f"{pilot} answers of a group are graded apart from the rest, and `compare` ranks"
                " only answers that are graded together"
            )
            path = ("stages", index, "curriculum", "pilot")
            yield Problem(path, message, f"set {dotted(path)}: 0")


def _id_problems(recipe: Recipe) -> Iterator[Problem]:
    seen = set[str]()
    for index, stage in enumerate(recipe.stages):
        path, shown = ("stages", index, "id"), repr(stage.id)
        if stage.id in RESERVED or stage.id.startswith(PREFIX):
            yield Problem(path, f"the id {shown} is reserved", "choose another id")
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", stage.id):
            yield Problem(path, f"{shown} is no safe folder name", "use letters, digits, - and _")
        elif stage.id in seen:
            yield Problem(path, f"the id {shown} is used twice", "give every stage its own id")
        seen.add(stage.id)


def _input_problems(recipe: Recipe) -> Iterator[Problem]:
    earlier: dict[str, tuple[Artifact, ...] | None] = {}
    for stage in declared(recipe):
        for need in stage.config.needs().values():
            if need.path and stage.place != ("evaluate",):
                name = stage.config.value_at(need.path)
                path = (*stage.place, *need.path)
                yield from _reference(path, name, need.artifacts, earlier, recipe)
        earlier.setdefault(stage.config.id, stage.config.outputs())


def _reference(
    path: DataPath, name: str, needed: tuple[Artifact, ...], earlier: Produced, recipe: Recipe
) -> Iterator[Problem]:
    """The problem with `name` at `path`, where only the stages in `earlier` can be read."""
    fitting = [id for id, outputs in earlier.items() if set(needed) <= set(outputs or ())]
    if name in fitting or (name in earlier and earlier[name] is None):
        return  # if an adopted stage cannot be read, another check reports it
    if name in earlier:
        missing = [one.name for one in needed if one not in (earlier[name] or ())]
        message = f"{name!r} produces no {' and no '.join(missing)}"
    elif any(stage.id == name for stage in recipe.stages):
        message = f"{name!r} does not come before this"
    else:
        message = f"there is no stage {name!r}"
    field = next(part for part in reversed(path) if isinstance(part, str))
    yield Problem(path, message, f"for {field}: {nearest(name, fitting)}")


def _evaluation_problems(recipe: Recipe) -> Iterator[Problem]:
    if recipe.evaluate is None:
        return
    produced = {stage.config.id: stage.config.outputs() for stage in declared(recipe)}
    for index, name in enumerate(recipe.evaluate.after):
        yield from _reference(("evaluate", "after", index), name, (CHECKPOINT,), produced, recipe)
    suites = [suite.name for suite in recipe.evaluate.suites]
    yield from _repeated(("evaluate", "after"), recipe.evaluate.after)
    yield from _repeated(("evaluate", "suites"), suites)
    for index, gate in enumerate(recipe.evaluate.gates):
        yield from _gate_problems(recipe.evaluate, index, gate)
    yield from _without_dev(recipe, recipe.evaluate)


def _gate_problems(evaluate: EvaluateConfig, index: int, gate: GateConfig) -> Iterator[Problem]:
    place, suites = ("evaluate", "gates", index), [suite.name for suite in evaluate.suites]
    if gate.suite not in suites:
        message = f"{gate.suite!r} is not among the suites"
        yield Problem((*place, "suite"), message, nearest(gate.suite, suites))
    for number, stage in enumerate(gate.after or ()):
        if stage not in evaluate.after:
            message = f"{stage!r} is not among the stages that are evaluated"
            yield Problem((*place, "after", number), message, nearest(stage, evaluate.after))
        elif stage == BASE and gate.then == "parent":
            message = f"{BASE!r} has no parent to go back to"
            yield Problem((*place, "after", number), message, "leave it out, or set `then: stop`")


def _without_dev(recipe: Recipe, evaluate: EvaluateConfig) -> Iterator[Problem]:
    """What decides by dev scores, and has none."""
    steering = [suite.name for suite in evaluate.suites if suite.dev]
    keep = recipe.runtime.keep
    named = {suite.name: index for index, suite in enumerate(evaluate.suites)}
    for suite in dict.fromkeys(gate.suite for gate in evaluate.gates):
        if suite in named and suite not in steering:
            message = f"a gate decides by the dev part of {suite}"
            yield Problem(
                ("evaluate", "suites", named[suite], "dev"), message, "remove `dev: false`"
            )
    if not evaluate.gates and keep is not None and keep.best and not steering:
        message = "the best weights are those with the best dev score, and no suite has a dev part"
        remedy = "remove `dev: false` from a suite, or set best: 0"
        yield Problem(("runtime", "keep", "best"), message, remedy)


def _held_out_problems(recipe: Recipe) -> Iterator[Problem]:
    """Sections that ask held-out prompts of a recipe that holds none out."""
    if any(source.held_out for source in recipe.prompts):
        return
    asking = {
        (*stage.place, _field_of(question, stage.place))
        for stage in declared(recipe)
        for question in stage.config.questions(dotted(stage.place), recipe.seed)
        if isinstance(question, SuiteQuestion) and question.suite.name == HELD_OUT_SUITE
    }
    for path in sorted(asking, key=dotted):
        message = "held_out is a suite, but every source of prompts has `held_out: 0`"
        yield Problem(path, message, "raise held_out of a source, or leave the suite out")


def _field_of(question: SuiteQuestion, stage: DataPath) -> str:
    """The field of a stage's section that asks a suite, or a list with it."""
    return question.place.removeprefix(f"{dotted(stage)}.").partition("[")[0]


def _repeated(path: DataPath, names: Any) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(path, f"{name!r} is named twice", "name it once")


def weight_problems(recipe: Recipe) -> list[Problem]:
    """Why `recipe` can only be planned: its preset has dimensions but no weights."""
    preset = recipe.model.preset
    if preset not in NOTES:
        return []
    message = f"{preset!r} has no weights: it is for `uphill plan` and `check`"
    remedy = "use `model: {checkpoint: FOLDER}`, the folder with the downloaded weights"
    if preset == "behemoth":
        remedy = "start from another model: its weights are not published"
    return [Problem(("model", "preset"), message, remedy)]


def _model_problems(recipe: Recipe) -> Iterator[Problem]:
    """What the stages require and the model does not support. Nothing if its dimensions are
    unknown."""
    policy = dimensions_of(recipe.model)
    for stage in declared(recipe) if policy else ():
        assert policy is not None
        for objection in stage.config.objections(policy):
            path = (*stage.place, *objection.path)
            yield Problem(path, objection.message, objection.remedy)


def _execution_problems(recipe: Recipe) -> Iterator[Problem]:
    """Execution settings of unknown stages, settings that the stage does not read, and settings
    with which it cannot run."""
    stages = declared(recipe)
    for name, settings in recipe.runtime.stages.items():
        named = [stage for stage in stages if name in _names(stage)]
        for setting in settings.set_names():
            if named and setting not in named[0].config.execution_settings():
                known = named[0].config.execution_settings()
                message = f"the stage {name!r} does not read it"
                remedy = f"it reads {', '.join(known) or 'no execution settings'}"
                yield Problem(("runtime", "stages", name, *setting.split(".")), message, remedy)
        if not named:
            known_names = dict.fromkeys(known for stage in stages for known in _names(stage))
            message = f"there is no stage {name!r}"
            yield Problem(("runtime", "stages", name), message, nearest(name, list(known_names)))
    for stage in stages:
        for objection in stage.config.execution_objections(stage.execution):
            path = execution_path(recipe.runtime, stage.config, str(objection.path[0]))
            message = f"{objection.message} ({stage.config.id})"
            yield Problem(path, message, objection.remedy)


def _names(stage: Declared) -> list[str]:
    """The names by which `runtime.stages` can address a stage."""
    return [name for name in (stage.config.id, stage.config.execution_group) if name]

"""How the sections of a recipe fit each other.

Every id that is named exists, comes earlier and is of a fitting kind; the model can do what the
stages ask of it, as far as its dimensions are known before anything runs."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config import LoraConfig
from models.presets import NOTES
from models.sizes import Dimensions, dimensions_of, from_folder, trainable_parameters
from pipeline.recipe.engines import engine_problems
from pipeline.recipe.problems import Problem, nearest
from pipeline.recipe.yaml_lines import DataPath
from pipeline.store.adopted import kind_of
from rewards.verifiers import VERIFIERS
from stages.adopt.config import AdoptStage
from stages.reference import BASE, CHECKPOINT_KINDS, PROMPTS
from training.config import TrainingStage

if TYPE_CHECKING:
    from pipeline.recipe.schema import Recipe

EVALUATION_PREFIX = "eval-"
"""The evaluation of stage `rl` is the node `eval-rl`; a stage's own id must not look like one."""
ACCEPTED = {
    ("sft", "from"): CHECKPOINT_KINDS,
    ("rl", "from"): CHECKPOINT_KINDS,
    ("dpo", "from"): CHECKPOINT_KINDS,
    ("dpo", "reference"): CHECKPOINT_KINDS,
    ("dpo", "pairs"): ("rl",),
    ("sft", "on"): ("judge_filter", "prompts"),
    ("rl", "on"): ("judge_filter", "prompts", "rl"),
}
"""Which kinds of stage a field may name, by the kind of the stage that has the field."""


def reference_problems(recipe: "Recipe") -> list[Problem]:
    """Everything in `recipe` that refers to what is not there."""
    return [
        *_verifier_problems(recipe),
        *_id_problems(recipe),
        *_input_problems(recipe),
        *_evaluation_problems(recipe),
        *engine_problems(recipe),
        *_model_problems(recipe),
    ]


def _verifier_problems(recipe: "Recipe") -> list[Problem]:
    """Sources whose rows would be graded by what does not exist."""
    problems = []
    for index, source in enumerate(recipe.prompts):
        name = getattr(source, "verifier", None)
        if name is not None and name not in VERIFIERS:
            message = f"no verifier is named {name!r}"
            problems.append(
                Problem(("prompts", index, "verifier"), message, nearest(name, sorted(VERIFIERS)))
            )
    return problems


def _id_problems(recipe: "Recipe") -> list[Problem]:
    problems, seen = [], set()
    for index, stage in enumerate(recipe.stages):
        path = ("stages", index, "id")
        if stage.id in (BASE, PROMPTS) or stage.id.startswith(EVALUATION_PREFIX):
            problems.append(Problem(path, f"the id {stage.id!r} is reserved", "choose another id"))
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", stage.id):
            problems.append(
                Problem(
                    path, f"{stage.id!r} is no safe folder name", "use letters, digits, - and _"
                )
            )
        elif stage.id in seen:
            problems.append(
                Problem(path, f"the id {stage.id!r} is used twice", "give every stage its own id")
            )
        seen.add(stage.id)
    return problems


def _input_problems(recipe: "Recipe") -> list[Problem]:
    problems = []
    kinds: dict[str, str | None] = {PROMPTS: "prompts", BASE: "base"}
    for index, stage in enumerate(recipe.stages):
        values = stage.model_dump(by_alias=True, exclude_none=True)
        for (kind, field), accepted in ACCEPTED.items():
            if kind == stage.kind and field in values:
                problems += _reference(
                    ("stages", index, field), values[field], accepted, kinds, recipe
                )
        if stage.kind == "judge_filter" and stage.audit:
            path = ("stages", index, "audit", "policy")
            problems += _reference(path, stage.audit.policy, CHECKPOINT_KINDS, kinds, recipe)
        kinds.setdefault(stage.id, kind_of(stage, stage.kind))
    return problems


def _reference(
    path: DataPath,
    name: str,
    accepted: tuple[str, ...],
    earlier: Mapping[str, str | None],
    recipe: "Recipe",
) -> list[Problem]:
    """What is wrong with naming `name` at `path`, where only the ids in `earlier` (id to kind) can
    be read."""
    fitting = [known for known, kind in earlier.items() if kind in accepted]
    if name in fitting or (
        name in earlier and earlier[name] is None
    ):  # what it adopts is not there: said elsewhere
        return []
    if name in earlier:
        message = f"{name!r} is a {earlier[name]} stage, but {' or '.join(accepted)} is needed"
    elif any(stage.id == name for stage in recipe.stages):
        message = f"{name!r} does not come before this"
    else:
        message = f"there is no stage {name!r}"
    return [Problem(path, message, f"for {path[-1]}: {nearest(name, fitting)}")]


def _evaluation_problems(recipe: "Recipe") -> list[Problem]:
    if recipe.evaluate is None:
        return []
    problems = []
    kinds = {PROMPTS: "prompts", BASE: "base"} | {
        stage.id: kind_of(stage, stage.kind) for stage in recipe.stages
    }
    for index, name in enumerate(recipe.evaluate.after):
        problems += _reference(("evaluate", "after", index), name, CHECKPOINT_KINDS, kinds, recipe)
    suites = [suite.name for suite in recipe.evaluate.suites]
    problems += _repeated(("evaluate", "after"), recipe.evaluate.after)
    problems += _repeated(("evaluate", "suites"), suites)
    gate = recipe.evaluate.gate
    if gate is not None and gate.suite not in suites:
        path = ("evaluate", "gate", "suite")
        problems.append(
            Problem(path, f"{gate.suite!r} is not among the suites", nearest(gate.suite, suites))
        )
    if "held_out" in suites and not any(source.held_out for source in recipe.prompts):
        message = "held_out is asked, but every source of prompts has `held_out: 0`"
        problems.append(
            Problem(
                ("evaluate", "suites"),
                message,
                "raise held_out of a source, or leave the suite out",
            )
        )
    return problems


def _repeated(path: DataPath, names: Any) -> list[Problem]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    return [Problem(path, f"{name!r} is named twice", "name it once") for name in twice]


def weight_problems(recipe: "Recipe") -> list[Problem]:
    """Why `recipe` can be planned but not run: its preset has dimensions and no weights."""
    preset = recipe.model.preset
    if preset not in NOTES:
        return []
    remedy = "put `model: {checkpoint: FOLDER}`, the folder with the downloaded weights"
    if preset == "behemoth":
        remedy = "start from another model: its weights are not published"
    return [
        Problem(
            ("model", "preset"),
            f"{preset!r} has no weights: it is for `uphill plan` and `check`",
            remedy,
        )
    ]


def _model_problems(recipe: "Recipe") -> list[Problem]:
    """What the stages ask of the model that it cannot do. Nothing where its dimensions are not
    known."""
    policy = dimensions_of(recipe.model)
    if policy is None:
        return []
    problems = []
    for index, stage in enumerate(recipe.stages):
        if isinstance(stage, TrainingStage):
            problems += _training_problems(("stages", index), policy, stage.train, stage.lora)
        elif isinstance(stage, AdoptStage):
            problems += _adopted_problems(("stages", index, "folder"), policy, stage.folder)
    return problems


def _adopted_problems(path: DataPath, policy: Dimensions, folder: str) -> list[Problem]:
    """Weights of another model than the run's: what reads both would take them for the same."""
    checkpoint = Path(folder) / "checkpoint"
    adopted = from_folder(checkpoint, "llama4_text")
    if adopted == policy or not checkpoint.exists():
        return []
    if adopted is None:
        return [
            Problem(
                path,
                f"{checkpoint} is no Llama 4 checkpoint: its config.json says no sizes",
                "adopt another",
            )
        ]
    others = [name for name, size in asdict(policy).items() if getattr(adopted, name) != size]
    message = f"{folder} holds another model than `model`: its {', '.join(others)} differ"
    return [Problem(path, message, "give the recipe the `model` of the run that it is from")]


def _training_problems(
    path: DataPath, policy: Dimensions, train: str, lora: LoraConfig
) -> list[Problem]:
    """A layer that the model does not have, or a choice of weights that leaves none to train."""
    outside = [layer for layer in lora.layers or () if layer >= policy.layers]
    if outside:
        message = (
            f"there is no layer {', '.join(map(str, outside))}: the model's are 0 to"
            f" {policy.layers - 1}"
        )
        return [Problem((*path, "lora", "layers"), message, "name layers that are there")]
    if trainable_parameters(policy, train, lora):
        return []
    if train == "lora":
        message = f"no layer that is named has a part that is named ({', '.join(lora.parts)})"
        return [
            Problem(
                (*path, "lora"), message, f"its layers with experts are {list(policy.moe_layers)}"
            )
        ]
    return [
        Problem(
            (*path, "train"),
            f"the model has no weights for train: {train}",
            "choose another setting",
        )
    ]

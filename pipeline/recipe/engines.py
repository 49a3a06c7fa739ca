"""What a recipe asks of vLLM that it cannot do with the models it gets, as far as their config
files tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.context import context_in, context_of
from models.sizes import Dimensions, dense_dimensions, dimensions_of
from pipeline.recipe.problems import Problem
from pipeline.recipe.yaml_lines import DataPath
from rollouts.config import RolloutConfig
from rollouts.heads import head_sizes

if TYPE_CHECKING:
    from pipeline.recipe.schema import Recipe


@dataclass(frozen=True)
class Use:
    """An engine that a recipe starts."""

    path: DataPath
    """Where its `rollouts` are."""
    rollouts: RolloutConfig
    judge: str | None = None
    """The `model` of the judge that it serves; None for the policy."""


def uses(recipe: "Recipe") -> Iterator[Use]:
    """Every engine of a recipe."""
    for index, stage in enumerate(recipe.stages):
        path = ("stages", index)
        if stage.kind == "rl":
            yield Use((*path, "rollouts"), stage.rollouts)
        elif stage.kind == "judge_filter":
            for number, judge in enumerate(stage.judges):
                where = ("more_judges", number - 1) if number else ("judge",)
                if judge.model is not None:
                    yield Use((*path, *where, "rollouts"), judge.rollouts, judge.model)
            if stage.audit:
                yield Use((*path, "audit", "rollouts"), stage.audit.rollouts)
    if recipe.evaluate:
        yield Use(("evaluate", "rollouts"), recipe.evaluate.rollouts)


def engine_problems(recipe: "Recipe") -> list[Problem]:
    """What no vLLM does: several experts a token in Llama 4, and sequences beyond the model's
    positions."""
    policy = dimensions_of(recipe.model)
    found = _experts_problems(recipe, policy) if policy else []
    for use in uses(recipe):
        context = context_in(use.judge) if use.judge else context_of(recipe.model)
        length = use.rollouts.max_model_len
        if context is not None and length > context:
            message = (
                f"{length} tokens are more than the model's context of {context}"
                " (max_position_embeddings)"
            )
            found.append(Problem((*use.path, "max_model_len"), message, f"set at most {context}"))
    return found


def head_problems(recipe: "Recipe") -> list[Problem]:
    """Heads of a size that the installed vLLM has no attention for. Other machines may have another
    build."""
    sizes, found = head_sizes(), dict[DataPath, Problem]()
    for use in uses(recipe) if sizes else ():
        model = dense_dimensions(use.judge) if use.judge else dimensions_of(recipe.model)
        if sizes and model and model.head_dim not in sizes:
            path = (*use.path[:-1], "model") if use.judge else _origin(recipe)
            known = ", ".join(map(str, sizes))
            message = f"attention heads of {model.head_dim}, and vLLM on a CPU takes {known}"
            remedy = (
                "take a model whose head_dim is one of them (64, say), or run it where vLLM has"
                " a GPU"
            )
            found[path] = Problem(path, message, remedy)
    return list(found.values())


def _origin(recipe: "Recipe") -> DataPath:
    return (
        "model",
        next(name for name in ("preset", "upcycle", "checkpoint") if getattr(recipe.model, name)),
    )


def _experts_problems(recipe: "Recipe", policy: Dimensions) -> list[Problem]:
    """vLLM puts the router's weight on an expert's input, as Llama 4 wants it, for one expert a
    token only."""
    asking = {stage.id: "rl" for stage in recipe.stages if stage.kind == "rl"}
    asking |= {
        stage.id: "audit" for stage in recipe.stages if stage.kind == "judge_filter" and stage.audit
    }
    asking |= {"evaluate": "evaluate"} if recipe.evaluate else {}
    if policy.experts_per_token == 1 or not asking:
        return []
    upcycled, asked = recipe.model.upcycle is not None, " and ".join(asking)
    message = (
        f"{policy.experts_per_token} experts a token, but vLLM serves Llama 4 with one, and {asked}"
        " would ask it"
    )
    remedy = (
        "set experts_per_token: 1"
        if upcycled
        else "start from a checkpoint with num_experts_per_tok 1"
    )
    path = ("model", "experts_per_token" if upcycled else "checkpoint")
    return [
        Problem(
            path, message, f"{remedy}, or leave {' and '.join(dict.fromkeys(asking.values()))} out"
        )
    ]

"""Checks that vLLM can serve the recipe's models with the recipe's settings, as far as the models'
config files tell."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from common.devices import ServerUrls
from common.yaml_files.lines import DataPath
from common.yaml_files.problems import Problem
from models.context import context_in, context_of
from models.sizes import Dimensions, dense_dimensions, dimensions_of
from pipeline.recipe.declared import Declared, declared, execution_path
from pipeline.recipe.schema import Recipe
from rollouts.config import BATCH_TOKENS
from rollouts.heads import head_sizes
from stages.declaration import EngineUse


@dataclass(frozen=True)
class Use:
    """An engine that a recipe starts."""

    stage: Declared
    engine: EngineUse

    @property
    def path(self) -> DataPath:
        """The place of its `rollouts` in the recipe."""
        return (*self.stage.place, *self.engine.path)


def uses(recipe: Recipe) -> Iterator[Use]:
    """Every engine of a recipe. Evaluations share one section, so they are listed once."""
    seen = set[DataPath]()
    for stage in declared(recipe):
        for engine in stage.config.engines():
            use = Use(stage, engine)
            if use.path not in seen:
                seen.add(use.path)
                yield use


def engine_problems(recipe: Recipe, to_run: bool) -> list[Problem]:
    """What vLLM would refuse when it starts, which may be hours into the run. With `to_run` also
    what does not fit this machine's memory."""
    problems = _experts_problems(recipe)
    for use in uses(recipe):
        problems += [*_length_problems(recipe, use), *_capacity_problems(recipe, use, to_run)]
        problems += _remote_problems(recipe, use) if to_run else []
    return problems


def _remote_problems(recipe: Recipe, use: Use) -> Iterator[Problem]:
    """What is missing on this machine to ask servers that already run."""
    layout = use.stage.execution.devices.engine
    if not isinstance(layout, ServerUrls):
        return
    path = execution_path(recipe.runtime, use.stage.config, "devices.engine")
    if not os.environ.get(layout.secret_env):
        message = f"the environment variable {layout.secret_env} is not set"
        remedy = "set it to the secret with which the servers were started"
        yield Problem((*path, "secret_env"), message, remedy)
    if not os.path.isdir(layout.weights_dir):
        message = f"there is no folder {layout.weights_dir}"
        remedy = "name one that this machine and all servers share"
        yield Problem((*path, "weights_dir"), message, remedy)


def _length_problems(recipe: Recipe, use: Use) -> Iterator[Problem]:
    judge = use.engine.judge
    context = context_in(judge) if judge else context_of(recipe.model)
    length = use.engine.rollouts.max_model_len
    if context is not None and length > context:
        message = (
            f"{length:,} is longer than the model's context of {context:,} tokens (its"
            " max_position_embeddings)"
        )
        yield Problem((*use.path, "max_model_len"), message, f"use at most {context}")


def _capacity_problems(recipe: Recipe, use: Use, to_run: bool) -> Iterator[Problem]:
    config, execution = use.stage.config, use.stage.execution
    batch = max(BATCH_TOKENS, use.engine.rollouts.max_model_len)
    if execution.max_num_seqs > batch:
        message = (
            f"{execution.max_num_seqs:,} sequences at once are more than the engine's batch of"
            f" {batch:,} tokens"
        )
        path = execution_path(recipe.runtime, config, "max_num_seqs")
        yield Problem(path, message, "lower it (128 is usual)")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if to_run and execution.kv_cache_gib > memory:
        message = (
            f"{execution.kv_cache_gib:,} GiB are more than this machine's memory of"
            f" {memory:.0f} GiB"
        )
        path = execution_path(recipe.runtime, config, "kv_cache_gib")
        yield Problem(path, message, "lower it")


def head_problems(recipe: Recipe) -> list[Problem]:
    """Models whose attention head size the installed vLLM does not support. The result depends on
    this machine's build."""
    sizes, problems = head_sizes(), dict[DataPath, Problem]()
    for use in uses(recipe) if sizes else ():
        judge = use.engine.judge
        model = dense_dimensions(judge) if judge else dimensions_of(recipe.model)
        if sizes and model and model.head_dim not in sizes:
            path = (*use.path[:-1], "model") if judge else _origin(recipe)
            known = ", ".join(map(str, sizes))
            message = f"attention heads of {model.head_dim}, and vLLM on a CPU supports {known}"
            remedy = (
                "choose a model whose head_dim is one of them (64, say), or run it where vLLM has a"
                " GPU"
            )
            problems[path] = Problem(path, message, remedy)
    return list(problems.values())


def _origin(recipe: Recipe) -> DataPath:
    names = ("preset", "upcycle", "checkpoint")
    return ("model", next(name for name in names if getattr(recipe.model, name)))


def _experts_problems(recipe: Recipe) -> list[Problem]:
    """More than one expert per token: vLLM applies the router's weight to an expert's input, as
    Llama 4 does, only for one expert per token."""
    policy: Dimensions | None = dimensions_of(recipe.model)
    names = dict.fromkeys(_name(use) for use in uses(recipe) if use.engine.judge is None)
    if policy is None or policy.experts_per_token == 1 or not names:
        return []
    upcycled, users = recipe.model.upcycle is not None, " and ".join(names)
    message = (
        f"{policy.experts_per_token} experts per token, but vLLM serves Llama 4 with one, and"
        f" {users} would use it"
    )
    remedy = (
        "set experts_per_token: 1"
        if upcycled
        else "start from a checkpoint with num_experts_per_tok 1"
    )
    path = ("model", "experts_per_token" if upcycled else "checkpoint")
    return [Problem(path, message, f"{remedy}, or leave {users} out")]


def _name(use: Use) -> str:
    """The part of the recipe that starts the engine: a stage, a part of it, or `evaluate`."""
    part = [str(name) for name in use.engine.path[:-1]]
    stage = use.stage.config.execution_group or use.stage.config.id
    return ".".join([stage, *part])

"""Finds implausible numbers before anything runs.

A field's own bounds are in its config. The checks here depend on this machine, on the model or on
another field. Numbers without any other bound get a generous maximum, so that a typing error is
found before it costs hours."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from common.devices import Servers
from common.yaml_files.lines import DataPath
from common.yaml_files.problems import Problem
from evals.suite_file import is_there
from models.sizes import dimensions_of
from pipeline.recipe.declared import declared, execution_path
from pipeline.recipe.engines import engine_problems
from pipeline.recipe.schema import Recipe

MAXIMA: Mapping[str, float] = {
    "attempts": 10_000,
    "batch_size": 100_000,
    "concurrency": 1_000,
    "cores": 4_096,
    "count": 10_000_000,
    "drift_tolerance": 1.0,
    "epochs": 1_000,
    "experts": 1_024,
    "group_size": 10_000,
    "largest_group": 10_000,
    "learning_rate": 1.0,
    "max_model_len": 10_485_760,
    "max_pairs": 10_000_000,
    "max_rounds": 1_000,
    "max_tokens": 1_000_000,
    "opponents": 1_000,
    "parity_tolerance": 1.0,
    "patience_s": 30 * 86_400,
    "probe_attempts": 10_000,
    "processes": 100_000,
    "prompts_per_step": 100_000,
    "replicas": 10_000,
    "retries": 100,
    "rows_per_forward": 100_000,
    "samples": 10_000,
    "steps": 10_000_000,
    "temperature": 10.0,
    "tensor_parallel": 1_024,
    "timeout_s": 86_400,
}
"""Field name to the largest accepted value, far above any useful one. More only costs time or
memory. A parity check with a tolerance above one nat per token would prove nothing."""
FREE_SECTIONS = ("settings", "examples", "shares", "extra")
"""Sections whose keys the recipe's author chooses."""


def limit_problems(recipe: Recipe, to_run: bool) -> list[Problem]:
    """Every implausible number of `recipe`. With `to_run` also what does not fit this machine's
    memory and CPUs."""
    data = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [
        *_no_stages(recipe),
        *_threads(recipe),
        *(problem for path, value in _numbers(data) for problem in _too_large(path, value)),
        *_model_problems(recipe),
        *engine_problems(recipe, to_run),
        *_suite_problems(recipe),
        *(_process_problems(recipe) if to_run else ()),
    ]


def _no_stages(recipe: Recipe) -> list[Problem]:
    if recipe.stages:
        return []
    example = "add one, such as {id: sft, kind: sft, on: prompts, learning_rate: 1.0e-4}"
    return [
        Problem(
            ("stages",),
            "is empty, so there is nothing to train",
            f"{example}; to evaluate a model, use `uphill eval`",
        )
    ]


def cores() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def _threads(recipe: Recipe) -> list[Problem]:
    threads = recipe.runtime.threads
    if threads is None or threads <= cores():
        return []
    message = f"{_shown(threads)} threads, but this process may run on {cores()} CPUs"
    remedy = (
        "lower it, or leave it out to use them all; on another machine, give --set"
        " runtime.threads=N"
    )
    return [Problem(("runtime", "threads"), message, remedy)]


def _process_problems(recipe: Recipe) -> Iterator[Problem]:
    """Stages with more training processes, or more servers, than this machine has CPUs."""
    cpus = os.cpu_count() or 1
    for stage in declared(recipe):
        devices, engine = stage.execution.devices, stage.execution.devices.engine
        servers = engine.replicas if isinstance(engine, Servers) else 0
        counts = {"processes": 0 if devices.launcher else devices.processes, "engine": servers}
        for name, count in counts.items():
            setting = f"devices.{name}"
            if count > cpus and setting in stage.config.execution_settings():
                message = f"{count:,} are to be started, and this machine has {cpus} CPUs"
                path = execution_path(recipe.runtime, stage.config, setting)
                yield Problem(path, f"{message} ({stage.config.id})", "lower it")


def _numbers(data: Any, path: DataPath = ()) -> Iterator[tuple[DataPath, float]]:
    """Every number in a recipe's data, with its path."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in FREE_SECTIONS:
                yield from _numbers(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _numbers(value, (*path, index))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield path, data


def _too_large(path: DataPath, value: float) -> list[Problem]:
    maximum = MAXIMA.get(str(path[-1]))
    if maximum is None or value <= maximum:
        return []
    message = f"{_shown(value)} is implausible: the largest accepted value is {maximum:,}"
    return [Problem(path, message, f"lower {path[-1]}")]


def _shown(value: float) -> str:
    return f"{value:,}" if value < 1e15 else "a number this large"


def _model_problems(recipe: Recipe) -> list[Problem]:
    policy, every = dimensions_of(recipe.model), recipe.model.moe_every
    if policy is None or every is None or every <= policy.layers:
        return []
    message = f"{every} leaves no layer with experts in a model of {policy.layers} layers"
    return [Problem(("model", "moe_every"), message, f"use at most {policy.layers}")]


def _suite_problems(recipe: Recipe) -> list[Problem]:
    """Suites whose longest answer fills the context, so that every prompt would count as wrong."""
    if recipe.evaluate is None:
        return []
    length = recipe.evaluate.rollouts.max_model_len
    remedy = "raise evaluate.rollouts.max_model_len, or lower the suite's max_tokens"
    return [
        Problem(
            ("evaluate", "suites", index),
            no_room(suite.name, suite.answer_length(), length),
            remedy,
        )
        for index, suite in enumerate(recipe.evaluate.suites)
        if is_there(suite.file) and suite.answer_length() >= length
    ]


def no_room(suite: str, answer: int, length: int) -> str:
    """The message for a suite whose answers leave no tokens for a prompt."""
    return (
        f"answers of {suite} may take {answer:,} tokens, which leaves no room for a prompt in"
        f" max_model_len ({length:,})"
    )

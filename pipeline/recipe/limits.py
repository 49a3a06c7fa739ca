"""Numbers that cannot be meant, said before anything runs.

What a field may be by itself is in its config. Here is what depends on this machine, on the model
or on another field, and the most that makes sense where nothing else bounds a number: a slip of the
keyboard is cheaper to mend before the hours are spent."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from models.sizes import dimensions_of
from pipeline.recipe.engines import engine_problems
from pipeline.recipe.problems import Problem
from pipeline.recipe.schema import Recipe
from pipeline.recipe.yaml_lines import DataPath

MOST: Mapping[str, float] = {
    "attempts": 10_000,
    "batch_size": 100_000,
    "concurrency": 1_000,
    "count": 10_000_000,
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
    "prompts_per_step": 100_000,
    "retries": 100,
    "rows_per_forward": 100_000,
    "steps": 10_000_000,
    "temperature": 10.0,
    "timeout_s": 86_400,
}
"""By a field's name: the most that makes sense, far above what anybody runs. More costs time or
memory to no end; and a parity check that lets more than a nat a token pass proves nothing."""
FREE = ("settings", "examples", "shares", "extra")
"""Sections whose keys are the person's own."""


def limit_problems(recipe: Recipe, to_run: bool) -> list[Problem]:
    """Every number of `recipe` that cannot be meant; with `to_run` also what this machine has no
    memory for."""
    data = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [
        *_no_stages(recipe),
        *_threads(recipe),
        *(problem for path, value in _numbers(data) for problem in _beyond(path, value)),
        *_model_problems(recipe),
        *engine_problems(recipe, to_run),
        *_suite_problems(recipe),
    ]


def _no_stages(recipe: Recipe) -> list[Problem]:
    if recipe.stages:
        return []
    example = "add one, such as {id: sft, kind: sft, on: prompts, learning_rate: 1.0e-4}"
    return [
        Problem(
            ("stages",),
            "is empty, so there is nothing to train",
            f"{example}; to ask a model, `uphill eval`",
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
        "lower it, or leave it out to use them all; for another machine: --set runtime.threads=N"
        " there"
    )
    return [Problem(("runtime", "threads"), message, remedy)]


def _numbers(data: Any, path: DataPath = ()) -> Iterator[tuple[DataPath, float]]:
    """Every number in a recipe's data, and where it is."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in FREE:
                yield from _numbers(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _numbers(value, (*path, index))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield path, data


def _beyond(path: DataPath, value: float) -> list[Problem]:
    most = MOST.get(str(path[-1]))
    if most is None or value <= most:
        return []
    message = f"{_shown(value)} cannot be meant: {most:,} is the most that makes sense"
    return [Problem(path, message, f"lower {path[-1]}")]


def _shown(value: float) -> str:
    return f"{value:,}" if value < 1e15 else "so large a number"


def _model_problems(recipe: Recipe) -> list[Problem]:
    policy, every = dimensions_of(recipe.model), recipe.model.moe_every
    if policy is None or every is None or every <= policy.layers:
        return []
    message = f"{every} leaves no layer with experts in a model of {policy.layers} layers"
    return [Problem(("model", "moe_every"), message, f"use at most {policy.layers}")]


def _suite_problems(recipe: Recipe) -> list[Problem]:
    """Suites whose answers alone fill the context, so that every prompt would count as wrong."""
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
        if suite.answer_length() >= length
    ]


def no_room(suite: str, answer: int, length: int) -> str:
    return (
        f"answers of {suite} may take {answer:,} tokens, which leaves no prompt room in"
        f" max_model_len ({length:,})"
    )

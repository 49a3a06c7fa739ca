"""The prompts of a suite's dev part that a stage asks while it trains."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from common.errors import BadInput
from evals.suites import load_dev
from prompts.schema import Prompt
from stages.dev_part import DevPart


def dev_prompts(settings: DevPart, place: str, prompts_folder: Path | None) -> list[Prompt]:
    """The prompts that a stage asks. BadInput, naming the section `place`, where the dev part has
    none."""
    prompts = load_dev(settings.as_suite(), settings.limit, prompts_folder)
    if not prompts:
        raise BadInput(
            f"{place}: no prompt of {settings.name} is in its dev part",
            "give a source more prompts or a larger `held_out`",
        )
    return prompts


def finite(figures: Mapping[str, float]) -> bool:
    """Whether a step's figures are numbers. A training that diverged is stopped with a message of
    its own, which an evaluation of its policy must not come before."""
    return all(isfinite(value) for value in figures.values() if isinstance(value, float))

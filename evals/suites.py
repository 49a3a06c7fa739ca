"""The prompts of each suite: the same, in the same order, for every checkpoint and every run."""

from dataclasses import replace
from pathlib import Path

from common.artifacts import HELD_OUT
from common.errors import BadInput
from common.seeds import derive
from evals import packaged
from evals.config import SuiteConfig
from prompts.schema import Prompt, read_prompts, with_system

SAMPLE_SEED = 20250601
"""Independent of the run: with a `limit`, all checkpoints of all runs get equal prompts."""
_PACKAGED = {"gsm8k": packaged.gsm8k, "basic_arithmetic": packaged.basic_arithmetic}


def load_suite(config: SuiteConfig, prompts_folder: Path | None) -> list[Prompt]:
    """The prompts of a suite. `held_out` is read from `prompts_folder`, the finished prompts stage.

    Raises BadInput if a suite's data is missing.
    """
    if config.name != "held_out":
        prompts = _PACKAGED[config.name]()
    elif prompts_folder is None:
        raise BadInput(
            "the suite held_out needs a run with a finished prompts stage",
            "name a run, or another suite",
        )
    else:
        prompts = read_prompts(HELD_OUT.path(prompts_folder))
    if config.system is not None:
        prompts = [
            replace(prompt, messages=with_system(prompt.messages, config.system))
            for prompt in prompts
        ]
    return sample(prompts, config.name, config.limit)


def packaged_prompts() -> list[tuple[str, Prompt]]:
    """Every prompt of every packaged suite, with the suite's name. Raises BadInput if data is
    missing."""
    return [(name, prompt) for name, load in _PACKAGED.items() for prompt in load()]


def sample(prompts: list[Prompt], suite: str, limit: int | None) -> list[Prompt]:
    """`limit` prompts drawn by their ids, in their original order. A smaller limit gives a subset
    of a larger one's."""
    if limit is None or limit >= len(prompts):
        return prompts
    ranked = sorted(prompts, key=lambda prompt: (derive(SAMPLE_SEED, suite, prompt.id), prompt.id))
    chosen = {prompt.id for prompt in ranked[:limit]}
    return [prompt for prompt in prompts if prompt.id in chosen]

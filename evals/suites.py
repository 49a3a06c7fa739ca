"""The prompts of each suite: the same, in the same order, for every checkpoint and every run.

`evals/parts.py` divides them into a dev part and a final part."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

from common.artifacts import HELD_OUT
from common.errors import BadInput
from common.seeds import derive
from evals import packaged
from evals.config import SuiteConfig
from evals.parts import DEV, FINAL, in_part
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


def load_dev(config: SuiteConfig, count: int | None, prompts_folder: Path | None) -> list[Prompt]:
    """The dev part of a suite, or `count` prompts of it: those of the dev part that the smallest
    `limit` with as many of them has. Raises as `load_suite`."""
    prompts = in_part(load_suite(config, prompts_folder), DEV)
    return _first(prompts, _ranked(prompts, config.name), count)


def sample(prompts: list[Prompt], suite: str, limit: int | None) -> list[Prompt]:
    """`limit` prompts drawn by their ids, in their original order: half of them from each part, as
    long as both have any. A smaller limit gives a subset of a larger one's."""
    final, dev = (_ranked(in_part(prompts, part), suite) for part in (FINAL, DEV))
    # When one part is used up, the rest comes from the other.
    in_turn = [prompt for prompt in chain(*zip_longest(final, dev)) if prompt is not None]
    return _first(prompts, in_turn, limit)


def _ranked(prompts: Sequence[Prompt], suite: str) -> list[Prompt]:
    return sorted(prompts, key=lambda prompt: (derive(SAMPLE_SEED, suite, prompt.id), prompt.id))


def _first(prompts: list[Prompt], ranked: Sequence[Prompt], count: int | None) -> list[Prompt]:
    """Those of the prompts that are among the first `count` of the ranked ones."""
    if count is None or count >= len(prompts):
        return prompts
    chosen = {prompt.id for prompt in ranked[:count]}
    return [prompt for prompt in prompts if prompt.id in chosen]

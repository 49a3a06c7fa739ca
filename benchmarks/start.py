"""The starting points of benchmarks: a recipe's prompts, and a policy that its SFT taught.

SFT learns from demonstrations of mixed quality, other words and sums than the recipe's prompts. So
the policy knows its tasks and is unsure of its answers, as a model after schooling is. What RL then
gains is large enough to compare arms."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from benchmarks.layouts import run
from common.files import write_json_lines
from pipeline.recipe.load import load_recipe
from prompts.config import ReasoningGymSource
from prompts.schema import Prompt
from prompts.sources import load_source

KINDS = (ascii_lowercase, ascii_uppercase, digits)
OTHERS = 1000
"""Added to a source's seed: its demonstrations are not of the prompts that the recipe has."""


def chosen(settings: Mapping[str, Any]) -> list[str]:
    """The options of `uphill run` that replace settings of a recipe."""
    given = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    return [word for one in given for word in ("--set", one)]


def make_start(recipe: Path, folder: Path, seed: int, demonstrated: Path) -> None:
    """Run the first stage of a recipe, an SFT, on a file of demonstrations; nothing where that is
    done."""
    stage = load_recipe(recipe).stages[0].model_dump(by_alias=True, exclude_unset=True)
    source = {"source": "file", "path": str(demonstrated), "capability": "shown", "held_out": 0}
    settings = {
        "seed": seed,
        "prompts": [source],
        "stages": [stage],
        "evaluate": None,
        "runtime.stages": {stage["id"]: {"rows_per_forward": 64, "save_every": 2000}},
    }
    run(recipe, folder, chosen(settings))


def write_demonstrations(recipe: Path, path: Path, wrong: Sequence[tuple[int, float]]) -> None:
    """Write the demonstrations of a recipe's sources: of each, how many, and the share of their
    letters and digits that are drawn at random."""
    rows: list[dict[str, Any]] = []
    draw = random.Random(0)
    for source, (count, share) in zip(load_recipe(recipe).prompts, wrong, strict=True):
        assert isinstance(source, ReasoningGymSource)
        other = {"count": count, "seed": OTHERS + (source.seed or 0), "held_out": 0}
        rows += demonstrations(load_source(source.model_copy(update=other)), share, draw)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json_lines(path, rows)


def demonstrations(
    prompts: Sequence[Prompt], wrong: float, draw: random.Random
) -> Iterator[dict[str, Any]]:
    """The prompts as conversations that end with their answer. Each letter and each digit of it is
    drawn at random in a share `wrong` of cases."""
    for prompt in prompts:
        answer = "".join(_character(one, wrong, draw) for one in prompt.answer)
        yield {"messages": [*prompt.messages, {"role": "assistant", "content": answer}]}


def _character(right: str, wrong: float, draw: random.Random) -> str:
    kind = next((kind for kind in KINDS if right in kind), "")
    return draw.choice(kind) if kind and draw.random() < wrong else right

"""The two parts of every suite. `dev` may steer: gates, stopping, which checkpoint is best. `final`
is only reported, so no choice has been made by it.

The part follows from the prompt's id alone, in every run and suite: another prompt in a suite moves
none of the others, and a prompt that two suites share steers in both or in neither. Prompts that
belong together, such as a question in several languages, share the key that decides: each says much
about the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.artifacts import RESULTS
from common.errors import BadInput
from common.seeds import derive
from corner_cases.sets import group_of
from evals.units import Unit
from prompts.schema import Prompt

DEV, FINAL = "dev", "final"
PARTS = (DEV, FINAL)
PART_SEED = 20251127
"""Independent of the run: a prompt is in the same part for every checkpoint of every run."""
Scores = Mapping[str, Mapping[str, Any]]
"""Suite to the figures of one of its parts (`evals.figures.summary`)."""


def part_of(key: str) -> str:
    """The part that a prompt belongs to, by its key; each of the two is as likely."""
    return PARTS[derive(PART_SEED, "part", key) % len(PARTS)]


def key_of(prompt: Prompt) -> str:
    """What decides about a prompt: what it shares with those that belong to it, or else its id."""
    return group_of(prompt) or prompt.id


def in_part(prompts: Sequence[Prompt], part: str) -> list[Prompt]:
    """The prompts of a part, in their order."""
    return [prompt for prompt in prompts if part_of(key_of(prompt)) == part]


@dataclass(frozen=True)
class DevScores:
    """All that a decision may know of an evaluation. It holds nothing of the final part."""

    suites: Scores
    units: Mapping[str, Mapping[str, Unit]] = field(default_factory=dict)
    """Suite to its units by name, where they were read (`evals/reading.py`)."""


def dev_scores(folder: Path) -> DevScores:
    """What an evaluation's folder says of the dev parts. Raises as `read_results`."""
    return DevScores(_part(folder, DEV))


def final_scores(folder: Path) -> Scores:
    """The figures of the final parts in an evaluation's folder. Raises as `read_results`."""
    return _part(folder, FINAL)


def _part(folder: Path, part: str) -> Scores:
    return {suite: parts[part] for suite, parts in read_results(folder).items()}


def read_results(folder: Path) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Suite to part to figures, of an evaluation's folder. BadInput where it cannot be read, and
    where it was made before suites had parts: its score is one of both, to be mixed with none."""
    path = RESULTS.path(folder)
    try:
        suites: Mapping[str, Mapping[str, Any]] = RESULTS.read(folder)["suites"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path}: not a readable evaluation: {error}", "redo the evaluation"
        ) from error
    for suite, parts in suites.items():
        if not set(PARTS) <= parts.keys():
            raise BadInput(
                f"{path}: {suite} has one score for all of its prompts: it was evaluated before"
                " suites had a dev part and a final part",
                f"repeat the evaluation: `--redo eval-{folder.name}`, or `uphill eval` again with"
                " another --out",
            )
    return suites

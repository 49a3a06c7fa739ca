"""Reads the packaged prompts of a corner case, one per line: `data/<case>.jsonl`, by which models
are evaluated, and `data/train/<case>.jsonl`, on which they may be trained."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prompts.parts import NOT_GRADED
from prompts.schema import Prompt

SOURCE = "corner_cases"
FOLDER = Path(__file__).parent / "data"
SHARED = ("group", "pair")
"""Metadata whose value prompts that belong together share."""
TRAINING = FOLDER / "train"


def load_set(case: str, folder: Path = FOLDER) -> list[Prompt]:
    """The prompts of a case in one of the two folders, in the file's order. Their capability is the
    case."""
    path = folder / f"{case}.jsonl"
    place = path.relative_to(FOLDER)
    return [
        _prompt(json.loads(line), f"{place}:{number}")
        for number, line in enumerate(_lines(path), start=1)
    ]


def group_of(prompt: Prompt) -> str:
    """What a prompt shares with those that belong to it: of a corner case the question, asked in
    several languages, or the pair of a harmless and a harmful request; of another suite what the
    suite says. Empty for a prompt on its own."""
    if prompt.source != SOURCE:
        return prompt.group
    return next((f"{key}:{prompt.metadata[key]}" for key in SHARED if key in prompt.metadata), "")


def question_of(prompt: Prompt) -> str:
    """What a prompt asks, the same for the prompts that ask it in several languages."""
    return str(prompt.metadata.get("group", prompt.id))


def training_size(cases: Iterable[str], most: int | None = None) -> int:
    """The number of training prompts of some cases, with at most `most` questions of each."""
    total = 0
    for case in cases:
        counts = Counter(map(question_of, load_set(case, TRAINING))).values()
        total += sum(sorted(counts, reverse=True)[:most])
    return total


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _prompt(row: dict[str, Any], place: str) -> Prompt:
    """A row as a prompt. The language of its question is `metadata.asked_in`, that of the answer
    `metadata.language`, which is the same unless the row has another."""
    metadata = {"asked_in": row["language"], "language": row["language"], **row["metadata"]}
    verifier = row.get("verifier", NOT_GRADED)
    settings = {"verifier": "format", **metadata["format"]} if verifier == "format" else None
    return Prompt(
        id=row["id"],
        messages=row["messages"],
        answer=row.get("answer", ""),
        verifier=verifier,
        capability=row["case"],
        source=SOURCE,
        solution=None,
        metadata=metadata,
        place=place,
        rewards=() if settings is None else (settings,),
    )

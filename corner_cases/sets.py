"""Reads the packaged prompts of a corner case: `data/<case>.jsonl`, one prompt per line."""

import json
from pathlib import Path
from typing import Any

from prompts.parts import NOT_GRADED
from prompts.schema import Prompt

SOURCE = "corner_cases"
FOLDER = Path(__file__).parent / "data"
SHARED = ("group", "pair")
"""Metadata whose value prompts that belong together share."""


def load_set(case: str) -> list[Prompt]:
    """The prompts of a case, in the file's order. Their capability is the case."""
    text = (FOLDER / f"{case}.jsonl").read_text(encoding="utf-8")
    return [
        _prompt(json.loads(line), f"{case}.jsonl:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
    ]


def group_of(prompt: Prompt) -> str:
    """What a packaged prompt shares with those that belong to it: the question, asked in several
    languages, or the pair of a harmless and a harmful request. Empty for a prompt on its own and
    for those of other sources."""
    if prompt.source != SOURCE:
        return ""
    return next((f"{key}:{prompt.metadata[key]}" for key in SHARED if key in prompt.metadata), "")


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

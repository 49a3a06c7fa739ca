"""The schema of a prompt, and the parquet file that passes prompts between stages."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.fingerprint import fingerprint
from prompts.part import RewardPart
from prompts.parts import NOT_GRADED, read_part

COLUMNS = (
    "id",
    "messages",
    "answer",
    "verifier",
    "capability",
    "source",
    "solution",
    "metadata",
    "place",
    "rewards",
)
BATCH = 1 << 14
"""Rows that are written and read at once."""
ADDED = ("rewards",)
"""Columns that the files of earlier versions lack."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One task with its reference answer and the verifier that grades attempts at it."""

    id: str
    """Unique in a run and stable: derived from source, settings and content, or given by the
    user."""
    messages: list[dict[str, str]]
    """Chat messages with `role` and `content`; the last is the user's."""
    answer: str
    """Reference answer."""
    verifier: str
    """Name of the first part's verifier (`rewards/kinds.py`)."""
    capability: str
    """Group for quotas and scores."""
    source: str
    """Where it comes from, e.g. `reasoning_gym:chain_sum` or a file's name."""
    solution: str | None
    """Worked solution for SFT; None: SFT learns the answer."""
    metadata: dict[str, Any]
    """What the verifier needs besides the answer, as plain JSON values. `difficulty` has the
    prompt's difficulty settings."""
    place: str = ""
    """Where it comes from: file and line or row, or the generator and its item. Without the file's
    folder, so that a moved file gives the same prompts."""
    rewards: tuple[dict[str, Any], ...] = ()
    """The parts of the reward as plain JSON values (`prompts.parts`); empty: `verifier` alone,
    without settings."""
    group: str = ""
    """What it shares with the prompts of its evaluation suite that belong to it; empty for one on
    its own. It is read from the suite and in no prompts file."""

    @property
    def parts(self) -> list[RewardPart]:
        """The parts of the reward; the first is `verifier`."""
        stored = self.rewards or ({"verifier": self.verifier},)
        return [read_part(part) for part in stored]

    @property
    def is_demonstration(self) -> bool:
        """Whether it is a conversation to learn from, whose answers nothing grades."""
        return self.verifier == NOT_GRADED

    @property
    def named(self) -> str:
        """Its name in messages."""
        return f"prompt {self.id} ({self.place})" if self.place else f"prompt {self.id}"

    @property
    def difficulty(self) -> str:
        """Difficulty settings as canonical text: the given ones, or else the generator's; empty if
        there are none."""
        settings = self.metadata.get("difficulty", self.metadata.get("settings"))
        return json.dumps(settings, sort_keys=True, ensure_ascii=False) if settings else ""

    @property
    def reply(self) -> dict[str, str]:
        """The assistant's turn that SFT learns."""
        return {"role": "assistant", "content": self.target}

    @property
    def task(self) -> str:
        """The text of the user's last message."""
        return self.messages[-1]["content"]

    @property
    def target(self) -> str:
        """The text that SFT learns."""
        return self.solution if self.solution is not None else self.answer


def content_id(source: str, *content: Any) -> str:
    """An id derived from a prompt's content. Equal content has the same id on every machine."""
    return f"{source}:{fingerprint([source, *content])[:16]}"


def with_system(messages: list[dict[str, str]], system: str | None) -> list[dict[str, str]]:
    """`messages` with a system message first, unless they have one or `system` is None."""
    if system is None or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write `prompts` as parquet, atomically and in batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    kinds = {"messages": pa.list_(message)}
    schema = pa.schema([(name, kinds.get(name, text)) for name in COLUMNS])
    partial, waiting = path.with_name(f".{path.name}.{os.getpid()}.tmp"), iter(prompts)
    with pq.ParquetWriter(partial, schema) as writer:
        while rows := [_row(prompt) for prompt in islice(waiting, BATCH)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    partial.replace(path)


def _row(prompt: Prompt) -> dict[str, Any]:
    row = {name: getattr(prompt, name) for name in COLUMNS}
    for name in ("metadata", "rewards"):
        row[name] = json.dumps(row[name], ensure_ascii=False, allow_nan=False)
    return row


def read_prompts(path: Path, *, may_be_empty: bool = False) -> list[Prompt]:
    """The prompts of a file that `write_prompts` wrote. Raises BadInput on any other file and on a
    file without prompts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    remedy = "run the stage that writes it again (--redo STAGE)"
    if not path.is_file():
        raise BadInput(f"{path}: no such prompts file", remedy)
    try:
        with pq.ParquetFile(path) as file:
            names, count = file.schema_arrow.names, file.metadata.num_rows
            batches = file.iter_batches(BATCH, columns=[n for n in COLUMNS if n in names])
            missing = sorted(set(COLUMNS) - set(ADDED) - set(names))
            prompts = [] if missing else [_prompt(row) for b in batches for row in b.to_pylist()]
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a readable prompts file: {error}", remedy) from error
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a prompts file: {error}", remedy) from error
    if missing:
        raise BadInput(f"{path}: not a prompts file, it has no column {', '.join(missing)}", remedy)
    if not count and not may_be_empty:
        raise BadInput(
            f"{path}: holds no prompts",
            "ask for more prompts in the recipe's `prompts` (count, held_out)",
        )
    return prompts


def _prompt(row: dict[str, Any]) -> Prompt:
    metadata, rewards = json.loads(row["metadata"]), _rewards(row.get("rewards", "[]"))
    return Prompt(**{**row, "metadata": metadata, "rewards": rewards})


@lru_cache(maxsize=64)  # a source's prompts share their rewards, which may hold a function's text
def _rewards(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(text))

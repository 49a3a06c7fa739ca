"""A user's own prompts: the rows of JSONL or parquet files, or of a `datasets` folder."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import BadInput
from prompts.config import RowSource
from prompts.row import PromptRow, read_row
from prompts.schema import Prompt, content_id, with_system
from prompts.shards import name_of, read_bytes, shards


def load(config: RowSource) -> list[Prompt]:
    """The prompts of a user's file or folder. Raises BadInput with file and line (or row) of the
    first problem."""
    path = Path(config.path)
    if not path.exists():
        raise BadInput(
            f"{path}: no such file or folder", "correct `path` in the recipe's `prompts`"
        )
    read = {"jsonl": _jsonl, "parquet": _parquet, "datasets": _datasets}[config.source]
    prompts: list[Prompt] = []
    known: dict[str, Prompt] = {}
    for place, raw in read(path):
        where = str(path.parent / place)
        row = read_row(where, raw)
        prompt = _prompt(config, path.name, where, place, row)
        other = known.setdefault(prompt.id, prompt)
        if row.id is not None and other is not prompt:
            raise BadInput(
                f"{where}: id {row.id!r} is already used at {path.parent / other.place}",
                "give rows unique ids",
            )
        if other.verifier != prompt.verifier:
            # The same task with another verifier is another prompt. The first one keeps its id.
            prompt = replace(
                prompt, id=content_id(path.name, prompt.messages, prompt.answer, prompt.verifier)
            )
        prompts.append(prompt)
    if not prompts:
        raise BadInput(f"{path}: holds no prompts", "put at least two rows into it")
    return prompts


def _prompt(config: RowSource, name: str, where: str, place: str, row: PromptRow) -> Prompt:
    if row.verifier and config.rewards:
        raise BadInput(
            f"{where}: names a verifier, and the source has `rewards`",
            "remove the row's verifier, or the source's `rewards`",
        )
    first = config.rewards[0].verifier if config.rewards else config.verifier
    verifier, capability = row.verifier or first, row.capability or config.capability
    for field, value in (("verifier", verifier), ("capability", capability)):
        if not value:
            raise BadInput(
                f"{where}: names no {field}, and neither does the source",
                f"give the source a `{field}`",
            )
    answer, messages = str(row.answer), with_system(row.chat(), config.system)
    return Prompt(
        id=f"{name}:{row.id}" if row.id is not None else content_id(name, messages, answer),
        messages=messages,
        answer=answer,
        verifier=verifier or "",
        capability=capability or "",
        source=name,
        solution=row.solution,
        metadata=row.metadata or {},
        place=place,
        rewards=config.stored_rewards(),
    )


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with `file:line`. Blank lines count as lines and are skipped."""
    for shard in shards(path, "jsonl"):
        name = name_of(shard, path)
        for number, line in enumerate(read_bytes(shard).split(b"\n"), start=1):
            if line.strip():
                yield f"{name}:{number}", _object(line, number, f"{path.parent / name}:{number}")


def _object(line: bytes, number: int, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        remedy = "save it as UTF-8 text, plain or packed as .gz, .bz2 or .xz"
        raise BadInput(
            f"{where}: not UTF-8: {error.reason} (byte {error.start})", remedy
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON: {error}", "put one JSON object on each line") from error
    if not isinstance(row, dict):
        raise BadInput(
            f"{where}: not a JSON object but {type(row).__name__}",
            "put one JSON object on each line",
        )
    return row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for shard in shards(path, "parquet"):
        try:
            # With a path instead of a handle, pyarrow would look for partitions in the names of
            # its folders.
            with shard.open("rb") as handle:
                rows = pq.read_table(handle).to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            remedy = "write it again as parquet; unpack a packed file first"
            raise BadInput(f"{shard}: not a readable parquet file: {error}", remedy) from error
        for number, row in enumerate(rows, start=1):
            yield f"{name_of(shard, path)}: row {number}", row


def _datasets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        remedy = "give a folder written by Dataset.save_to_disk"
        raise BadInput(f"{path}: not a readable datasets folder: {error}", remedy) from error
    if isinstance(loaded, datasets.DatasetDict):
        raise BadInput(
            f"{path}: holds the splits {', '.join(map(str, loaded))}",
            "give the folder of one split",
        )
    for number, row in enumerate(loaded, start=1):
        yield f"{path.name}: row {number}", row

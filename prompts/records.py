"""The rows of a source, of files in any format or of the hub, after field mapping.

Every kind of rows (prompts, demonstrations, preference pairs) is read with it. A kind derives the
config of its source from `FileRows` and that of its field mapping from `RowFields`:

    bad_rows = BadRows(keep)
    for place, row in records(source, bad_rows):
        try:
            ...                               # validate the row; a mistake is a BadRow
        except BadInput as error:
            bad_rows.meet(source, place, row, error)

A row of a source with `fields` has what they name, and no more; of one without, what the file
has."""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from common.errors import BadInput
from prompts.bad_rows import BadRow, BadRows
from prompts.files import FileRows, HubRows
from prompts.formats import PlacedRow, file_rows, saved_rows
from prompts.hub import hub_rows
from prompts.json_documents import no_split
from prompts.mapping import at_path, mapped
from prompts.shards import bare_ending, is_saved_dataset, root_of, shards

Source = FileRows | HubRows
"""A source of rows."""


def records(
    source: Source, bad_rows: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, such as `train.jsonl.gz:17`. Streams: no file is read as a whole.

    Raises BadInput if a file cannot be read, and for the first bad row unless the source skips
    them: then `bad_rows` gets them."""
    bad_rows = BadRows() if bad_rows is None else bad_rows
    fields = source.mapping()
    for place, raw in _placed(source):
        row: Any = raw
        try:
            if isinstance(raw, BadRow):
                row = raw.row
                raise raw
            at = where(source, place)
            if _is_wanted(at, raw, source.where):
                yield place, mapped(at, raw, fields) if fields else raw
        except BadRow as error:
            bad_rows.meet(source, place, row, error)


def _is_wanted(at: str, row: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a row has the values that its source asks for. BadRow where it lacks a path."""
    found = ((at_path(at, row, path, "where"), value) for path, value in wanted.items())
    return all(type(one) is type(value) and one == value for one, value in found)


def where(source: Source, place: str) -> str:
    """A row's place in messages: with the folder of its file."""
    return place if isinstance(source, HubRows) else os.path.join(root_of(Path(source.path)), place)


def require_rows(source: Source, good: int, bad_rows: BadRows) -> None:
    """Raise BadInput if a source has no good row."""
    bad = bad_rows.skipped(source)
    if good:
        return
    if not bad and source.where:
        raise BadInput(
            f"{source.described}: no row has what `where` asks for, {source.where}",
            "correct `where` of the source: values are compared with their types, and those of"
            " tables are texts",
        )
    if not bad:
        raise BadInput(f"{source.described}: holds no rows", "put at least two rows into it")
    raise BadInput(
        f"{source.described}: all {bad} rows are bad, the first: {bad_rows.first[source.name]}",
        "correct `fields` of the source, or its rows",
    )


def _placed(source: Source) -> Iterator[PlacedRow]:
    """The rows as the files hold them, with places relative to `root_of` the source's path."""
    if isinstance(source, HubRows):
        name = source.described
        return ((f"{name}{place}", row) for place, row in hub_rows(source))
    path, kind = Path(source.path), source.source
    if not path.exists():
        shards(path, "file")  # raises unless it is a pattern
    saved = kind == "file" and is_saved_dataset(path)
    if kind == "datasets" or saved:
        return ((f"{path.name}{place}", row) for place, row in saved_rows(path, source.split))
    return chain.from_iterable(_shard(file, source) for file in shards(path, kind))


def _shard(file: Path, source: FileRows) -> Iterator[PlacedRow]:
    if source.split is not None and (source.source != "file" or bare_ending(file.name) != ".json"):
        raise no_split(file, source.split)
    name = file.relative_to(root_of(Path(source.path)))
    for place, row in file_rows(file, source.source, source.split):
        yield f"{name}{place}", row

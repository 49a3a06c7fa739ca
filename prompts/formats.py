"""The rows of one file, streamed: JSON lines, a JSON document, a table, parquet, arrow; and those
of a saved data set of the `datasets` library."""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import BadInput
from prompts.bad_rows import BadRow
from prompts.json_documents import document_rows, no_split
from prompts.shards import ARROW, DOCUMENT, PARQUET, TABLE, bare_ending
from prompts.unpack import unpacked

PlacedRow = tuple[str, "dict[str, Any] | BadRow"]
"""Where in its file a row is, such as `:17` or `: row 17`, and the row or what is wrong with it."""
BATCH = 256
"""Rows that are read from parquet at once; with images in other columns they are large."""
LONGEST_ROW = 16 << 20
"""Bytes of a cell. A `.json` file whose first line is longer is one document."""


def file_rows(file: Path, kind: str, split: str | None) -> Iterator[PlacedRow]:
    """The rows of a file. `kind` is that of the source: `file` tells by the name and, for `.json`,
    by the content. Raises BadInput if the file as a whole cannot be read."""
    ending = bare_ending(file.name)
    if kind == "parquet" or (kind == "file" and ending in PARQUET):
        yield from _parquet(file)
        return
    if kind == "file" and ending in ARROW:
        yield from _arrow(file)
        return
    with unpacked(file) as stream:
        if kind == "file" and ending in TABLE:
            yield from _table(file, stream, ending)
        elif kind == "file" and ending in DOCUMENT and not _is_lines(file):
            yield from document_rows(file, stream, split)
        else:
            if split is not None:
                raise no_split(file, split)
            yield from _lines(file, stream)


def _is_lines(file: Path) -> bool:
    """Whether a `.json` file holds JSON lines: its first line is a whole object, and more
    follows."""
    with unpacked(file) as stream:
        first = stream.readline(LONGEST_ROW)
        while first and not first.strip():
            first = stream.readline(LONGEST_ROW)
        try:
            whole = isinstance(json.loads(first.decode("utf-8-sig", "replace")), dict)
        except (ValueError, RecursionError):
            return False
        return whole and any(line.strip() for line in stream)


def _lines(file: Path, stream: BinaryIO) -> Iterator[PlacedRow]:
    """Rows with `:line`. Blank lines count as lines and are skipped."""
    for number, line in enumerate(stream, start=1):
        if line.strip() and (number > 1 or line.strip() != b"\xef\xbb\xbf"):
            yield f":{number}", _object(line, number, f"{file}:{number}")


def _object(line: bytes, number: int, where: str) -> dict[str, Any] | BadRow:
    remedy = "put one JSON object on each line"
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        detail = f": {error.reason} (byte {error.start})"
        given = line.decode("utf-8", "backslashreplace")
        return BadRow(where, "not UTF-8", "save it as UTF-8 text", detail=detail, row=given)
    except (ValueError, RecursionError) as error:
        given = line.decode("utf-8-sig").rstrip("\r\n")
        return BadRow(where, "not JSON", remedy, detail=f": {error}", row=given)
    if not isinstance(row, dict):
        return BadRow(where, f"not a JSON object but {type(row).__name__}", remedy, row=row)
    return row


def _table(file: Path, stream: BinaryIO, ending: str) -> Iterator[PlacedRow]:
    """Rows with `:line`, of the first line of a cell that has several. All values are texts."""
    # The default refuses cells of more than 128 KiB; without a limit, a quote that is not closed
    # would take the rest of the file into memory.
    csv.field_size_limit(LONGEST_ROW)
    text, start = io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), 1
    try:
        first = text.readline()
        delimiter = "\t" if ending == ".tsv" else max(",;\t", key=first.count)
        lines = _chained(first, text)
        # Strict, as a quote that is not closed would make one cell of all rows after it.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, [])
        if not header or len(set(header)) < len(header) or not all(header):
            raise BadInput(
                f"{file}:1: the first line must name the columns, each once; it has {header}",
                "write the names of the columns into the first line",
            )
        start = reader.line_num + 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if len(cells) == len(header):
                yield f":{line}", dict(zip(header, cells, strict=True))
            elif cells:
                yield (
                    f":{line}",
                    BadRow(
                        f"{file}:{line}",
                        "not as many cells as there are columns",
                        f'quote cells that contain {delimiter!r} or line breaks as "..."',
                        detail=f": {len(cells)} for {len(header)}",
                        row=cells,
                    ),
                )
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{file}: not UTF-8: {error.reason}", "save the table as UTF-8 text"
        ) from error
    except csv.Error as error:
        remedy = "close the quotes of every cell, or write it again as CSV"
        raise BadInput(f"{file}:{start}: not a table: {error}", remedy) from error


def _chained(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest


def _parquet(file: Path) -> Iterator[PlacedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A handle: with a path, pyarrow would look for partitions in the names of its folders.
        with unpacked(file) as stream, _seekable(file, stream) as handle:
            number = 0
            for batch in pq.ParquetFile(handle).iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f": row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file}: not a readable parquet file: {error}", "write it again as parquet"
        ) from error


def _arrow(file: Path) -> Iterator[PlacedRow]:
    """Rows of an arrow stream, which is what the `datasets` library writes."""
    import pyarrow as pa

    try:
        with unpacked(file) as stream:
            tables = pa.ipc.open_stream(stream)
            yield from numbered(row for batch in tables for row in batch.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file}: not a readable arrow stream: {error}",
            "save it with `save_to_disk` of the datasets library, or as parquet",
        ) from error


def _seekable(file: Path, stream: BinaryIO) -> Any:
    """The stream, or an unpacked copy of it on disk: parquet is read from its end."""
    with file.open("rb") as start:
        if start.read(4) == b"PAR1":
            return stream
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(stream, copy, 1 << 20)
    copy.seek(0)
    return copy


def saved_rows(folder: Path, split: str | None) -> Iterator[PlacedRow]:
    """The rows of a folder that `save_to_disk` wrote, of the named split if it has several."""
    import datasets

    try:
        loaded: Any = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        remedy = "give a folder written by Dataset.save_to_disk"
        raise BadInput(f"{folder}: not a readable datasets folder: {error}", remedy) from error
    if split is not None and not hasattr(loaded, "keys"):
        raise no_split(folder, split)
    yield from numbered(of_split(loaded, str(folder), split))


def of_split(loaded: Any, name: str, split: str | None) -> Any:
    """The rows of the named split. Raises BadInput if it is needed and not given, or not there."""
    if not hasattr(loaded, "keys"):
        return loaded
    splits = [str(key) for key in loaded]
    if split in splits:
        return loaded[split]
    got = f", and no {split}" if split is not None else ""
    raise BadInput(
        f"{name}: holds the splits {', '.join(splits)}{got}",
        f"name one in the source: `split: {splits[0]}`" if splits else "save it again",
    )


def numbered(rows: Any) -> Iterator[PlacedRow]:
    for number, row in enumerate(rows, start=1):
        yield f": row {number}", row

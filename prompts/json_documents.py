"""The rows of one JSON document, streamed: an array of objects, or an object with such a list, as
in `{"version": "1.1", "data": [...]}`. Only one row is in memory at a time."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import BadInput
from prompts.bad_rows import BadRow

CHUNK = 1 << 18
"""Bytes that are read at once."""
_SPACE = re.compile(r"[ \t\r\n]*")
_OF_TURNS = ("role", "from")
"""What the turns of a conversation have, and rows have not."""
_NEAR_END = 16
"""Characters, more than any escape or word of JSON has."""


class _Text:
    """The text of a stream from a position on, as far as it has been read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._ended = False

    def _more(self) -> bool:
        """Read on, at least as much again as is unread, so that long values take linear time."""
        if self._ended:
            return False
        chunk = self._stream.read(max(CHUNK, len(self._text) - self._at))
        self._ended = not chunk
        self._text = self._text[self._at :] + self._decode(chunk, final=self._ended)
        self._at = 0
        return True

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, allowed: str) -> str:
        """Pass the next character and return it. ValueError if it is not allowed."""
        found = self.peek()
        if not found or found not in allowed:
            wanted = " or ".join(map(repr, allowed))
            raise ValueError(f"expected {wanted}, got {found or 'the end of the file'!r}")
        self._at += 1
        return found

    def value(self) -> Any:
        """Pass the next value and return it. ValueError if there is none."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                # Mistakes are not searched to the end of the file: only what may be cut off here.
                cut = error.pos >= len(self._text) - _NEAR_END or "Unterminated" in error.msg
                if not cut or not self._more():
                    raise ValueError(error.msg) from None
                continue
            # A number may go on in what is not read yet.
            if end < len(self._text) or not self._more():
                self._at = end
                return value


def document_rows(
    file: Path, stream: BinaryIO, split: str | None
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """The rows of the document, each with `: row N`. `split` names the list of an object that has
    several. Raises BadInput for a document without rows."""
    text, last = _Text(stream), "before the first row"
    try:
        for place, row in _rows(file, text, split):
            last = f"after{place.removeprefix(':')}"
            yield place, row
        if text.peek():
            raise ValueError("more follows the end of the document")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: not UTF-8: {error.reason}", "save it as UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        remedy = "write an array of objects, or one JSON object on each line"
        raise BadInput(f"{file}: not JSON {last}: {error}", remedy) from error


def _rows(
    file: Path, text: _Text, split: str | None
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    if text.peek() == "[":
        if split is not None:
            raise no_split(file, split)
        text.skip("[")
        yield from _placed(file, _items(text))
    elif text.peek() == "{":
        yield from _object(file, text, split)
    else:
        raise ValueError("neither an array nor an object")


def _placed(file: Path, values: Iterator[Any]) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    for number, row in enumerate(values, start=1):
        place = f": row {number}"
        if isinstance(row, dict):
            yield place, row
        else:
            what = f"not a JSON object but {type(row).__name__}"
            yield place, BadRow(f"{file}{place}", what, "put JSON objects into the list", row=row)


def _items(text: _Text) -> Iterator[Any]:
    """The items of an array whose bracket is passed."""
    if text.peek() == "]":
        text.skip("]")
        return
    yield text.value()
    while text.skip(",]") == ",":
        yield text.value()


def _object(
    file: Path, text: _Text, split: str | None
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """The rows of the object's list of objects; an object without such a list is a row itself, and
    so is one whose lists are the turns of a conversation."""
    read, lists, row = False, list[str](), dict[str, Any]()
    for name in _names(text):
        if text.peek() != "[":
            row[name] = text.value()
            continue
        text.skip("[")
        items = _items(text)
        first = list(islice(items, 1))
        if not first or not _is_row(first[0]):
            row[name] = [*first, *items]
            continue
        lists.append(name)
        if name == split or (split is None and not read):
            read = True
            yield from _placed(file, chain(first, items))
        else:
            for _ in items:
                pass
    if not lists and split is None:
        yield ": row 1", row
    elif not read or (split is None and len(lists) > 1):
        has = f"has the lists {', '.join(lists)}" if lists else "has no list of objects"
        got = "" if split is None else f", and no {split}"
        remedy = f"name one in the source: `split: {lists[0]}`" if lists else "name another file"
        raise BadInput(f"{file}: an object that {has}{got}", remedy)


def _is_row(item: Any) -> bool:
    """Whether a list that begins with the item is one of rows, and no conversation."""
    return isinstance(item, dict) and not any(name in item for name in _OF_TURNS)


def no_split(place: Path, split: str) -> BadInput:
    """The error of a split that is asked of rows without any."""
    return BadInput(
        f"{place}: has no splits, and the source names {split!r}",
        "remove `split`, and name the files of one split in `path`",
    )


def _names(text: _Text) -> Iterator[str]:
    """The names of an object, each with the text before its value, which must be passed."""
    text.skip("{")
    if text.peek() == "}":
        text.skip("}")
        return
    while True:
        name = text.value()
        if not isinstance(name, str):
            raise ValueError(f"a name must be a text, got {name!r}")
        text.skip(":")
        yield name
        if text.skip(",}") == "}":
            return

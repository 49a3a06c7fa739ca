"""Follows a log of JSON lines that another process writes, and that a resumed stage cuts back."""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO


class Follower:
    """Gives each complete line once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """May change: a finished stage's folder gets another name."""
        self._offset = 0
        self._last = b""
        """The last line that was read, which ends at the offset."""
        self._digest = hashlib.sha256()
        """Of everything that was read."""

    def read(self, whole: bool = False) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the log was cut back, and the lines since the last call. After a cut these are
        all lines again.

        A log that was cut back and has grown again is known by its last line, and with `whole`,
        which reads all of it, by every byte."""
        try:
            with self.path.open("rb") as handle:
                if cut := not self._goes_on(handle, whole):
                    self._forget()
                handle.seek(self._offset)
                data = handle.read()
        except FileNotFoundError:
            cut = self._offset > 0
            self._forget()
            return cut, []
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        for line in lines:
            self._offset, self._last = self._offset + len(line), line
            self._digest.update(line)
        return cut, [json.loads(line) for line in lines if line.strip()]

    def _goes_on(self, handle: BinaryIO, whole: bool) -> bool:
        """Whether what was read is still there."""
        if whole:
            read = handle.read(self._offset)
            return hashlib.sha256(read).digest() == self._digest.digest()
        handle.seek(self._offset - len(self._last))
        return handle.read(len(self._last)) == self._last

    def _forget(self) -> None:
        self._offset, self._last, self._digest = 0, b"", hashlib.sha256()

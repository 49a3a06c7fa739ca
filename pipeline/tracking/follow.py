"""Follows a log of JSON lines that another process writes, and that a resumed stage cuts back."""

import json
from pathlib import Path
from typing import Any


class Follower:
    """Gives each complete line once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """May change: a finished stage's folder gets another name."""
        self._offset = 0
        self._last = b""
        """The last line that was read, which ends at the offset."""

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the log was cut back, and the lines since the last call. After a cut these are
        all lines again."""
        try:
            with self.path.open("rb") as handle:
                handle.seek(self._offset - len(self._last))
                cut = handle.read(len(self._last)) != self._last
                if cut:
                    self._offset, self._last = 0, b""
                handle.seek(self._offset)
                data = handle.read()
        except FileNotFoundError:
            cut, self._offset, self._last = self._offset > 0, 0, b""
            return cut, []
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines:
            self._offset += sum(map(len, lines))
            self._last = lines[-1]
        return cut, [json.loads(line) for line in lines if line.strip()]

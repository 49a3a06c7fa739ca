"""Checksums of large files, kept so that a file that has not changed is not read again.

Each is a small sealed file in one folder, named by the path it is of: whole or not there, so
several runs may write it at once; and not believed when it is damaged. Deleting the folder is safe.
"""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import checksum, read_sealed, write_sealed

LARGE = 1 << 20
"""Smaller files are read every time, which takes milliseconds."""
SETTLED_NS = 2 * 10**9
"""The coarsest clock of a file system (FAT's ticks). A file that changed less than this before it
was read may change once more and keep its times, so that its checksum is not kept: git calls it
racily clean."""


@dataclass(frozen=True)
class Stamp:
    """By what a file is taken to be unchanged. Its modification time can be set back, that of its
    inode cannot."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    def settled(self, read_ns: int) -> bool:
        """Whether a change after `read_ns`, when reading began, would show in another stamp."""
        return read_ns - max(self.modified_ns, self.changed_ns) > SETTLED_NS

    def __str__(self) -> str:
        return f"{self.size} {self.modified_ns} {self.changed_ns} {self.inode}"


class Checksums:
    """Gives checksums; remembers which of them it did not compute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where they are kept."""
        self.trusted: list[Path] = []
        """The files that were not read."""
        self.problem = ""
        """Why checksums could not be kept, which costs time only."""

    def of(self, path: Path) -> str:
        """The SHA-256 of a file: that of its bytes, or the kept one of a file with the same
        stamp."""
        before, now = Stamp.of(path), time.time_ns()
        if before.size < LARGE:
            return checksum(path)
        kept = self._kept(path, before)
        if kept is not None:
            self.trusted += [] if path in self.trusted else [path]
            return kept
        found = checksum(path)
        if before.settled(now) and Stamp.of(path) == before:
            self._keep(path, before, found)
        return found

    def _place(self, path: Path) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"

    def _kept(self, path: Path, stamp: Stamp) -> str | None:
        try:
            kept = read_sealed(self._place(path))
        except (OSError, ValueError):  # none was kept, or it is damaged and about to be replaced
            return None
        return str(kept["checksum"]) if kept.get("stamp") == str(stamp) else None

    def _keep(self, path: Path, stamp: Stamp, found: str) -> None:
        name = os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_sealed(self._place(path), {"path": name, "stamp": str(stamp), "checksum": found})
        except OSError as error:
            self.problem = (
                f"checksums cannot be kept in {self.folder} ({error.strerror}): files are read"
                " every time"
            )

    def remarks(self) -> list[str]:
        """What a person should know: of what no byte was read, a line a folder."""
        return [
            *trust_lines(list(map(str, self.trusted)), self.folder),
            *([self.problem] if self.problem else []),
        ]


def trust_lines(files: Sequence[str], folder: Path) -> list[str]:
    """A line for each folder of `files`, whose checksums were taken from those kept in `folder`."""
    names = defaultdict(list)
    for file in files:
        names[os.path.dirname(file)].append(os.path.basename(file))
    unchanged = (
        f"trusted from {folder} (size, times and inode unchanged; delete that folder to have it"
        " read again)"
    )
    lines = []
    for place, found in names.items():
        what = (
            os.path.join(place, found[0]) if len(found) == 1 else f"{len(found)} files in {place}"
        )
        lines.append(f"checksum of {what} {unchanged}")
    return lines

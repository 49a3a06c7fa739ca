"""A cache of large files' checksums, so that an unchanged file is not read again.

Each checksum is a small sealed file in one folder, named after the file's path. It is written
atomically, so several runs may write it at once. A damaged one is ignored. Deleting the folder is
safe."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import checksum, read_sealed, write_sealed

LARGE = 1 << 20
"""Bytes. Smaller files are read every time, which takes milliseconds."""
SETTLED_NS = 2 * 10**9
"""The coarsest time resolution of a file system (FAT). A file that changed less than this before it
was read may change again without a change of its times, so its checksum is not cached. Git calls
such a file racily clean."""


@dataclass(frozen=True)
class Stamp:
    """Two equal stamps mean that a file is unchanged. Its modification time can be set back; the
    change time of its inode cannot."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    def settled(self, read_ns: int) -> bool:
        """Whether a change after `read_ns`, when reading began, would give another stamp."""
        return read_ns - max(self.modified_ns, self.changed_ns) > SETTLED_NS

    def __str__(self) -> str:
        return f"{self.size} {self.modified_ns} {self.changed_ns} {self.inode}"


class Checksums:
    """Computes checksums or takes them from the cache, and lists the files it did not read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where the checksums are cached."""
        self.trusted: list[Path] = []
        """The files that were not read, as their checksums were cached."""
        self.problem = ""
        """Why checksums could not be cached; this costs only time."""

    def of(self, path: Path) -> str:
        """The SHA-256 of a file: of its bytes, or from the cache if the stamp is the same."""
        before, now = Stamp.of(path), time.time_ns()
        if before.size < LARGE:
            return checksum(path)
        cached = self._cached(path, before)
        if cached is not None:
            self.trusted += [] if path in self.trusted else [path]
            return cached
        computed = checksum(path)
        if before.settled(now) and Stamp.of(path) == before:
            self._cache(path, before, computed)
        return computed

    def _cache_file(self, path: Path) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"

    def _cached(self, path: Path, stamp: Stamp) -> str | None:
        try:
            cached = read_sealed(self._cache_file(path))
        except (OSError, ValueError):  # not cached, or damaged and about to be replaced
            return None
        return str(cached["checksum"]) if cached.get("stamp") == str(stamp) else None

    def _cache(self, path: Path, stamp: Stamp, computed: str) -> None:
        name = os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            value = {"path": name, "stamp": str(stamp), "checksum": computed}
            write_sealed(self._cache_file(path), value)
        except OSError as error:
            self.problem = (
                f"checksums cannot be cached in {self.folder} ({error.strerror}): files are read"
                " every time"
            )

    def remarks(self) -> list[str]:
        """One line per folder whose files were not read, and why nothing could be cached."""
        return [
            *trust_lines(list(map(str, self.trusted)), self.folder),
            *([self.problem] if self.problem else []),
        ]


def trust_lines(files: Sequence[str], folder: Path) -> list[str]:
    """One line per folder of `files`, whose checksums come from the cache in `folder`."""
    names = defaultdict(list)
    for file in files:
        names[os.path.dirname(file)].append(os.path.basename(file))
    unchanged = (
        f"trusted from {folder} (size, times and inode unchanged; delete that folder to have it"
        " read again)"
    )
    lines = []
    for place, inside in names.items():
        what = (
            os.path.join(place, inside[0])
            if len(inside) == 1
            else f"{len(inside)} files in {place}"
        )
        lines.append(f"checksum of {what} {unchanged}")
    return lines

"""Atomic files: complete or absent. Damage to them is detected by checksums, beside or inside
them."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that a crash leaves the old content or the new, never a part.

    The folder must exist: a missing one may be on a disk that was unmounted.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(partial, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. Non-finite numbers are errors."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SEAL = "sha256"
"""The last key of a sealed file: the SHA-256 of the file's bytes with zeros in this place."""
_OPEN = "0" * 64


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as JSON with a checksum of its own bytes, atomically."""
    text = json.dumps({**value, SEAL: _OPEN}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text.replace(_OPEN, hashlib.sha256(text.encode()).hexdigest()))


def read_sealed(path: Path) -> dict[str, Any]:
    """The value that `write_sealed` wrote. Raises ValueError when a byte of it has changed, OSError
    when it is missing."""
    data = path.read_bytes()
    try:
        value = json.loads(data)
        seal = value.pop(SEAL)
        whole = hashlib.sha256(data.replace(seal.encode(), _OPEN.encode())).hexdigest() == seal
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: is damaged, or was not written by uphill: {error}") from None
    if not whole:
        raise ValueError(f"{path}: has changed since it was written (its SHA-256 differs)")
    return dict(value)


def append_json_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line. A crash may lose the last line."""
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(value, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write JSON lines, atomically."""
    lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSON lines file, without an incomplete last line; [] without a
    file."""
    return list(each_json_line(path))


def each_json_line(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a JSON lines file, one after the other. A last line that is still being
    written, which may end within a character, is left out. None without a file."""
    if not path.exists():
        return
    with open(path, "rb") as handle:
        for line in handle:
            if line.endswith(b"\n") and line.strip():
                yield json.loads(line.decode("utf-8"))


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def same_file(handle: int, path: Path) -> bool:
    """Whether `path` still names the open file. It does not after a disk was unmounted, or a folder
    moved or replaced."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below `folder`, in a stable order."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))

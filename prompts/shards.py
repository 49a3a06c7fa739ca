"""The files of a source: one file, or all shards directly in a folder. Packed ones are unpacked."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

from common.errors import BadInput

ENDINGS = {"jsonl": (".jsonl", ".ndjson", ".json"), "parquet": (".parquet", ".pq")}
"""File name endings of shards, by the kind of source."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".br", ".sz")
_UNPACK: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
)
"""First bytes of files that the standard library can unpack. JSON cannot begin with them."""
_CANNOT = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xff\x06\x00\x00sN", "snappy"),
)


def shards(path: Path, kind: str) -> list[Path]:
    """The files to read, in the order of their names. Raises BadInput if `path` does not exist or
    is a folder without any."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInput(
            f"{path}: no such file or folder", "correct `path` in the recipe's `prompts`"
        )
    files = sorted(file for file in path.iterdir() if file.is_file() and _is_shard(file.name, kind))
    if not files:
        endings = " or ".join(f"*{ending}" for ending in ENDINGS[kind])
        below = sorted(
            folder.name
            for folder in path.iterdir()
            if folder.is_dir() and not folder.name.startswith(".")
        )
        remedy = (
            f"name one of its folders: {', '.join(below[:5])}"
            if below
            else "name a file, or a folder of shards"
        )
        raise BadInput(f"{path}: a folder without {endings} in it", remedy)
    return files


def name_of(shard: Path, path: Path) -> str:
    """The name of a shard of the source at `path`, relative to the source's parent folder."""
    return path.name if shard == path else f"{path.name}/{shard.name}"


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked if it is packed. Raises BadInput if it cannot be unpacked."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error}", "make it readable") from error
    for start, packer in _CANNOT:
        if data.startswith(start):
            raise BadInput(
                f"{path}: packed with {packer}, which is not read",
                "unpack it, or pack it as .gz, .bz2 or .xz",
            )
    for start, unpack in _UNPACK:
        if data.startswith(start):
            try:
                return unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise BadInput(
                    f"{path}: damaged, it does not unpack: {error}", "copy or pack it again"
                ) from error
    return data


def _is_shard(name: str, kind: str) -> bool:
    bare = name
    for ending in PACKED:
        bare = bare.removesuffix(ending)
    return not name.startswith((".", "_")) and bare.lower().endswith(ENDINGS[kind])

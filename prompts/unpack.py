"""Opens files, packed or not, as a stream of bytes. The first bytes tell how a file is packed."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from common.errors import BadInput

_ZSTD = b"\x28\xb5\x2f\xfd"
_CANNOT = (
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xff\x06\x00\x00sN", "snappy"),
)
"""Neither JSON, nor a table, nor parquet begins with these bytes or with those of `_OPEN`."""


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The file's content, unpacked while it is read. Raises BadInput if it cannot be read, also
    inside the `with` block."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        packer = next((name for first, name in _CANNOT if start.startswith(first)), None)
        if packer:
            raise BadInput(
                f"{path}: packed with {packer}, which is not read",
                "unpack it, or pack it as .gz, .bz2, .xz or .zst",
            )
        opener = next((opened for first, opened in _OPEN if start.startswith(first)), None)
        with opener(path) if opener else path.open("rb") as stream:
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # bz2 and zstd report damaged content as an OSError without a number.
        if error.errno is None:
            raise _damaged(path, error) from error
        raise BadInput(f"{path}: cannot be read: {error}", "make it readable") from error


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(f"{path}: damaged, it does not unpack: {error}", "copy or pack it again")


def _zstd(path: Path) -> BinaryIO:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return io.BufferedReader(cast(io.RawIOBase, stream), 1 << 18)


def _gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb"))


def _bz2(path: Path) -> BinaryIO:
    return cast(BinaryIO, bz2.open(path, "rb"))


def _lzma(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.open(path, "rb"))


_OPEN: tuple[tuple[bytes, Callable[[Path], BinaryIO]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bz2),
    (b"\xfd7zXZ\x00", _lzma),
    (_ZSTD, _zstd),
)

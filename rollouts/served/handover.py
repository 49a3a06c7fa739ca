"""New weights on their way to a server: one safetensors file, written tensor by tensor, and a
checksum over what is in it.

The header of a safetensors file stands before the tensors and names them all. Its place is kept
free, with spaces up to the first tensor, so weights that are gathered or merged while they are
written are never held twice. On one machine the file is anonymous memory that servers open through
`/proc`: it vanishes with the process that wrote it, however that ends."""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from uuid import uuid4

import torch
from torch import Tensor

from common.errors import BadInput, RunFailed
from models.tensors import stored_tensors

HEADER_BYTES = 1 << 20
"""Room for the header: about 7,000 tensors."""
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
}
"""Names of dtypes in safetensors files."""
PREFIX = "uphill-weights-"


class Handover:
    """Weights of one policy version in a file. `with` or `close` removes it."""

    def __init__(self, folder: Path | None) -> None:
        """In anonymous memory, or below `folder` if there is one. BadInput if it cannot be
        written."""
        self._file: BinaryIO
        if folder is None:
            descriptor = os.memfd_create("uphill-weights", os.MFD_CLOEXEC)
            self._file, self._below = os.fdopen(descriptor, "w+b"), None
            self.path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
            """Where a server reads the file."""
        else:
            self.path = self._below = folder / f"{PREFIX}{uuid4().hex}.safetensors"
            try:
                self._file = self.path.open("w+b")
            except OSError as error:
                raise BadInput(
                    f"{folder}: weights cannot be handed over here: {error.strerror}",
                    "name a folder in `weights_dir` that the stage and all servers share",
                ) from None
        self.checksum = ""
        """Of the names and values of all tensors."""

    def write(self, weights: Iterable[tuple[str, Tensor]]) -> Self:
        """Write all tensors and the header. RunFailed where the header has no room for them."""
        header, place, digest = dict[str, object](), 0, Digest()
        self._file.seek(8 + HEADER_BYTES)
        for name, tensor in weights:
            data = digest.add(name, tensor)
            shape = list(tensor.shape)
            end = place + data.nbytes
            header[name] = {
                "dtype": DTYPES[tensor.dtype],
                "shape": shape,
                "data_offsets": [place, end],
            }
            self._file.write(data)
            place = end
        text = json.dumps(header).encode()
        if len(text) > HEADER_BYTES:
            raise RunFailed(
                f"the names of {len(header)} tensors take {len(text)} bytes, more than the"
                f" {HEADER_BYTES} of a handover",
                "report this: HEADER_BYTES is too small for this model",
            )
        self._file.seek(0)
        self._file.write(struct.pack("<Q", HEADER_BYTES) + text.ljust(HEADER_BYTES))
        self._file.flush()
        self.checksum = digest.value()
        return self

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        if self._below is not None:
            self._below.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Digest:
    """SHA-256 over tensors in their order: name, dtype, shape and bytes."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, name: str, tensor: Tensor) -> memoryview:
        """Add a tensor; returns its bytes, in the CPU's memory."""
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().data
        self._sum.update(f"{name} {DTYPES[tensor.dtype]} {list(tensor.shape)}\n".encode())
        self._sum.update(data)
        return data

    def value(self) -> str:
        """The checksum of what was added."""
        return self._sum.hexdigest()


def tensors(path: Path | str) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a handover, in the order in which they were written."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in file.offset_keys():
            yield name, file.get_tensor(name)


def checkpoint_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a checkpoint folder, one in memory at a time."""
    from safetensors import safe_open

    stored = stored_tensors(folder)
    for path in sorted({one.file for one in stored.values()}):
        with safe_open(path, "pt") as file:
            for name in sorted(name for name, one in stored.items() if one.file == path):
                yield name, file.get_tensor(name)


def checksum_of(weights: Iterable[tuple[str, Tensor]]) -> str:
    """The checksum of named tensors."""
    digest = Digest()
    for name, tensor in weights:
        digest.add(name, tensor)
    return digest.value()

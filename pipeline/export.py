"""`uphill export`: a stage's checkpoint as a folder of its own, proven to be what the stage wrote."""

import shutil
from pathlib import Path
from typing import Any

from common.errors import BadInput, RunFailed
from common.files import checksum
from pipeline.record import sync_folder
from pipeline.run_folder import Checkpoint


def export(checkpoint: Checkpoint, target: Path) -> dict[str, Any]:
    """Copy the checkpoint to `target`, whole or not at all. BadInput if something is there already."""
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise BadInput(f"{target}: is there already and not an empty folder", "name a new folder")
        partial = target.with_name(f"{target.name}.partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        files = _copy(checkpoint, partial)
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        message = f"{target}: cannot be written to: {error.strerror or error}"
        raise BadInput(message, "name a folder in a place that can be written to") from None
    return {"stage": checkpoint.node.id, "run": checkpoint.plan.name, "path": str(target), "files": files}


def _copy(checkpoint: Checkpoint, partial: Path) -> list[str]:
    """Copy the recorded files; the copies' checksums must be those of the record. Returns their names."""
    record = checkpoint.state.record or {}
    prefix = f"{checkpoint.folder.name}/"
    names = [name for name in record["files"] if name.startswith(prefix)]
    for name in names:
        source, copy = checkpoint.state.folder / name, partial / name.removeprefix(prefix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():
            raise RunFailed(f"{source}: is missing", f"make it again with `--redo {checkpoint.node.id}`")
        shutil.copyfile(source, copy)
        if checksum(copy) != record["files"][name]["sha256"]:
            shutil.rmtree(partial)
            raise RunFailed(
                f"{source}: has changed since it was recorded", f"make it again with `--redo {checkpoint.node.id}`"
            )
    return [name.removeprefix(prefix) for name in names]

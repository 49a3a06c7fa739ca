"""`uphill export`: copies a stage's checkpoint to another folder, checks the copy against the
record and writes a model card beside it."""

import ctypes
import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

from common.errors import BadInput, RunFailed
from common.files import checksum, write_text
from pipeline.cli.card.page import CARD, card_text, is_own_card
from pipeline.execution.run_folder import Checkpoint
from pipeline.store.record import ATTEMPT, RECORD, sync_folder

CHECKPOINT_FILES = re.compile(
    r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|tokenizer\.model|merges\.txt|vocab\.txt"
    r"|chat_template\.jinja|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
    r"|chat_template|preprocessor_config|processor_config)\.json"
)
"""File names of a Hugging Face checkpoint. A folder that contains any other file is never
replaced."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def export(
    checkpoint: Checkpoint, target: Path, force: bool = False, licence: str | None = None
) -> dict[str, Any]:
    """Copy the checkpoint to `target`, completely or not at all. BadInput if `target` exists and is
    not empty.

    With `force` an existing checkpoint is replaced in one step; anything else is still refused.
    `licence` is the one that the model card names. Returns the document of `export --json`."""
    place = Path(os.path.abspath(target))
    card = card_text(checkpoint, licence)
    try:
        replaced = _require_free(place, force)
        partial = _working_folder(place)
        partial.parent.mkdir(parents=True, exist_ok=True)
        files = _copy(checkpoint, partial)
        write_text(partial / CARD, card)
        if replaced:
            _exchange(partial, place)
            _remove(partial, replaced)
        else:
            partial.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        message = f"{target}: cannot be written to: {error.strerror or error}"
        raise BadInput(message, "name a folder in a writable place") from None
    return {
        "stage": checkpoint.node.id,
        "run": checkpoint.plan.name,
        "path": str(target),
        "files": [*files, CARD],
        "replaced": bool(replaced),
    }


def _require_free(place: Path, force: bool) -> list[str]:
    """BadInput unless `place` may be written to. Returns the names of the files to replace."""
    for folder in place.parents:
        if (folder / RECORD).exists() or (folder / ATTEMPT).exists():
            raise BadInput(
                f"{place}: is inside {folder}, a stage's folder of a run",
                "name a folder elsewhere",
            )
    if place in (Path.cwd(), *Path.cwd().parents):
        raise BadInput(
            f"{place}: is the current folder or contains it",
            "name a folder below it, or change the current folder",
        )
    if not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir())):
        return []
    if not force:
        message = f"{place}: already exists and is not an empty folder"
        raise BadInput(message, "name a new folder, or give --force to replace a checkpoint")
    if place.is_symlink() or not place.is_dir():
        raise BadInput(
            f"{place}: is not a folder, and --force replaces only folders", "name the folder itself"
        )
    names = _names(place)
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise BadInput(
            f"{place}: is not a checkpoint (config.json and *.safetensors)", "name another folder"
        )
    return names


def _working_folder(place: Path) -> Path:
    """The folder that the copy is written to, beside the target. Removes what a killed export left
    in it."""
    partial = place.with_name(f".{place.name}.uphill-export")
    if partial.exists():
        _names(partial)
        shutil.rmtree(partial)
    return partial


def _names(folder: Path) -> list[str]:
    """The names of a folder's files. BadInput if some are not files of a checkpoint."""
    names = sorted(path.name for path in folder.iterdir())
    other = [name for name in names if not _is_checkpoint_file(folder / name)]
    if other:
        message = (
            f"{folder}: contains {', '.join(other[:3])}{' and more' if other[3:] else ''}, not part"
            " of a checkpoint"
        )
        raise BadInput(
            message, "move it elsewhere, or name another folder: only checkpoints are replaced"
        )
    return names


def _is_checkpoint_file(path: Path) -> bool:
    return (
        path.is_file()
        and not path.is_symlink()
        and (CHECKPOINT_FILES.fullmatch(path.name) is not None or _is_card(path))
    )


def _is_card(path: Path) -> bool:
    """Whether it is a model card as an export wrote it. One that a person has changed is
    theirs."""
    return path.name == CARD and is_own_card(path)


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders in one step (renameat2 of Linux), so that both exist at any
    time."""
    names = os.fsencode(one), os.fsencode(other)
    if ctypes.CDLL(None, use_errno=True).renameat2(
        AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE
    ):
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOSYS):
            message = f"{other}: this file system cannot exchange folders, which --force needs"
            raise BadInput(message, "delete the old checkpoint yourself, or name a new folder")
        raise OSError(number, os.strerror(number), str(other))


def _remove(folder: Path, names: list[str]) -> None:
    """Remove an old checkpoint: the checked files, and the folder if nothing was added
    meanwhile."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if left := [path.name for path in folder.iterdir()]:
        message = (
            f"{folder}: {', '.join(left)} was added to the old checkpoint meanwhile; the new"
            " checkpoint is in place"
        )
        raise RunFailed(message, "move it elsewhere")
    folder.rmdir()


def _copy(checkpoint: Checkpoint, partial: Path) -> list[str]:
    """Copy the recorded files and compare the copies' checksums with the record. Returns the
    names."""
    record = checkpoint.state.record or {}
    prefix = f"{checkpoint.folder.name}/"
    names = [name for name in record["files"] if name.startswith(prefix)]
    for name in names:
        source, copy = checkpoint.state.folder / name, partial / name.removeprefix(prefix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():
            raise RunFailed(
                f"{source}: is missing",
                f"run the stage again with `--redo {checkpoint.node.id}`",
            )
        shutil.copyfile(source, copy)
        if checksum(copy) != record["files"][name]["sha256"]:
            shutil.rmtree(partial)
            raise RunFailed(
                f"{source}: has changed since it was recorded",
                f"run the stage again with `--redo {checkpoint.node.id}`",
            )
    return [name.removeprefix(prefix) for name in names]

"""The files of a source: one file, all shards directly in a folder, or the matches of a pattern."""

import glob
from pathlib import Path

from common.errors import BadInput

LINES, DOCUMENT, TABLE = (".jsonl", ".ndjson"), (".json",), (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow",)
ENDINGS = {
    "jsonl": (*LINES, *DOCUMENT),
    "parquet": PARQUET,
    "file": (*LINES, *DOCUMENT, *TABLE, *PARQUET, *ARROW),
}
"""File name endings of shards, by the kind of source."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".br", ".sz")
_MAGIC = "*?["
_ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files beside the shards of a published data set that hold no rows."""
_REMEDY = "correct `path` in the recipe's `prompts`"


def shards(path: Path, kind: str) -> list[Path]:
    """The files to read, in the order of their names. Raises BadInput if `path` does not exist, is
    a folder without any or a pattern without a match."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return _inside(path, kind)
    if not is_pattern(path):
        raise BadInput(f"{path}: no such file or folder", _REMEDY)
    root = root_of(path)
    found = glob.glob(str(path.relative_to(root)), root_dir=root, recursive=True)
    matches = {root / name for name in found}  # two `**` in a pattern match a file twice
    files = sorted(file for file in matches if file.is_file() and not file.name.startswith("."))
    if not files:
        raise BadInput(f"{path}: no file matches this pattern", _REMEDY)
    return files


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern such as `train-*.parquet`. A file of that name is no pattern."""
    return any(mark in str(path) for mark in _MAGIC) and not path.exists()


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk` of the `datasets` library."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def root_of(path: Path) -> Path:
    """The folder to which the places of a source are relative."""
    if not is_pattern(path):
        return path.parent
    return next(
        folder
        for folder in path.parents
        if folder.exists() or not any(mark in str(folder) for mark in _MAGIC)
    )


def bare_ending(name: str) -> str:
    """The ending that says what a file contains, in lower case, without that of a packer."""
    name = name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return Path(name).suffix


def _inside(folder: Path, kind: str) -> list[Path]:
    files = sorted(
        file for file in folder.iterdir() if file.is_file() and _is_shard(file.name, kind)
    )
    if files:
        return files
    endings = " or ".join(f"*{ending}" for ending in ENDINGS[kind])
    below = sorted(
        inner.name for inner in folder.iterdir() if inner.is_dir() and inner.name[0] != "."
    )
    remedy = (
        f"name one of its folders: {', '.join(below[:5])}"
        if below
        else "name a file, or a folder of shards"
    )
    raise BadInput(f"{folder}: a folder without {endings} in it", remedy)


def _is_shard(name: str, kind: str) -> bool:
    return (
        not name.startswith((".", "_"))
        and name not in _ABOUT
        and bare_ending(name) in ENDINGS[kind]
    )

"""What the packaged suites ask, which no training prompt may repeat.

Reading all of them takes seconds, and every run needs it. So their normalised texts are kept in the
cache folder, in a file whose name says which suites and packages it was made from."""

import os
from collections.abc import Container, Iterable
from importlib.metadata import version
from pathlib import Path

from common.files import checksum
from common.fingerprint import fingerprint
from corner_cases import sets
from evals.packaged import OPTIONAL, distribution_of, is_left_out, package_folder
from evals.suite_file import BUILT_IN, FOLDER, packaged_suite, read_suite
from evals.suites import packaged_prompts
from models.packaged import cache_folder
from prompts.decontaminate import Asked

FORMAT = 1
"""Increase it when texts are normalised in another way, so that older files are not used."""
_COLUMNS = ("suite", "id", "question", "target")


def packaged_texts() -> list[Asked]:
    """Every prompt of every packaged suite. Raises BadInput if data is missing."""
    import pyarrow as pa

    path = cache_folder() / f"suites-{_made_from()[:16]}.parquet"
    try:
        return _read(path)
    except (FileNotFoundError, pa.ArrowException, OSError, KeyError):
        texts = [Asked.by(suite, prompt) for suite, prompt in packaged_prompts()]
        _write(path, texts)
        return texts


def not_compared(suites: Iterable[str], compared: Container[str]) -> list[str]:
    """Those of the packaged suites with optional data that training prompts were not compared with,
    because it was not installed then. `compared` are the others."""
    asked = [name for name in suites if name not in BUILT_IN and name not in compared]
    return [name for name in asked if _of(name)]


def _of(suite: str) -> set[str]:
    """The optional packages of a suite."""
    return {one.package for one in packaged_suite(suite).sources if one.package} & OPTIONAL.keys()


def _made_from() -> str:
    """What decides about the texts: the files of suites and of corner cases, and the versions of
    the packages that have the data. BadInput if one that is not optional is not installed."""
    files = [*sorted(FOLDER.glob("*.*")), *sorted(sets.FOLDER.glob("*.jsonl"))]
    packages = {one.package for path in FOLDER.glob("*.yaml") for one in read_suite(path).sources}
    versions = {}
    for package in sorted(name for name in packages if name and not is_left_out(name)):
        package_folder(package)
        versions[package] = version(distribution_of(package))
    return fingerprint([FORMAT, {path.name: checksum(path) for path in files}, versions])


def _read(path: Path) -> list[Asked]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, partitioning=None)
    columns = [table.column(name).to_pylist() for name in _COLUMNS]
    return [Asked(*row) for row in zip(*columns, strict=True)]


def _write(path: Path, texts: list[Asked]) -> None:
    """Keep the texts, complete or not at all. Without a place to write they are read again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {name: [getattr(one, name) for one in texts] for name in _COLUMNS}
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)

"""The files and folders of the person's own that a recipe names: where they are, that they exist,
what is in them.

Paths enter no fingerprint; what the files hold does.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.checksums import Checksums
from common.errors import BadInput
from common.files import checksum, files_below
from common.fingerprint import fingerprint
from models.config import is_template
from models.packaged import PACKAGED, cache_folder
from pipeline.recipe.problems import Problem
from pipeline.recipe.yaml_lines import DataPath, dotted
from pipeline.store.adopted import wrong_stage
from prompts.shards import shards

Read = Callable[[Path], str]
"""Gives the checksum of a file."""
PROMPT_FILES: tuple[str, ...] = ("prompts", "*", "path")
MODEL_FOLDERS: tuple[tuple[str, ...], ...] = (
    ("model", "upcycle"),
    ("model", "checkpoint"),
    ("tokenizer", "upcycle"),
    ("tokenizer", "checkpoint"),
    ("stages", "*", "judge", "model"),
    ("stages", "*", "more_judges", "*", "model"),
)
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf")
TOKENIZER = "tokenizer"
"""A model in the config of the stage that gathers prompts: what is not a weight of its folder
matters there."""
CHAT_TEMPLATE: tuple[str, ...] = ("model", "chat_template")
CHAT_TEMPLATES = (CHAT_TEMPLATE, (TOKENIZER, "chat_template"))
ADOPTED_FOLDERS: tuple[str, ...] = ("stages", "*", "folder")


def user_paths(data: Any) -> Iterator[DataPath]:
    """Where in a recipe's data a file or folder of the person's is named."""
    yield from _matches(data, PROMPT_FILES)
    yield from _matches(data, ADOPTED_FOLDERS)
    for pattern in CHAT_TEMPLATES:
        yield from (path for path in _matches(data, pattern) if _names_a_file(value_at(data, path)))
    for pattern in MODEL_FOLDERS:
        yield from (
            path for path in _matches(data, pattern) if value_at(data, path) not in PACKAGED
        )


def _names_a_file(template: str) -> bool:
    return bool(template.strip()) and not is_template(template)


def value_at(data: Any, path: DataPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _matches(data: Any, pattern: tuple[str, ...], path: DataPath = ()) -> Iterator[DataPath]:
    """Paths of the texts in `data` that fit `pattern`, in which `*` stands for every item of a
    list."""
    if not pattern:
        if isinstance(data, str):
            yield path
    elif pattern[0] == "*" and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _matches(item, pattern[1:], (*path, index))
    elif isinstance(data, dict) and pattern[0] in data:
        yield from _matches(data[pattern[0]], pattern[1:], (*path, pattern[0]))


def make_absolute(data: Any, folder: Path) -> None:
    """Resolve every relative path in `data` against `folder`, the recipe's own, in place. A blank
    one names nothing."""
    for path in list(user_paths(data)):
        if value_at(data, path).strip():
            value_at(data, path[:-1])[path[-1]] = str(folder / value_at(data, path))


def missing_files(data: Any) -> list[Problem]:
    """What is not there, or not what it must be; `data` is a valid recipe with absolute paths."""
    problems = []
    for path in user_paths(data):
        place = Path(value_at(data, path))
        wrong: tuple[str, str] | None
        if not value_at(data, path).strip():
            wrong = (
                f"is blank, got {value_at(data, path)!r}",
                f"{dotted(path)}: name a file or folder",
            )
        elif path[0] == "prompts":
            wrong = _wrong_prompts(value_at(data, path[:-1]), place)
        elif path == CHAT_TEMPLATE:
            wrong = _wrong_template(place)
        else:
            wrong = wrong_stage(place) if path[-1] == "folder" else wrong_model(place)
        if wrong:
            problems.append(Problem(path, *wrong))
    return problems


def _wrong_prompts(source: dict[str, Any], place: Path) -> tuple[str, str] | None:
    if source["source"] == "datasets":
        return (
            None
            if place.is_dir()
            else (f"no such folder: {place}", "name a folder saved by `save_to_disk`")
        )
    if not place.is_file() and not place.is_dir():
        return f"no such file: {place}", "paths are relative to the recipe's folder"
    try:
        empty = not any(file.stat().st_size for file in shards(place, source["source"]))
    except BadInput as error:
        return error.message, error.remedy
    return (f"{place} is empty", "give it at least one prompt") if empty else None


def _wrong_template(place: Path) -> tuple[str, str] | None:
    if not place.is_file():
        return (
            f"no such file: {place}",
            "name a .jinja file; its path is relative to the recipe's folder",
        )
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{place}: cannot be read: {error}", "save it as UTF-8"
    if not is_template(text):
        return (
            f"{place} is no chat template: it has no {{{{ }}}} and no {{% %}}",
            "write it in Jinja",
        )
    return None


def wrong_model(folder: Path) -> tuple[str, str] | None:
    if not folder.is_dir():
        known = ", ".join(PACKAGED)
        return (
            f"no such model folder: {folder}",
            f"name a checkpoint folder or a packaged model ({known})",
        )
    if not (folder / "config.json").is_file():
        return (
            f"the model folder {folder} has no config.json",
            "name a Hugging Face checkpoint folder",
        )
    if not any(folder.glob("*.safetensors")):
        return (
            f"the model folder {folder} has no *.safetensors weights",
            "save the weights as safetensors",
        )
    return None


def kept_checksums() -> Checksums:
    """Checksums of the person's files, kept over runs beside the converted models."""
    return Checksums(cache_folder() / "checksums")


def content(place: Path, read: Read = checksum, *, without_weights: bool = False) -> str:
    """A fingerprint of what a file holds, or of every visible file of a folder, by name;
    independent of the path.

    `read` gives the checksum of a file: by default of its bytes.
    """
    try:
        if place.is_file():
            return read(place)
        names = {path.relative_to(place).as_posix(): path for path in files_below(place)}
        skipped = WEIGHTS if without_weights else ()
        counted = [name for name in names if not _hidden(name) and not name.endswith(skipped)]
        return fingerprint({name: read(names[name]) for name in counted})
    except OSError as error:
        raise BadInput(f"{place}: cannot be read: {error}", "make it readable") from None


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))

"""The files and folders of the person's own that a recipe names: where they are, that they exist, what is in them.

Paths enter no fingerprint; what the files hold does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import checksum, files_below
from common.fingerprint import fingerprint
from models.config import is_template
from models.packaged import PACKAGED
from pipeline.adopted import wrong_stage
from pipeline.problems import Problem
from pipeline.yaml_lines import DataPath

PROMPT_FILES: tuple[str, ...] = ("prompts", "*", "path")
MODEL_FOLDERS: tuple[tuple[str, ...], ...] = (
    ("model", "upcycle"),
    ("model", "checkpoint"),
    ("stages", "*", "judge", "model"),
    ("stages", "*", "more_judges", "*", "model"),
)
CHAT_TEMPLATE: tuple[str, ...] = ("model", "chat_template")
ADOPTED_FOLDERS: tuple[str, ...] = ("stages", "*", "folder")


def user_paths(data: Any) -> Iterator[DataPath]:
    """Where in a recipe's data a file or folder of the person's is named."""
    yield from _matches(data, PROMPT_FILES)
    yield from _matches(data, ADOPTED_FOLDERS)
    yield from (path for path in _matches(data, CHAT_TEMPLATE) if _names_a_file(value_at(data, path)))
    for pattern in MODEL_FOLDERS:
        yield from (path for path in _matches(data, pattern) if value_at(data, path) not in PACKAGED)


def _names_a_file(template: str) -> bool:
    return bool(template.strip()) and not is_template(template)


def value_at(data: Any, path: DataPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _matches(data: Any, pattern: tuple[str, ...], path: DataPath = ()) -> Iterator[DataPath]:
    """Paths of the texts in `data` that fit `pattern`, in which `*` stands for every item of a list."""
    if not pattern:
        if isinstance(data, str):
            yield path
    elif pattern[0] == "*" and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _matches(item, pattern[1:], (*path, index))
    elif isinstance(data, dict) and pattern[0] in data:
        yield from _matches(data[pattern[0]], pattern[1:], (*path, pattern[0]))


def make_absolute(data: Any, folder: Path) -> None:
    """Resolve every relative path in `data` against `folder`, the recipe's own, in place."""
    for path in list(user_paths(data)):
        value_at(data, path[:-1])[path[-1]] = str(folder / value_at(data, path))


def missing_files(data: Any) -> list[Problem]:
    """What is not there, or not what it must be; `data` is a valid recipe with absolute paths."""
    problems = []
    for path in user_paths(data):
        place = Path(value_at(data, path))
        if path[0] == "prompts":
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
        return None if place.is_dir() else (f"no such folder: {place}", "name a folder saved by `save_to_disk`")
    if not place.is_file():
        return f"no such file: {place}", "paths are relative to the recipe's folder"
    return None if place.stat().st_size else (f"the file {place} is empty", "give it at least one prompt")


def _wrong_template(place: Path) -> tuple[str, str] | None:
    if not place.is_file():
        return f"no such file: {place}", "name a .jinja file; its path is relative to the recipe's folder"
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{place}: cannot be read: {error}", "save it as UTF-8"
    if not is_template(text):
        return f"{place} is no chat template: it has no {{{{ }}}} and no {{% %}}", "write it in Jinja"
    return None


def wrong_model(folder: Path) -> tuple[str, str] | None:
    if not folder.is_dir():
        known = ", ".join(PACKAGED)
        return f"no such model folder: {folder}", f"name a checkpoint folder or a packaged model ({known})"
    if not (folder / "config.json").is_file():
        return f"the model folder {folder} has no config.json", "name a Hugging Face checkpoint folder"
    if not any(folder.glob("*.safetensors")):
        return f"the model folder {folder} has no *.safetensors weights", "save the weights as safetensors"
    return None


def content(place: Path) -> str:
    """A fingerprint of what a file holds, or of every visible file of a folder, by name; independent of the path."""
    try:
        if place.is_file():
            return checksum(place)
        names = {path.relative_to(place).as_posix(): path for path in files_below(place)}
        return fingerprint({name: checksum(path) for name, path in names.items() if not _hidden(name)})
    except OSError as error:
        raise BadInput(f"{place}: cannot be read: {error}", "make it readable") from None


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))

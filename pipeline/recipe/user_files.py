"""The files and folders of the user's own that a recipe names: where they are, that they exist,
and what they hold.

Which fields name one is marked on their types (`common/user_files.py`). Paths enter no fingerprint;
what the files hold does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from common.checksums import Checksums
from common.errors import BadInput
from common.files import checksum, files_below
from common.fingerprint import fingerprint
from common.user_files import TokenizerOnly, UserFile
from models.config import is_template
from models.packaged import PACKAGED, cache_folder
from pipeline.recipe.problems import Problem
from pipeline.recipe.yaml_lines import DataPath
from pipeline.store.adopted import wrong_stage
from pipeline.store.record import record_checksum
from prompts.config import DatasetsSource
from prompts.shards import shards

Read = Callable[[Path], str]
"""Gives the checksum of a file."""
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf")


@dataclass(frozen=True)
class NamedFile:
    """A file or folder that a config names."""

    path: DataPath
    """Of the field, by the names that a recipe uses."""
    mark: UserFile
    text: str
    """What is written there."""
    owner: BaseModel
    """The section that the field is in."""
    without_weights: bool
    """Whether the weights in a model folder do not matter."""

    @property
    def place(self) -> Path:
        return Path(self.text)


def named_files(
    value: Any, path: DataPath = (), without_weights: bool = False
) -> Iterator[NamedFile]:
    """Every file or folder that a config names, in the order of its fields."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner, place = getattr(value, name), (*path, field.alias or name)
            marks = [*field.metadata, *_marks(field.annotation)]
            mark = next((one for one in marks if isinstance(one, UserFile)), None)
            if mark is not None:
                if isinstance(inner, str) and _names_a_file(mark, inner):
                    yield NamedFile(place, mark, inner, value, without_weights)
                continue
            tokenizer = any(isinstance(one, TokenizerOnly) for one in marks)
            yield from named_files(inner, place, without_weights or tokenizer)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from named_files(item, (*path, index), without_weights)


def _marks(annotation: Any) -> Iterator[Any]:
    """What is annotated anywhere in a type, such as in one member of a union."""
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    for part in get_args(annotation):
        if get_origin(annotation) is not Annotated or part is get_args(annotation)[0]:
            yield from _marks(part)


def _names_a_file(mark: UserFile, text: str) -> bool:
    """A packaged model's name is no folder, and a template itself no file."""
    if mark.what == "model":
        return text not in PACKAGED
    return not (mark.what == "template" and is_template(text))


def make_absolute(config: BaseModel, data: Any, folder: Path) -> bool:
    """Resolve every relative path in `data`, from which `config` was read, against `folder`, the
    recipe's own, in place. Whether any was. A blank one names nothing."""
    changed = False
    for named in named_files(config):
        absolute = str(folder / named.text)
        if named.text.strip() and absolute != named.text:
            put_at(data, named.path, absolute)
            changed = True
    return changed


def put_at(data: Any, path: DataPath, value: Any) -> None:
    """Replace the value at `path`."""
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def missing_files(config: BaseModel) -> list[Problem]:
    """What is not there, or not what it must be; the paths in `config` are absolute."""
    problems = []
    for named in named_files(config):
        wrong = _wrong(named)
        if wrong:
            problems.append(Problem(named.path, *wrong))
    return problems


def _wrong(named: NamedFile) -> tuple[str, str] | None:
    if not named.text.strip():
        return f"is blank, got {named.text!r}", "name a file or folder"
    match named.mark.what:
        case "prompts":
            return _wrong_prompts(named.owner, named.place)
        case "template":
            return _wrong_template(named.place)
        case "stage":
            return wrong_stage(named.place)
        case "model":
            return wrong_model(named.place)


def _wrong_prompts(source: Any, place: Path) -> tuple[str, str] | None:
    if isinstance(source, DatasetsSource):
        saved = "name a folder saved by `save_to_disk`"
        return None if place.is_dir() else (f"no such folder: {place}", saved)
    if not place.is_file() and not place.is_dir():
        return f"no such file: {place}", "paths are relative to the recipe's folder"
    try:
        empty = not any(file.stat().st_size for file in shards(place, source.source))
    except BadInput as error:
        return error.message, error.remedy
    return (f"{place} is empty", "give it at least one prompt") if empty else None


def _wrong_template(place: Path) -> tuple[str, str] | None:
    if not place.is_file():
        remedy = "name a .jinja file; its path is relative to the recipe's folder"
        return f"no such file: {place}", remedy
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{place}: cannot be read: {error}", "save it as UTF-8"
    if not is_template(text):
        message = f"{place} is no chat template: it has no {{{{ }}}} and no {{% %}}"
        return message, "write it in Jinja"
    return None


def wrong_model(folder: Path) -> tuple[str, str] | None:
    """Why a folder is no model folder, and what to do."""
    if not folder.is_dir():
        known = ", ".join(PACKAGED)
        remedy = f"name a checkpoint folder or a packaged model ({known})"
        return f"no such model folder: {folder}", remedy
    if not (folder / "config.json").is_file():
        message = f"the model folder {folder} has no config.json"
        return message, "name a Hugging Face checkpoint folder"
    if not any(folder.glob("*.safetensors")):
        message = f"the model folder {folder} has no *.safetensors weights"
        return message, "save the weights as safetensors"
    return None


def kept_checksums() -> Checksums:
    """Checksums of the user's files, kept over runs beside the converted models."""
    return Checksums(cache_folder() / "checksums")


def held_by(named: NamedFile, read: Read = checksum) -> str:
    """What stands in an identity for a file: the beginning of the checksum of what it holds. What
    is adopted has a record of the checksums of all its files, which stands for them."""
    if named.mark.what == "stage":
        held = record_checksum(named.place)
    else:
        held = content(named.place, read, without_weights=named.without_weights)
    return f"content {held[:16]}"


def content(place: Path, read: Read = checksum, *, without_weights: bool = False) -> str:
    """A fingerprint of what a file holds, or of every visible file of a folder, by name;
    independent of the path.

    `read` gives the checksum of a file: by default of its bytes."""
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

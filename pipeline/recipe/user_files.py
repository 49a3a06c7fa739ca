"""The user's own files and folders that a recipe names: resolves their paths, checks that they
exist, and takes checksums of their content.

The types of the fields mark which ones name a file (`common/user_files.py`). A fingerprint contains
the content of a file, not its path."""

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
from common.yaml_files.lines import DataPath
from common.yaml_files.problems import Problem
from evals.suite_file import is_suite_path, located, read_suite
from models.config import is_template
from models.packaged import PACKAGED, cache_folder
from pipeline.store.adopted import adoption_problem
from pipeline.store.record import record_checksum
from prompts.shards import is_pattern, is_saved_dataset, root_of, shards
from rewards.function.source import file_problem

ReadChecksum = Callable[[Path], str]
"""Returns the checksum of a file."""
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf")


@dataclass(frozen=True)
class NamedFile:
    """A file or folder that a config names."""

    path: DataPath
    """Path of the field, by the names that a recipe uses."""
    mark: UserFile
    text: str
    """The value of the field."""
    owner: BaseModel
    """The section that contains the field."""
    without_weights: bool
    """Whether the weights of a model folder are left out of the checksum."""

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
    """All annotations in a type, including those of the members of a union."""
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    for part in get_args(annotation):
        if get_origin(annotation) is not Annotated or part is get_args(annotation)[0]:
            yield from _marks(part)


def _names_a_file(mark: UserFile, text: str) -> bool:
    """False for the name of a packaged model or suite, and for the text of a template."""
    if mark.what == "model":
        return text not in PACKAGED
    if mark.what == "suite":
        return is_suite_path(text)
    return not (mark.what == "template" and is_template(text))


def make_absolute(config: BaseModel, data: Any, folder: Path) -> bool:
    """Resolve every relative path in `data` against `folder`, in place; return whether any changed.

    `config` was read from `data`, and `folder` is the recipe's own. Blank paths stay."""
    changed = False
    for named in named_files(config):
        absolute = str(folder / named.text)
        if named.text.strip() and absolute != named.text:
            put_at(data, named.path, absolute)
            changed = True
    return changed


def put_at(data: Any, path: DataPath, value: Any) -> None:
    """Replace the value at `path`, or the plain text that stands for the section around it."""
    *outer, last = path
    for number, part in enumerate(outer):
        if isinstance(data[part], str) and number == len(outer) - 1:
            data[part] = value
            return
        data = data[part]
    data[last] = value


def missing_files(config: BaseModel) -> list[Problem]:
    """Files that are missing or not of the required form; the paths in `config` are absolute."""
    problems = []
    for named in named_files(config):
        problem = _file_problem(named)
        if problem:
            problems.append(Problem(named.path, *problem))
    return problems


def _file_problem(named: NamedFile) -> tuple[str, str] | None:
    """What is wrong with a file, and the remedy; None if nothing is."""
    if not named.text.strip():
        return f"is blank, got {named.text!r}", "name a file or folder"
    match named.mark.what:
        case "prompts":
            return _prompts_problem(named.owner, named.place)
        case "function":
            return file_problem(named.place, _function_of(named.owner))
        case "suite":
            return _suite_problem(named.place)
        case "template":
            return _template_problem(named.place)
        case "stage":
            return adoption_problem(named.place)
        case "model":
            return model_problem(named.place)


def _function_of(part: Any) -> str:
    return str(part.function)


def _prompts_problem(source: Any, place: Path) -> tuple[str, str] | None:
    if source.source == "datasets":
        remedy = "name a folder saved by `save_to_disk`"
        return None if place.is_dir() else (f"no such folder: {place}", remedy)
    if not place.exists() and not is_pattern(place):
        return f"no such file: {place}", "paths are relative to the recipe's folder"
    if is_saved_dataset(place):
        return None
    try:
        empty = not any(file.stat().st_size for file in shards(place, source.source))
    except BadInput as error:
        return error.message, error.remedy
    return (f"{place} is empty", "give it at least one prompt") if empty else None


def _suite_problem(place: Path) -> tuple[str, str] | None:
    if not place.is_file():
        return f"no such file: {place}", "paths are relative to the recipe's folder"
    try:
        sources = [located(rows, place) for rows in read_suite(place).sources]
    except BadInput as error:
        return error.message, error.remedy
    problems = (_prompts_problem(source, Path(source.path)) for source in sources)
    return next((problem for problem in problems if problem), None)


def _template_problem(place: Path) -> tuple[str, str] | None:
    if not place.is_file():
        remedy = "name a .jinja file; its path is relative to the recipe's folder"
        return f"no such file: {place}", remedy
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{place}: cannot be read: {error}", "save it as UTF-8"
    if not is_template(text):
        message = f"{place} is no chat template: it contains no {{{{ }}}} and no {{% %}}"
        return message, "write it in Jinja"
    return None


def model_problem(folder: Path) -> tuple[str, str] | None:
    """Why a folder is no model folder, and the remedy; None if it is one."""
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
    """The store of checksums of user files, kept across runs beside the converted models."""
    return Checksums(cache_folder() / "checksums")


def content_tag(named: NamedFile, read: ReadChecksum = checksum) -> str:
    """What an identity contains in place of a path: the first characters of the content's checksum.

    For an adopted stage it is the checksum of its record, which lists the checksums of all its
    files."""
    if named.mark.what == "stage":
        digest = record_checksum(named.place)
    elif named.mark.what == "suite":
        digest = _suite_checksum(named.place, read)
    else:
        digest = content_checksum(named.place, read, without_weights=named.without_weights)
    return f"content {digest[:16]}"


def _suite_checksum(place: Path, read: ReadChecksum) -> str:
    """A checksum of a suite's file and of the files that its prompts come from."""
    sources = [located(rows, place) for rows in read_suite(place).sources]
    return fingerprint([read(place), *(content_checksum(Path(s.path), read) for s in sources)])


def content_checksum(
    place: Path, read: ReadChecksum = checksum, *, without_weights: bool = False
) -> str:
    """A checksum of the content of a file, or of the names and contents of all visible files of a
    folder. Does not depend on the path.

    `read` returns the checksum of one file."""
    try:
        if place.is_file():
            return read(place)
        found, root = files_below(place), place
        if is_pattern(place):
            found, root = iter(shards(place, "file")), root_of(place)
        names = {path.relative_to(root).as_posix(): path for path in found}
        skipped = WEIGHTS if without_weights else ()
        counted = [name for name in names if not _hidden(name) and not name.endswith(skipped)]
        return fingerprint({name: read(names[name]) for name in counted})
    except OSError as error:
        raise BadInput(f"{place}: cannot be read: {error}", "make it readable") from None


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))

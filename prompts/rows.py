"""A person's own prompts: rows of a JSONL file, a parquet file or a `datasets` folder, checked one by one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import BadInput
from prompts.config import DatasetsSource, JsonlSource, ParquetSource, RowSource
from prompts.schema import Prompt, content_id, with_system

_ROW_REMEDY = "a row has `prompt` (text) or `messages` (role, content), and `answer`"


class Message(BaseModel):
    model_config = ConfigDict(strict=True)
    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class Row(BaseModel):
    """What is read of a row; other fields are left alone."""

    model_config = ConfigDict(strict=True)
    id: str | int | None = None
    messages: list[Message] | None = None
    prompt: str | None = None
    answer: str | int
    verifier: str | None = None
    capability: str | None = None
    solution: str | None = None
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> "Row":
        if (self.messages is None) == (self.prompt is None):
            raise ValueError(f"needs exactly one of prompt, messages; got {'none' if self.prompt is None else 'both'}")
        if not self.chat() or not self.chat()[-1]["content"].strip():
            raise ValueError("the prompt is empty")
        if self.chat()[-1]["role"] != "user":
            raise ValueError(f"messages must end with the user's, got role {self.chat()[-1]['role']!r}")
        if not str(self.answer).strip():
            raise ValueError("answer is empty")
        return self

    def chat(self) -> list[dict[str, str]]:
        if self.messages is None:
            return [{"role": "user", "content": self.prompt or ""}]
        return [message.model_dump() for message in self.messages]


def load(config: RowSource) -> list[Prompt]:
    """The prompts of a person's file or folder. Raises BadInput naming file and line (or row) on anything wrong."""
    path = Path(config.path)
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder", "correct `path` in the recipe's `prompts`")
    read = {"jsonl": _jsonl, "parquet": _parquet, "datasets": _datasets}[config.source]
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for where, row in read(path):
        prompt = _prompt(config, path.name, where, row)
        if row.get("id") is not None and prompt.id in places:
            raise BadInput(f"{where}: id {row['id']!r} is already used at {places[prompt.id]}", "give rows unique ids")
        places[prompt.id] = where
        prompts.append(prompt)
    if not prompts:
        raise BadInput(f"{path}: holds no prompts", "put at least two rows into it")
    return prompts


def _prompt(config: JsonlSource | ParquetSource | DatasetsSource, name: str, where: str, raw: dict[str, Any]) -> Prompt:
    try:
        row = Row.model_validate(raw)
    except ValidationError as error:
        _refuse(where, error)
    verifier, capability = row.verifier or config.verifier, row.capability or config.capability
    for field, value in (("verifier", verifier), ("capability", capability)):
        if not value:
            raise BadInput(f"{where}: names no {field}, and neither does the source", f"give the source a `{field}`")
    try:
        json.dumps(row.model_dump(), allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: cannot be stored: {error}", "use plain JSON values and valid Unicode") from error
    answer, messages = str(row.answer), with_system(row.chat(), config.system)
    return Prompt(
        id=f"{name}:{row.id}" if row.id is not None else content_id(name, messages, answer),
        messages=messages,
        answer=answer,
        verifier=verifier or "",
        capability=capability or "",
        source=name,
        solution=row.solution,
        metadata=row.metadata or {},
    )


def _refuse(where: str, error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in ("missing", "value_error") else f", got {first['input']!r:.80}"
    raise BadInput(f"{where}: {field + ': ' if field else ''}{said}{value}", _ROW_REMEDY) from error


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with `file:line`. Blank lines count as lines and are skipped."""
    if not path.is_file():
        raise BadInput(f"{path}: not a file", "give the path of a .jsonl file")
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: not UTF-8: {error.reason} (byte {error.start})", "save it as UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{where}: not JSON: {error}", "put one JSON object on each line") from error
        if not isinstance(row, dict):
            raise BadInput(f"{where}: not a JSON object but {type(row).__name__}", "put one JSON object on each line")
        yield where, row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable parquet file: {error}", "write it again as parquet") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row


def _datasets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        remedy = "give a folder written by Dataset.save_to_disk"
        raise BadInput(f"{path}: not a readable datasets folder: {error}", remedy) from error
    if isinstance(loaded, datasets.DatasetDict):
        raise BadInput(f"{path}: holds the splits {', '.join(map(str, loaded))}", "give the folder of one split")
    for number, row in enumerate(loaded, start=1):
        yield f"{path}: row {number}", row

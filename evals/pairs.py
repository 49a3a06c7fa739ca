"""Answers to grade, one per line of a file, with all that their verifiers read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from common.errors import BadInput
from prompts.function_part import located
from prompts.parts import Rewards
from prompts.schema import Prompt
from rewards.kinds import KINDS, Kinds, kind_of

_EXAMPLE = (
    'a line is {"verifier": "number", "reference": "12", "answer": "12 apples", "expected": true}'
)
_PARTS: TypeAdapter[Rewards] = TypeAdapter(Rewards)


class Message(BaseModel):
    """A chat message."""

    model_config = ConfigDict(strict=True)
    role: Literal["system", "user", "assistant"]
    content: str


class Pair(BaseModel):
    """One line of a file of answers to grade."""

    model_config = ConfigDict(strict=True, extra="ignore")
    verifier: str = ""
    """Needed where there are no `rewards`."""
    rewards: list[dict[str, Any]] = []
    """The parts of the reward as a recipe has them. Files are relative to this file's folder."""
    reference: str = ""
    """Needed where the verifier reads no `metadata` instead."""
    answer: str
    tokens: int | None = None
    """Length of the answer, for verifiers that look at it."""
    expected: bool | None = None
    """The grade a person gave: right or wrong; None: unknown."""
    prompt: str = ""
    """The question, from which `choice` reads the options."""
    messages: list[Message] = []
    """The question as a chat, instead of `prompt`."""
    metadata: dict[str, Any] = {}
    solution: str | None = None
    capability: str = "given"
    id: str = "given"

    @model_validator(mode="after")
    def _can_be_graded(self) -> "Pair":
        if not self.verifier and not self.rewards:
            raise ValueError("names no verifier, and has no `rewards`")
        if self.verifier and self.rewards:
            raise ValueError("names a verifier, and has `rewards`: remove one of them")
        if "reference" not in self.model_fields_set and not (self.metadata or self.rewards):
            raise ValueError("has no reference, and no `metadata` that a verifier could read")
        return self

    @property
    def prompt_key(self) -> str:
        """Equal for answers to the same prompt."""
        return self.model_dump_json(exclude={"answer", "tokens", "expected"})

    def as_prompt(self) -> Prompt:
        """The prompt that the answer is for."""
        messages = [message.model_dump() for message in self.messages]
        return Prompt(
            id=self.id,
            messages=messages or [{"role": "user", "content": self.prompt}],
            answer=self.reference,
            verifier=self.verifier or self.rewards[0]["verifier"],
            capability=self.capability,
            source="given",
            solution=self.solution,
            metadata=self.metadata,
            rewards=tuple(self.rewards),
        )


def read_pairs(path: Path, kinds: Kinds = KINDS) -> list[Pair]:
    """The pairs in a JSON lines file. Raises BadInput with file and line if it is invalid."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file", "give a file with one JSON object per line")
    pairs = [_pair(path, number, line, kinds) for number, line in _lines(path)]
    if not pairs:
        raise BadInput(f"{path}: holds no pairs", _EXAMPLE)
    return pairs


def check_pair(where: str, pair: Pair, kinds: Kinds = KINDS) -> Pair:
    """The pair, if its verifiers exist and work outside a run. Raises BadInput with `where` if
    not."""
    try:
        for part in pair.as_prompt().parts:
            kind_of(part.verifier, kinds)
            if part.verifier == "reasoning_gym" and "family" not in pair.metadata:
                message = "reasoning_gym grades only its own generated tasks"
                raise BadInput(message, "name another verifier")
    except BadInput as error:
        raise BadInput(f"{where}: {error.message}", error.remedy) from error
    return pair


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 (byte {error.start})", "save it as UTF-8") from error
    yield from (
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    )


def _pair(path: Path, number: int, line: str, kinds: Kinds) -> Pair:
    where = f"{path}:{number}"
    try:
        pair = Pair.model_validate_json(line)
        parts = _PARTS.validate_python(pair.rewards)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{where}: {field + ': ' if field else ''}{message}", _EXAMPLE) from error
    try:
        stored: list[Mapping[str, Any]] = [located(p, path.parent).stored() for p in parts]
    except BadInput as error:
        raise BadInput(f"{where}: {error.message}", error.remedy) from error
    return check_pair(where, pair.model_copy(update={"rewards": stored}), kinds)

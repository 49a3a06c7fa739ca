"""The parts of a reward, as a recipe names them; light, loads no verifier.

A reward is the weighted mean of its parts. Each part is a verifier with its settings: the verifier
`code` is described by `CodePart`, and so on. A verifier without settings is a `PlainPart`."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from common.config import Config, InvalidValue, Text
from common.errors import BadInput
from common.judge_settings import JudgeSettings
from common.user_files import UserFile


class RewardPart(Config):
    """Fields of every part."""

    verifier: str
    """Name of the verifier."""
    weight: float = Field(default=1.0, gt=0)
    """Weight of the part in the reward, which is the weighted mean of all parts."""
    name: Text | None = Field(default=None, examples=["unit_tests"])
    """Name of the part in metrics and tables; not set: the verifier's. Needed where a verifier
    occurs twice."""

    @property
    def label(self) -> str:
        """Its name in metrics and tables."""
        return self.name or self.verifier

    def stored(self) -> dict[str, Any]:
        """The part as plain JSON values, without what has its default."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return {"verifier": self.verifier, **data}


class PlainPart(RewardPart):
    """A verifier without settings."""

    verifier: Literal["choice", "exact", "math", "number"]


class ReasoningGymPart(RewardPart):
    """The family's own scorer."""

    verifier: Literal["reasoning_gym"]
    partial: bool = False
    """Whether the family's partial credit is the reward; else the reward is 1 for a full score and
    0 for any other."""


class LengthPart(RewardPart):
    """Soft penalty of long answers (DAPO): 1 up to `limit` tokens, from there falling linearly to 0
    at `cut_off`."""

    verifier: Literal["length"]
    limit: int = Field(ge=1, examples=[384])
    """Tokens up to which an answer, its thinking included, is not penalised."""
    cut_off: int = Field(ge=2, examples=[512])
    """Tokens from which the penalty is full."""

    @model_validator(mode="after")
    def _the_penalty_falls(self) -> "LengthPart":
        if self.limit >= self.cut_off:
            message = f"limit ({self.limit}) is not less than cut_off ({self.cut_off})"
            raise InvalidValue(message, f"write for example `cut_off: {self.limit + 128}`")
        return self


class RubricItem(Config):
    """One item of a rubric: something that a good answer does."""

    item: Text = Field(examples=["states the unit"])
    """What a good answer does, so that yes is good."""
    weight: float = Field(default=1.0, gt=0)
    """Weight of the item in the reward."""


class JudgePart(JudgeSettings, RewardPart):
    """Fields of the verifiers that ask a judge."""

    of_model: ClassVar[tuple[str, ...]] = ("dtype", "max_model_len", "memory_share")

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the judge's weights and arithmetic (with `model`)."""
    max_model_len: int = Field(default=2048, ge=16)
    """Largest number of tokens of a question, with the task and the answers in it (with
    `model`)."""
    memory_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of a GPU's memory that the judge's server takes (with `model`). Not read on a CPU."""
    retries: int = Field(default=1, ge=0)
    """Retries of an unreadable reply, each with a higher length limit."""
    show_reference: bool = False
    """Show the judge the prompt's reference answer."""


class RubricPart(JudgePart):
    """A judge says of each item of a rubric whether the answer does it."""

    verifier: Literal["rubric"]
    items: tuple[RubricItem, ...] = Field(
        default=(), examples=[[{"item": "states the unit", "weight": 2}]]
    )
    """The rubric of prompts that have none of their own in `metadata.rubric`."""

    @field_validator("items")
    @classmethod
    def _items_differ(cls, value: tuple[RubricItem, ...]) -> tuple[RubricItem, ...]:
        require_different(value)
        return value


class ComparePart(JudgePart):
    """A judge says which of two answers to a prompt is better."""

    verifier: Literal["compare"]
    criterion: Text = Field(
        default="It solves the task correctly, and says so clearly.",
        examples=["It answers in fewer words."],
    )
    """What is more true of the better answer."""


def require_different(items: tuple[RubricItem, ...]) -> None:
    """Raise InvalidValue if two items of a rubric have the same text."""
    texts = [one.item for one in items]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise InvalidValue(f"two items are {twice!r:.80}", "give one of them the whole weight")


class _Function(RewardPart):
    """Fields of a function of the user's, in a recipe and with a prompt."""

    verifier: Literal["function"]
    function: Text = Field(default="score", examples=["score"])
    """Name of the function: `score(prompt: dict, answer: str) -> float`, a number from 0 to 1."""
    time_limit_s: float = Field(default=10.0, gt=0)
    """Longest time for one answer, in seconds; after it the answer has the fault `timeout`."""


class FunctionPart(_Function):
    """A function of the user's, as a recipe names it."""

    file: Annotated[Text, UserFile("function")] = Field(examples=["my_reward.py"])
    """A Python file. It runs with your own rights, and it has to be complete in itself: what it
    imports is installed."""

    def stored(self) -> dict[str, Any]:
        """With the file's text, so that a prompt is graded by what its stage's identity holds, and
        wherever the file is by then. Raises BadInput."""
        name, text = read_text(Path(self.file))
        return {**super().stored(), "file": name, "source": text}


class StoredFunction(_Function):
    """A function of the user's, as prompts hold it."""

    file: str
    """The file's name, for messages."""
    source: str
    """Its text."""


CLASSES: tuple[type[RewardPart], ...] = (
    *(PlainPart, ReasoningGymPart, LengthPart, StoredFunction, RubricPart, ComparePart),
)
"""The classes of all parts as prompts hold them. A verifier with settings adds its class here and
to `Part`."""
Part = Annotated[
    PlainPart | ReasoningGymPart | LengthPart | FunctionPart | RubricPart | ComparePart,
    Field(discriminator="verifier"),
]
"""One part of a reward, as a recipe gives it."""


def names_of(kind: type[RewardPart]) -> tuple[str, ...]:
    """The verifiers that a class of parts describes."""
    return get_args(kind.model_fields["verifier"].annotation)


NAMES = tuple(name for kind in CLASSES for name in names_of(kind))
"""The verifiers that a recipe can name."""


def needed_settings(verifier: str) -> list[str]:
    """The settings that a verifier cannot do without; `verifier` is one of NAMES. Of a judge, which
    has a model or a URL, the model."""
    named: tuple[type[RewardPart], ...] = get_args(get_args(Part)[0])
    kind = next(kind for kind in named if verifier in names_of(kind))
    if issubclass(kind, JudgePart):
        return ["model"]
    fields = kind.model_fields
    return [name for name, field in fields.items() if field.is_required() and name != "verifier"]


def read_part(data: Mapping[str, Any]) -> RewardPart:
    """The part that `RewardPart.stored` wrote. A name that no class has is a part without
    settings. Raises BadInput where a verifier is named without settings that it needs."""
    for kind in CLASSES:
        if data["verifier"] in names_of(kind):
            try:
                return kind.model_validate(data)
            except ValidationError as error:
                raise _unset(data["verifier"], error) from error
    return RewardPart.model_validate(data)


def located(part: RewardPart, folder: Path) -> RewardPart:
    """The part with the paths of its files resolved against `folder`."""
    files = {
        name: str(folder / getattr(part, name))
        for name, field in type(part).model_fields.items()
        if any(isinstance(mark, UserFile) for mark in field.metadata)
    }
    return part.model_copy(update=files)


def read_text(path: Path) -> tuple[str, str]:
    """Name and text of a file of the user's. Raises BadInput. A text that was read is kept, as
    every row of a source asks for it."""
    try:
        stat = path.stat()
        return path.name, _text(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}", "give a file in UTF-8") from error


@lru_cache(maxsize=16)
def _text(path: Path, changed_ns: int, size: int) -> str:
    return path.read_text(encoding="utf-8")


def _unset(verifier: str, error: ValidationError) -> BadInput:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return BadInput(
            f"the verifier {verifier!r} needs settings, {field!r} among them",
            f"name it under `rewards`: `rewards: [{{verifier: {verifier}, {field}: ...}}]`",
        )
    why = first["msg"].removeprefix("Value error, ")
    return BadInput(
        f"the verifier {verifier!r} has wrong settings: {f'{field}: ' if field else ''}{why}",
        f"correct them under `rewards`: `rewards: [{{verifier: {verifier}, ...}}]`",
    )

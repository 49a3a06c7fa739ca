"""The parts of a reward, as a recipe names them; light, loads no verifier.

A reward is the weighted mean of its parts. Each part is a verifier with its settings: the verifier
`code` is described by `CodePart`, and so on. A verifier without settings is a `PlainPart`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from common.config import InvalidValue
from common.errors import BadInput
from prompts.function_part import FunctionPart, StoredFunction
from prompts.judge_parts import ComparePart, JudgePart, RubricPart
from prompts.part import RewardPart
from prompts.text_settings import FormatSettings, InstructionsSettings, LanguageSettings


class PlainPart(RewardPart):
    """A verifier without settings."""

    verifier: Literal["choice", "exact", "math", "number"]


class CodePart(RewardPart):
    """The program in the answer passes the prompt's tests, in a sandbox."""

    verifier: Literal["code"]
    partial: bool = False
    """The reward is the share of the tests that pass; off: 1 if all pass, else 0."""
    seconds: float = Field(default=5.0, gt=0, le=600)
    """CPU time of one test, in seconds. By the clock it may take four times that."""
    memory_mib: int = Field(default=512, ge=64)
    """Memory of a program with all its processes, in MiB."""
    processes: int = Field(default=16, ge=1, le=1000)
    """Processes and threads that a program may have at once."""
    output_kib: int = Field(default=1024, ge=1)
    """What a program may print for one test, in KiB."""
    scratch_mib: int = Field(default=64, ge=1)
    """Files that a program may write, in MiB. They are gone when it has ended."""


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


class InstructionsPart(InstructionsSettings, RewardPart):
    """Whether an answer follows the constraints in its prompt's `metadata.instructions`."""

    verifier: Literal["instructions"]


class LanguagePart(LanguageSettings, RewardPart):
    """Whether an answer is written in the asked language."""

    verifier: Literal["language"]


class FormatPart(FormatSettings, RewardPart):
    """Whether an answer has a form: a regular expression, or tags."""

    verifier: Literal["format"]


CLASSES: tuple[type[RewardPart], ...] = (
    PlainPart,
    ReasoningGymPart,
    LengthPart,
    StoredFunction,
    CodePart,
    InstructionsPart,
    LanguagePart,
    FormatPart,
    RubricPart,
    ComparePart,
)
"""The classes of all parts as prompts hold them. A verifier with settings adds its class here and
to `Part`."""
Part = Annotated[
    PlainPart
    | ReasoningGymPart
    | LengthPart
    | FunctionPart
    | CodePart
    | InstructionsPart
    | LanguagePart
    | FormatPart
    | RubricPart
    | ComparePart,
    Field(discriminator="verifier"),
]
"""One part of a reward, as a recipe gives it."""


def _usable(parts: tuple[RewardPart, ...]) -> tuple[RewardPart, ...]:
    labels = [part.label for part in parts]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InvalidValue(
            f"two parts are named {twice!r}", "give them names: `{verifier: ..., name: ...}`"
        )
    if parts and not any(part.weight for part in parts):
        raise InvalidValue("all parts have weight 0", "give one of them a weight above 0")
    return parts


Rewards = Annotated[tuple[Part, ...], AfterValidator(_usable)]
"""All parts of a reward: their labels differ, and one has a weight."""


def names_of(kind: type[RewardPart]) -> tuple[str, ...]:
    """The verifiers that a class of parts describes."""
    return get_args(kind.model_fields["verifier"].annotation)


NOT_GRADED = "none"
"""In place of a verifier: of a demonstration, whose `answer` is the assistant's last turn."""
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

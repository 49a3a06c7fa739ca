"""The parts of a reward, as a recipe names them; light, loads no verifier.

A reward is the weighted mean of its parts. Each part is a verifier with its settings: the verifier
`code` is described by `CodePart`, and so on. A verifier without settings is a `PlainPart`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import regex
from pydantic import Field, ValidationError, field_validator, model_validator

from common.config import Config, InvalidValue, Text
from common.errors import BadInput
from common.thinking import has_thinking_mark
from prompts.languages import code_of


class RewardPart(Config):
    """Fields of every part."""

    verifier: str
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

    verifier: Literal["choice", "exact", "math", "number", "reasoning_gym"]


class InstructionsPart(RewardPart):
    """Whether an answer follows the constraints in its prompt's `metadata.instructions`."""

    verifier: Literal["instructions"]
    mode: Literal["strict", "loose"] = "strict"
    """`strict`: the answer as it is. `loose`: a constraint is also followed where it is followed
    without the first line, the last line, both, or the asterisks of markdown, as IFEval defines
    it."""
    partial: bool = False
    """The reward is the share of constraints that are followed. Off: 1 if all are, else 0."""


class LanguagePart(RewardPart):
    """Whether an answer is written in the asked language."""

    verifier: Literal["language"]
    language: str | None = Field(default=None, examples=["de"])
    """Code or English name of the language, e.g. `de` or `German`. A prompt's own
    `metadata.language` comes first; not set: every prompt must have one."""
    min_share: float = Field(default=0.8, gt=0.5, le=1)
    """Share of the answer's letters that must be in the language. The rest may be quotations."""

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return code_of(value)
        except BadInput as error:
            raise InvalidValue(error.message, error.remedy) from error


Flag = Literal["ascii", "dot_all", "ignore_case", "multi_line", "verbose"]
FLAGS: dict[str, int] = {
    "ascii": regex.ASCII,
    "dot_all": regex.DOTALL,
    "ignore_case": regex.IGNORECASE,
    "multi_line": regex.MULTILINE,
    "verbose": regex.VERBOSE,
}


class FormatPart(RewardPart):
    """Whether an answer has a form: a regular expression, or tags."""

    verifier: Literal["format"]
    pattern: Text | None = Field(default=None, examples=[r".*\\\\boxed\{[^{}]+\}\.?"])
    """Regular expression for the answer without the space around it, as the package `regex` reads
    it. Give either this or `tags`."""
    flags: tuple[Flag, ...] = Field(default=(), examples=[["dot_all"]])
    """Flags of `pattern`, by the names of Python's `re`."""
    match: Literal["full", "search"] = "full"
    """`full`: the whole text must match `pattern`. `search`: a part of it."""
    over: Literal["answer", "completion"] = "answer"
    """The text that `pattern` sees: the answer without thinking, or the whole completion."""
    tags: tuple[Text, ...] = Field(default=(), examples=[["think", "answer"]])
    """Names of tags that the completion, thinking included, must consist of: each once, in this
    order, closed, with nothing but space around and between them."""

    @field_validator("tags")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tag in value:
            if not regex.fullmatch(r"[A-Za-z][\w:.-]*", tag):
                raise InvalidValue(
                    f"must be names of tags, got {tag!r:.80}", "write for example [think, answer]"
                )
        if len(set(value)) < len(value):
            raise InvalidValue(f"names a tag twice: {', '.join(value)}", "name each tag once")
        return value

    @model_validator(mode="after")
    def _has_one_rule(self) -> "FormatPart":
        if (self.pattern is None) == (not self.tags):
            given = "neither" if self.pattern is None else "both"
            raise InvalidValue(
                f"needs either pattern or tags, got {given}",
                "write for example {verifier: format, tags: [think, answer]}",
            )
        alone = {"flags", "match", "over"} & self.model_fields_set
        if self.tags and alone:
            raise InvalidValue(f"tags need no {', '.join(sorted(alone))}", "remove them")
        if self.pattern is not None:
            _check_pattern(self.pattern, self.flags, self.over)
        return self


def compiled(pattern: str, flags: tuple[str, ...]) -> "regex.Pattern[str]":
    """The pattern with its flags. Raises `regex.error`."""
    return regex.compile(pattern, sum(FLAGS[flag] for flag in set(flags)))


def _check_pattern(pattern: str, flags: tuple[str, ...], over: str) -> None:
    try:
        compiled(pattern, flags)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InvalidValue(
            f"pattern {pattern!r:.80} is no regular expression: {error}",
            r"write for example pattern: '.*\\boxed\{.+\}', in single quotes, so that YAML keeps"
            " backslashes",
        ) from error
    if over == "answer" and has_thinking_mark(pattern):
        raise InvalidValue(
            f"pattern {pattern!r:.80} asks for thinking, which answers are graded without",
            "write over: completion, or tags: [think, answer]",
        )


CLASSES: tuple[type[RewardPart], ...] = (PlainPart, InstructionsPart, LanguagePart, FormatPart)
"""The classes of all parts. A verifier with settings adds its class here and to `Part`."""
Part = Annotated[
    PlainPart | InstructionsPart | LanguagePart | FormatPart, Field(discriminator="verifier")
]
"""One part of a reward, as a recipe gives it."""


def read_part(data: Mapping[str, Any]) -> RewardPart:
    """The part that `RewardPart.stored` wrote. A name that no class has is a part without
    settings. Raises BadInput where a verifier is named alone that needs settings."""
    for kind in CLASSES:
        if data["verifier"] in get_args(kind.model_fields["verifier"].annotation):
            try:
                return kind.model_validate(data)
            except ValidationError as error:
                raise BadInput(
                    f"verifier {data['verifier']}: {error.errors()[0]['msg']}",
                    "give its settings in the source's `rewards`",
                ) from error
    return RewardPart.model_validate(data)

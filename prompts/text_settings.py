"""Settings of the verifiers that look at an answer's text: `instructions`, `language`, `format`."""

from typing import Literal

import regex
from pydantic import Field, field_validator, model_validator

from common.config import Config, InvalidValue, Text
from common.errors import BadInput
from common.thinking import has_thinking_mark
from prompts.languages import code_of


class InstructionsSettings(Config):
    """Settings of `instructions`."""

    mode: Literal["strict", "loose"] = "strict"
    """`strict`: the answer as it is. `loose`: a constraint is also followed where it is followed
    without the first line, the last line, both, or the asterisks of markdown, as IFEval defines
    it."""
    partial: bool = False
    """The reward is the share of constraints that are followed. Off: 1 if all are, else 0."""


class LanguageSettings(Config):
    """Settings of `language`."""

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


class FormatSettings(Config):
    """Settings of `format`."""

    pattern: Text | None = Field(default=None, examples=[r".*\\boxed\{[^{}]+\}\.?"])
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
    def _has_one_rule(self) -> "FormatSettings":
        if (self.pattern is None) == (not self.tags):
            given = "neither" if self.pattern is None else "both"
            raise InvalidValue(
                f"needs either pattern or tags, got {given}",
                "write for example `{verifier: format, tags: [think, answer]}`",
            )
        alone = {"flags", "match", "over"} & self.model_fields_set
        if self.tags and alone:
            raise InvalidValue(
                f"tags need no {', '.join(sorted(alone))}",
                "remove them: write for example `{verifier: format, tags: [think, answer]}`",
            )
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

"""Settings of evaluation suites; light, loads no data."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, Field, model_validator

from common.config import Config, InvalidValue, Text
from common.yaml_files.problems import nearest
from corner_cases.names import CaseName
from evals.suite_file import (
    CORNER_CASES,
    SuiteHeader,
    SuitePath,
    is_suite_path,
    is_there,
    known_suites,
    sampling_problem,
    suite_header,
    suite_name,
)


def score_of(suite: str) -> str:
    """The suite in messages about its score; of `corner_cases` also what that is, as its tables
    show rates."""
    return f"{suite} (share of clean replies)" if suite == CORNER_CASES else suite


def _in_order(cases: tuple[CaseName, ...]) -> tuple[CaseName, ...]:
    """The cases in the order of the registry, in which they are asked and told."""
    if twice := [name for name, count in Counter(cases).items() if count > 1]:
        raise ValueError(f"the case {twice[0]} is named twice; name it once")
    return tuple(sorted(cases, key=get_args(CaseName).index))


Cases = Annotated[tuple[CaseName, ...], Field(min_length=1), AfterValidator(_in_order)]
"""Some of the corner cases."""


def require_fitting(name: str, cases: Sequence[CaseName] | None, pass_at: float) -> None:
    """ValueError for settings that the suite of this name does not have."""
    if cases is not None and name != CORNER_CASES:
        raise ValueError(f"{name} has no cases; give `cases` to the suite {CORNER_CASES} alone")
    if pass_at != 1.0 and name == CORNER_CASES:
        raise ValueError(
            f"{CORNER_CASES} has no rewards: a reply shows the case or is clean; leave `pass_at`"
            " out"
        )


def require_no_answers(name: str, max_tokens: int | None, pass_at: float) -> None:
    """ValueError for settings of answers, where a suite compares likelihoods."""
    if max_tokens is not None or pass_at != 1.0:
        raise ValueError(
            f"{name} compares likelihoods and writes no answers; leave `max_tokens` and `pass_at`"
            " out"
        )


def require_file(name: str, file: str | None) -> None:
    """ValueError for a name that is not that of the suite's file, or that no suite has."""
    known = known_suites()
    if file is None and name not in known:
        remedy = f"{nearest(name, known)} A suite of your own is named by its file, `my_suite.yaml`"
        raise InvalidValue(f"there is no suite {name!r}", remedy)
    if file is not None and (not is_suite_path(file) or Path(file).stem != name):
        raise InvalidValue(
            f"the suite {name!r} has the file {file!r}",
            "remove `name`, which is that of the file; a suite's file ends with .yaml",
        )
    if file is not None and name in known:
        raise InvalidValue(
            f"{file}: {name!r} is a packaged suite", "give your suite's file another name"
        )


def _known_suite(text: str) -> str:
    """A packaged suite, or the path of a person's own."""
    require_file(suite_name(text), text if is_suite_path(text) else None)
    return text


SuiteOrFile = Annotated[SuitePath, AfterValidator(_known_suite)]
"""A packaged suite, or the path of a person's own suite, which ends with `.yaml`."""


class SuiteConfig(Config):
    """An evaluation suite. A plain name in the recipe means the suite with its defaults; one that
    ends with `.yaml` is the file of a suite of your own."""

    name: Text = Field(examples=["gsm8k"])
    """`held_out` (the held-out prompts of the recipe), `corner_cases` (packaged prompts that
    provoke named faults), or a packaged public test set such as `gsm8k`. The name of a suite of
    your own is that of its file."""
    file: SuitePath | None = Field(default=None, examples=["my_suite.yaml"])
    """The file of a suite of your own; not set: the suite is packaged."""
    cases: Cases | None = Field(default=None, examples=[["repetition", "refusal"]])
    """Of `corner_cases` the cases that are asked; not set: all."""
    limit: int | None = Field(default=None, ge=2, examples=[100])
    """Use only this many prompts, half of them in the dev part and half in the final part, the same
    ones for every checkpoint; not set: all. Prompts that belong together, such as a question in
    several languages, are all used or not at all. Of `corner_cases` every case gets as many
    questions, as long as it has some."""
    dev: bool = True
    """Ask the dev part too. A suite without it costs half as much and steers nothing: neither the
    gate nor which weights `runtime.keep` keeps. A `limit` is then one of the final part."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; not set: the suite's own length (`held_out` 64, `corner_cases`
    128, others as their files say)."""
    system: Text | None = None
    """System message for prompts that have none."""
    samples: int | None = Field(default=None, ge=1, examples=[4])
    """Answers to each prompt, sampled at `temperature`; not set: the suite's own number, mostly 1.
    The score is the mean over them, and its interval one over prompts."""
    temperature: float | None = Field(default=None, ge=0, examples=[0.7])
    """Temperature of the answers; not set: the suite's own, mostly 0."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward from which an answer is correct. It is that of the reward's first part; the other
    parts shape training and are reported."""

    @model_validator(mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        """A text is a name or a file; a file gives the name."""
        if isinstance(value, str):
            value = {"file": value} if is_suite_path(value) else {"name": value}
        if isinstance(value, dict) and isinstance(value.get("file"), str) and "name" not in value:
            value = {"name": Path(value["file"]).stem, **value}
        return value

    @model_validator(mode="after")
    def _fitting(self) -> "SuiteConfig":
        require_file(self.name, self.file)
        require_fitting(self.name, self.cases, self.pass_at)
        if not is_there(self.file):
            return self
        if self.header.ask == "likelihood":
            require_no_answers(self.name, self.max_tokens, self.pass_at)
        if self.sampling != (1, 0.0) and (
            self.name == CORNER_CASES or self.header.ask == "likelihood"
        ):
            raise ValueError(
                f"{self.name} samples no answers; leave `samples` and `temperature` out"
            )
        if problem := sampling_problem(*self.sampling):
            raise ValueError(problem)
        return self

    @property
    def header(self) -> SuiteHeader:
        """What the suite says of itself. Raises BadInput where its file is wrong or missing."""
        return suite_header(self.name, self.file)

    @property
    def sampling(self) -> tuple[int, float]:
        """Answers to each prompt, and their temperature. Raises as `header`."""
        samples = self.header.samples if self.samples is None else self.samples
        own = self.header.temperature if self.temperature is None else self.temperature
        return samples, own

    def answer_length(self) -> int:
        """Longest answer in tokens: `max_tokens`, or the suite's own length. Raises as `header`."""
        return self.max_tokens if self.max_tokens is not None else self.header.max_tokens

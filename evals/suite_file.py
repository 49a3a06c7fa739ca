"""A suite as one file: its prompts, how they are asked and graded, and where they come from. Light:
no prompt is loaded.

The packaged suites are the files in `evals/suite_files/`; a person's own suite is a file of the
same form. A suite's name is that of its file. Two are no files: the held-out prompts of a run, and
the corner cases."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from common.config import Config, Text
from common.user_files import UserFile
from common.yaml_files.lines import load_file
from common.yaml_files.problems import validated
from evals.needle import Needle
from evals.packaged import is_left_out, package_folder
from prompts.config import SuiteRows
from prompts.files import SuiteFileRows

_Rows = TypeVar("_Rows", bound=SuiteFileRows)
HELD_OUT_SUITE, CORNER_CASES = "held_out", "corner_cases"
FOLDER = Path(__file__).parent / "suite_files"
ENDINGS = (".yaml", ".yml")
SuitePath = Annotated[Text, UserFile("suite")]
"""A person's own suite."""


class SuiteHeader(Config):
    """What every suite says of itself."""

    version: int = Field(ge=1)
    """Raised when the prompts or the way they are asked change. Results of two versions are not
    compared."""
    about: Text = Field(examples=["Questions of our support desk."])
    """What the suite asks, in one sentence."""
    source: Text = Field(examples=["written by us in 2026"])
    """Where the prompts come from: name, part, authors, paper."""
    licence: Text = Field(examples=["CC BY 4.0"])
    """Licence of the prompts."""
    ask: Literal["answer", "likelihood"] = "answer"
    """`answer`: the policy writes an answer, which a verifier grades. `likelihood`: of the options
    of a multiple-choice question, the one to which the policy gives the highest likelihood is its
    answer."""
    max_tokens: int = Field(default=1, ge=1)
    """Longest answer, in tokens. Suites that ask for a likelihood have none."""
    samples: int = Field(default=1, ge=1)
    """Answers to each prompt; the score is the mean over them. More than one is for small sets,
    whose score at temperature 0 is much a matter of chance."""
    temperature: float = Field(default=0.0, ge=0)
    """Temperature at which the answers are sampled; 0 with one answer, above 0 with several."""
    agreement: bool = False
    """Whether it is reported how often the answers to prompts that belong together (`group` of
    their source) agree, right or wrong. Prompts that belong together have the same answer."""


class SuiteFile(SuiteHeader):
    """A suite that is a file."""

    prompts: tuple[SuiteRows, ...] = ()
    """Where the prompts are, and how they are graded: sources as in a recipe's `prompts`."""
    needle: Needle | None = None
    """Instead of `prompts`: a sentence that is hidden in a long text, and asked for."""
    chat: bool = False
    """Whether the questions of `likelihood` are put into the model's chat template, as those of
    `answer` always are. Without it the model reads the text of the question alone, and an option
    follows it after a space."""
    normalise: Literal["characters", "none"] = "characters"
    """What the log-likelihood of an option is divided by before options are compared: the number of
    its characters, or nothing. Only for `likelihood`."""

    @model_validator(mode="after")
    def _fits_what_is_asked(self) -> "SuiteFile":
        given = self.model_fields_set
        if bool(self.prompts) == (self.needle is not None):
            raise ValueError("a suite needs either `prompts` or `needle`")
        if self.needle is not None and (self.ask == "likelihood" or self.agreement):
            raise ValueError("`needle` is for a suite that asks for answers, one by one")
        if self.ask == "answer" and "max_tokens" not in given:
            raise ValueError("a suite that asks for answers needs `max_tokens`")
        if self.ask == "likelihood" and "max_tokens" in given:
            raise ValueError(
                "a suite that asks for a likelihood writes no answers: no `max_tokens`"
            )
        if self.ask == "answer" and {"normalise", "chat"} & given:
            raise ValueError("`chat` and `normalise` are for a suite that asks for a likelihood")
        if self.ask == "likelihood" and {"samples", "temperature"} & given:
            raise ValueError("a suite that asks for a likelihood samples nothing")
        if problem := sampling_problem(self.samples, self.temperature):
            raise ValueError(problem)
        if self.ask == "likelihood" and any(not _has_options(one) for one in self.prompts):
            raise ValueError("a suite that asks for a likelihood needs `choices` in `fields`")
        if self.agreement and any(one.group is None for one in self.prompts):
            raise ValueError(
                "`agreement` compares prompts that belong together: name their `group`"
            )
        return self

    @property
    def sources(self) -> tuple[SuiteFileRows, ...]:
        """All that the suite reads."""
        return self.prompts if self.needle is None else (self.needle.text,)


def sampling_problem(samples: int, temperature: float) -> str | None:
    """What is wrong with sampling so many answers at a temperature; None: nothing."""
    if samples > 1 and temperature == 0:
        return f"{samples} answers at temperature 0 are all the same; give a `temperature`"
    if samples == 1 and temperature > 0:
        return (
            f"one answer at temperature {temperature:g} is a matter of chance; ask for several"
            " `samples`"
        )
    return None


def _has_options(rows: SuiteRows) -> bool:
    return rows.fields is not None and bool(rows.fields.choices)


BUILT_IN = {
    HELD_OUT_SUITE: SuiteHeader(
        version=1,
        about="The held-out prompts of the recipe.",
        source="the recipe's `prompts`",
        licence="that of the sources",
        max_tokens=64,
    ),
    CORNER_CASES: SuiteHeader(
        version=2,  # 2: 142 prompts of repetition
        about="Prompts that provoke named faults; the figure is how often they show.",
        source="written for this project",
        licence="Apache-2.0",
        max_tokens=128,
    ),
}
"""The suites that are no files."""


def known_suites() -> tuple[str, ...]:
    """The names of the packaged suites."""
    return (*BUILT_IN, *sorted(path.stem for path in FOLDER.glob("*.yaml")))


def packaged_suite(name: str) -> SuiteFile:
    """A packaged suite that is a file."""
    return read_suite(suite_path(name, None))


def left_out_suites() -> list[str]:
    """The packaged suites whose data is optional and not installed."""
    files = [name for name in known_suites() if name not in BUILT_IN]
    return [
        name
        for name in files
        if any(is_left_out(rows.package) for rows in packaged_suite(name).sources)
    ]


def is_suite_path(text: str) -> bool:
    """Whether a text names a person's own suite, and not a packaged one."""
    return text.endswith(ENDINGS)


def suite_name(text: str) -> str:
    """The name of a suite that is named, or given as a path."""
    return Path(text).stem if is_suite_path(text) else text


def suite_path(name: str, file: str | None) -> Path:
    """The file of a suite that has one: that of a person, or the packaged one of this name."""
    return Path(file) if file is not None else FOLDER / f"{name}.yaml"


def is_there(file: str | None) -> bool:
    """Whether a suite can be read: it is packaged, or its file is there. A relative path is not
    resolved yet, which for a recipe comes after its first check."""
    return file is None or (Path(file).is_absolute() and Path(file).is_file())


def suite_header(name: str, file: str | None) -> SuiteHeader:
    """What a suite says of itself. Raises BadInput where its file is wrong."""
    return BUILT_IN[name] if name in BUILT_IN else read_suite(suite_path(name, file))


def read_suite(path: Path) -> SuiteFile:
    """The suite of a file. Raises BadInput that names every problem with its line."""
    return _packaged(path) if path.parent == FOLDER else validated(load_file(path), SuiteFile)


@cache
def _packaged(path: Path) -> SuiteFile:
    return validated(load_file(path), SuiteFile)


def located(rows: _Rows, suite: Path) -> _Rows:
    """The rows with the place of their files: in a package, or beside the suite's own file. Raises
    BadInput if the package or the file is missing."""
    folder = suite.parent if rows.package is None else package_folder(rows.package)
    return rows.model_copy(update={"path": str(folder / rows.path)})

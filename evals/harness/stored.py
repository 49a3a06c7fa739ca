"""A finished evaluation with its prompts, as other harnesses' forms need it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, RESULTS
from common.errors import BadInput
from common.files import each_json_line
from evals.answer import counts
from evals.config import SuiteConfig
from evals.suites import load_suite
from prompts.schema import Prompt


@dataclass(frozen=True)
class Evaluated:
    """What was evaluated."""

    model: str
    """`RUN:STAGE`, or the name of the evaluation's folder."""
    created: str
    """When the evaluation was finished, in ISO format."""
    identity: str
    """Fingerprint of the evaluation."""
    versions: Mapping[str, str]
    """Versions of the libraries."""


@dataclass(frozen=True)
class Sample:
    """One answer with its prompt."""

    row: Mapping[str, Any]
    """The line of `answers.jsonl`."""
    prompt: Prompt | None
    """None where the suite no longer has it."""

    @property
    def messages(self) -> list[dict[str, str]]:
        return [] if self.prompt is None else self.prompt.messages

    @property
    def scored(self) -> bool:
        """Whether the answer is part of the score."""
        return counts(self.row["suite"], self.row["fault"])

    @property
    def choices(self) -> list[str]:
        """The options of a question, as texts."""
        options = {} if self.prompt is None else self.prompt.metadata.get("options", {})
        return [str(text) for text in options.values()]


@dataclass(frozen=True)
class StoredSuite:
    """A suite of a finished evaluation."""

    name: str
    version: int
    about: str
    protocol: Mapping[str, Any]
    """How it was asked."""
    parts: Mapping[str, Mapping[str, Any]]
    """The figures of the dev and the final part."""
    samples: Sequence[Sample]


def stored_suites(
    folder: Path, suites: Sequence[SuiteConfig], prompts: Path | None
) -> Iterator[StoredSuite]:
    """The suites of the evaluation in `folder`. `prompts` is the folder of the finished prompts
    stage, if there is one. BadInput where a file is missing or damaged."""
    try:
        results = RESULTS.read(folder)
        rows = list(each_json_line(ANSWERS.path(folder)))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: cannot be read: {error}", "redo the evaluation") from None
    for suite in suites:
        known = {prompt.id: prompt for prompt in load_suite(suite, prompts)}
        own = [Sample(row, known.get(row["id"])) for row in rows if row["suite"] == suite.name]
        yield StoredSuite(
            suite.name,
            suite.header.version,
            suite.header.about,
            results.get("protocol", {}).get("suites", {}).get(suite.name, {}),
            results["suites"][suite.name],
            own,
        )

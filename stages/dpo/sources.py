"""Where preference pairs come from, as a recipe writes it; light."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from common.config import InvalidValue, Text
from corner_cases.names import CASE_NAMES, CaseName
from prompts.files import PromptFile, Rows
from prompts.pair_config import PairFields, PairFile

OWN_SETTINGS = {
    "path": ("source", "split", "fields", "on_bad_row"),
    "corner_cases": (
        "samples",
        "max_tokens",
        "temperature",
        "prompts_per_case",
        "pairs_per_prompt",
    ),
}
"""Settings that only one origin of pairs has, by the field that names the origin."""
MEANT_FOR = {"path": "files", "corner_cases": "corner_cases"}
ORIGINS = ("stage", "path", "corner_cases")
"""The fields that name an origin."""


class PairSource(Rows):
    """Where preference pairs come from: `stage`, an RL stage; `path`, files of one's own; or
    `corner_cases`, answers that the policy gives to prompts which provoke them."""

    stage: str | None = Field(default=None, examples=["rl"])
    """Id of the RL stage from whose groups pairs are built."""
    path: PromptFile | None = Field(default=None, examples=["my_pairs.jsonl"])
    """File, folder of files, or pattern such as `data/pairs-*.parquet`."""
    source: Literal["file", "jsonl", "parquet", "datasets"] = "file"
    """Format of the files, as of a source of prompts; `file`: names and contents tell which."""
    split: Text | None = Field(default=None, examples=["train"])
    """The split to read, of a saved `DatasetDict` or of a JSON object with several lists."""
    fields: PairFields | None = Field(
        default=None, examples=[{"prompt": "question", "chosen": "best", "rejected": "worst"}]
    )
    """Where the parts of a pair are in the rows. Not set: rows have `chosen` and `rejected`, and
    `prompt` unless both are conversations."""
    corner_cases: Literal["all"] | tuple[CaseName, ...] | None = Field(
        default=None, examples=[["repetition", "gushing"]]
    )
    """Names of the corner cases that training is to mend, or `all`. The policy in `from` answers
    the training prompts of each case. A pair is an answer without any case, right where the prompt
    has a verifier, and one that shows the prompt's case."""
    samples: int = Field(default=8, ge=2)
    """Answers to each prompt of a corner case. More find more pairs where a case is rare or
    frequent."""
    max_tokens: int = Field(default=128, ge=1)
    """Longest answer to a prompt of a corner case, in tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of these answers."""
    prompts_per_case: int | None = Field(default=None, ge=1, examples=[32])
    """Largest number of training prompts of each corner case; a sample is drawn. A question that is
    asked in several languages counts once. Not set: all of them."""
    pairs_per_prompt: int = Field(default=2, ge=1)
    """Largest number of pairs from one prompt of a corner case; no two share an answer."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Largest share of `max_pairs` that comes from here. The shares of several sources add up
    to 1."""

    @field_validator("corner_cases")
    @classmethod
    def _each_case_once(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
            twice = next((name for name in value if value.count(name) > 1), None)
            raise InvalidValue(
                f"{twice} is named twice" if twice else "no corner case is named",
                "write for example `corner_cases: [repetition, gushing]`, or `corner_cases: all`",
            )
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> "PairSource":
        named = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(named) != 1:
            raise InvalidValue(
                "pairs need exactly one of stage, path and corner_cases",
                "write for example `path: pairs.jsonl`",
            )
        fields = type(self).model_fields
        for origin, settings in OWN_SETTINGS.items():
            idle = [n for n in settings if getattr(self, n) != fields[n].default]
            if origin != named[0] and idle:
                raise InvalidValue(
                    f"{idle[0]} is for {MEANT_FOR[origin]}, and these pairs come from {self._said}",
                    f"remove {idle[0]}",
                )
        return self

    @property
    def _said(self) -> str:
        if self.corner_cases is not None:
            return "corner_cases"
        return f"the stage {self.stage!r}" if self.stage is not None else f"the files {self.path}"

    @property
    def file(self) -> PairFile | None:
        """The files; None for another origin."""
        if self.path is None:
            return None
        return PairFile(
            source=self.source,
            path=self.path,
            split=self.split,
            fields=self.fields,
            on_bad_row=self.on_bad_row,
        )

    @property
    def cases(self) -> tuple[CaseName, ...]:
        """The corner cases in the registry's order; empty for another origin."""
        if self.corner_cases is None:
            return ()
        return tuple(n for n in CASE_NAMES if self.corner_cases == "all" or n in self.corner_cases)

    @property
    def name(self) -> str:
        """The source in counts and notes."""
        return self.stage or (self.file.name if self.file else "corner_cases")


def _form(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "several"
    return "single" if isinstance(value, dict | PairSource) else "named"


Pairs = Annotated[
    Annotated[str, Tag("named")]
    | Annotated[PairSource, Tag("single")]
    | Annotated[tuple[PairSource, ...], Tag("several")],
    Discriminator(_form),
]
"""The id of an RL stage, a source of pairs, or several with shares."""


def pair_sources(pairs: str | PairSource | tuple[PairSource, ...]) -> tuple[PairSource, ...]:
    """The sources that a recipe names."""
    if isinstance(pairs, str):
        return (PairSource(stage=pairs),)
    return (pairs,) if isinstance(pairs, PairSource) else pairs

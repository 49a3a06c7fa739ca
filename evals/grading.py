"""`uphill grade`: grades given answers, and counts differences to the grades a person gave."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import BadInput
from prompts.schema import Prompt
from rewards.grade import BAD_REFERENCE, check_verifier, grade, reference_problem

Row = dict[str, Any]


class Pair(BaseModel):
    """One line of a file of answers to grade."""

    model_config = ConfigDict(strict=True, extra="ignore")
    verifier: str
    reference: str
    answer: str
    expected: bool | None = None
    """The grade a person gave: right or wrong; None: unknown."""
    prompt: str = ""
    """The question, from which `choice` reads the options."""


def read_pairs(path: Path) -> list[Pair]:
    """The pairs in a JSON lines file. Raises BadInput with file and line if it is invalid."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file", "give a file with one JSON object per line")
    pairs = [_pair(f"{path}:{number}", line) for number, line in _lines(path)]
    if not pairs:
        raise BadInput(f"{path}: holds no pairs", _EXAMPLE)
    return pairs


def grade_pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    """One row per pair, and the counts of false rights and wrongs among those with `expected`.

    A right answer with a fault counts as a false wrong, as it is not rewarded."""
    begin = perf_counter()
    rows = [_row(pair) for pair in pairs]
    seconds = perf_counter() - begin
    return {
        "rows": rows,
        "false_right": sum(row["expected"] is False and row["reward"] >= 1.0 for row in rows),
        "false_wrong": sum(row["expected"] is True and row["reward"] < 1.0 for row in rows),
        "faults": sum(row["fault"] is not None for row in rows),
        "seconds_per_1000": 1000 * seconds / len(rows),
    }


def grade_table(graded: dict[str, Any]) -> list[list[str]]:
    """The rows as a table of texts, the header first."""
    body = [
        [
            row["verifier"],
            _short(row["reference"]),
            _short(row["answer"]),
            _short(row["read"]),
            _grade_text(row),
        ]
        for row in graded["rows"]
    ]
    return [["verifier", "reference", "answer", "read", "reward"], *body]


def refusals(rows: Sequence[Row]) -> list[str]:
    """One line per reference that its verifier cannot use: why, and what to do."""
    refused = [row for row in rows if row["fault"] == BAD_REFERENCE]
    lines = {}
    for row in refused:
        reason, remedy = reference_problem(
            _prompt(Pair(**{key: row[key] for key in ("verifier", "reference", "answer")}))
        )
        lines[row["verifier"], row["reference"]] = (
            f"reference {row['reference']!r} {reason}: {remedy}"
        )
    return list(lines.values())


def _grade_text(row: Row) -> str:
    text = row["fault"] or f"{row['reward']:g}"
    if row["expected"] is None or row["expected"] == (row["reward"] >= 1.0):
        return text
    return f"{text} ({'false wrong' if row['expected'] else 'FALSE RIGHT'})"


def _row(pair: Pair) -> Row:
    result = grade(_prompt(pair), pair.answer)
    return {
        "verifier": pair.verifier,
        "reference": pair.reference,
        "answer": pair.answer,
        "read": result.answer,
        "reward": result.reward,
        "fault": result.fault,
        "expected": pair.expected,
    }


def _prompt(pair: Pair) -> Prompt:
    return Prompt(
        id="given",
        messages=[{"role": "user", "content": pair.prompt}],
        answer=pair.reference,
        verifier=pair.verifier,
        capability="given",
        source="given",
        solution=None,
        metadata={},
    )


_EXAMPLE = (
    'a line is {"verifier": "number", "reference": "12", "answer": "12 apples", "expected": true}'
)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 (byte {error.start})", "save it as UTF-8") from error
    yield from (
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    )


def _pair(where: str, line: str) -> Pair:
    try:
        pair = Pair.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BadInput(
            f"{where}: {field + ': ' if field else ''}{first['msg']}", _EXAMPLE
        ) from error
    return check_pair(where, pair)


def check_pair(where: str, pair: Pair) -> Pair:
    """The pair, if its verifier works outside a run. Raises BadInput with `where` if not."""
    if pair.verifier == "reasoning_gym":
        raise BadInput(
            f"{where}: reasoning_gym grades only its own generated tasks", "name another verifier"
        )
    try:
        check_verifier(pair.verifier)
    except BadInput as error:
        raise BadInput(f"{where}: {error.message}", error.remedy) from error
    return pair


def _short(text: str | None) -> str:
    shown = " ".join((text or "").split())
    return shown if len(shown) <= 40 else f"{shown[:37]}..."

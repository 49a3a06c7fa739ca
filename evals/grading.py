"""`uphill grade`: grades given answers, and counts differences to the grades a person gave.

Answers to the same prompt are graded together, as a stage would: a verifier may compare them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

from common.errors import BadInput
from common.faults import remedy_of
from evals.pairs import Pair
from prompts.schema import Prompt
from rewards.grade import check_part
from rewards.grader import Grade, Grader
from rewards.interface import BAD_REFERENCE
from rewards.kinds import KINDS, Kinds

Row = dict[str, Any]


def grade_pairs(pairs: Sequence[Pair], grader: Grader | None = None) -> dict[str, Any]:
    """One row per pair, and the counts of false rights and wrongs among those with `expected`.
    BadInput where a verifier cannot be opened. Without a grader, one without a judge.

    A right answer with a fault counts as a false wrong, as it is not rewarded."""
    if grader is None:
        with Grader() as own:
            return grade_pairs(pairs, own)
    groups: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(pair.prompt_key, []).append(number)
    prompts = [pairs[members[0]].as_prompt() for members in groups.values()]
    grader.prepare(prompts)
    begin = perf_counter()
    waiting = [
        _submitted(grader, prompt, [pairs[number] for number in members])
        for prompt, members in zip(prompts, groups.values(), strict=True)
    ]
    graded = {
        number: grade
        for members, grades in zip(groups.values(), waiting, strict=True)
        for number, grade in zip(members, grades(), strict=True)
    }
    seconds = perf_counter() - begin
    rows = [_row(pair, graded[number]) for number, pair in enumerate(pairs)]
    return {
        "rows": rows,
        "false_right": sum(row["expected"] is False and is_right(row) for row in rows),
        "false_wrong": sum(row["expected"] is True and not is_right(row) for row in rows),
        "faults": sum(row["fault"] is not None for row in rows),
        "seconds_per_1000": 1000 * seconds / len(rows),
    }


def is_right(row: Row) -> bool:
    """Whether an answer has the full reward of the first part, which is the task."""
    return row["fault"] is None and next(iter(row.get("parts", {}).values()), row["reward"]) >= 1.0


def _submitted(grader: Grader, prompt: Prompt, pairs: Sequence[Pair]) -> Callable[[], list[Grade]]:
    lengths = [pair.tokens for pair in pairs if pair.tokens is not None]
    known = lengths if len(lengths) == len(pairs) else None
    return grader.submit(prompt, [pair.answer for pair in pairs], known)


def grade_table(graded: Mapping[str, Any]) -> list[list[str]]:
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


def fault_remarks(
    pairs: Sequence[Pair], rows: Sequence[Row], kinds: Kinds = KINDS
) -> Iterator[str]:
    """One line per reference that its verifier cannot use, and per other fault: what to do."""
    lines = dict.fromkeys(
        _refusal(pair.as_prompt(), kinds)
        for pair, row in zip(pairs, rows, strict=True)
        if row["fault"] == BAD_REFERENCE
    )
    yield from lines
    counts = Counter(row["fault"] for row in rows if row["fault"] not in (None, BAD_REFERENCE))
    for fault, count in counts.most_common():
        yield f"{count} {fault}: {remedy_of(fault)}"


def _refusal(prompt: Prompt, kinds: Kinds) -> str:
    for part in prompt.parts:
        try:
            check_part(prompt, part, kinds)
        except BadInput as error:
            return f"{error.message}: {error.remedy}"
    return f"{BAD_REFERENCE}: {remedy_of(BAD_REFERENCE)}"


def _grade_text(row: Row) -> str:
    text = row["fault"] or f"{row['reward']:g}"
    if parts := row.get("parts"):
        text += f" ({', '.join(f'{name} {reward:g}' for name, reward in parts.items())})"
    if row["expected"] in (None, is_right(row)):
        return text
    return f"{text} ({'false wrong' if row['expected'] else 'FALSE RIGHT'})"


def _row(pair: Pair, grade: Grade) -> Row:
    row = {
        "verifier": ", ".join(part.label for part in pair.as_prompt().parts),
        "reference": pair.reference,
        "answer": pair.answer,
        "read": grade.answer,
        "reward": grade.reward,
        "fault": grade.fault,
        "expected": pair.expected,
    }
    return {**row, "parts": grade.parts} if grade.parts else row


def _short(text: str | None) -> str:
    shown = " ".join((text or "").split())
    return shown if len(shown) <= 40 else f"{shown[:37]}..."

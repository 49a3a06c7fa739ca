"""How often the detectors of corner cases agree with a person, on the texts of
tests/corner_cases/.

`python -m benchmarks.corner_cases` prints precision and recall by case and set of texts, and writes
them to `benchmarks/results/corner_cases.json`; `tests/corner_cases/` holds their limits."""

import json
from pathlib import Path
from typing import Any

from benchmarks.verifiers import Count, together
from corner_cases.interface import Finding, GradedReply, Reply
from corner_cases.registry import CASES, Case
from prompts.parts import NOT_GRADED
from prompts.schema import Prompt

FOLDER = Path(__file__).parents[1] / "tests/corner_cases"
SEEN, HELD_OUT, SECOND_LOOK = "seen", "held out", "second look"
"""Texts written before the detector's rules, of which the held-out ones were looked at once, and
harder texts written after them."""
CODE = ("corner_cases", "rewards", "tests/corner_cases", "benchmarks/corner_cases.py")
"""Files of whose changes the figures depend."""


def rows(case: str) -> list[dict[str, Any]]:
    """The labelled texts of a case."""
    text = (FOLDER / f"{case}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def set_of(row: dict[str, Any]) -> str:
    """The set of texts that a row belongs to."""
    if row.get("second_look"):
        return SECOND_LOOK
    return HELD_OUT if row["held_out"] else SEEN


def find(case: Case, row: dict[str, Any]) -> Finding | None:
    """What the detector of a case finds in a row."""
    if case.detect_group is not None:
        replies = row["answers"].items()
        return case.detect_group({name: GradedReply(**reply) for name, reply in replies})
    assert case.detect is not None
    return case.detect(prompt_of(row), Reply(row["answer"], row.get("finish")))


def prompt_of(row: dict[str, Any]) -> Prompt:
    """The prompt of a row."""
    return Prompt(
        id="labelled",
        messages=[{"role": "user", "content": row["prompt"]}],
        answer=row.get("reference", ""),
        verifier=NOT_GRADED,
        capability="",
        source="",
        solution=None,
        metadata=row.get("metadata", {}),
    )


def counts(case: Case) -> dict[str, Count]:
    """The verdicts on every row of a case, by set."""
    by_set: dict[str, Count] = {}
    for row in rows(case.name):
        shown = row["prompt"] + " -> " + str(row.get("answer", row.get("answers")))
        count = by_set.setdefault(set_of(row), Count())
        count.add(find(case, row) is not None, row["expected"], shown)
    return by_set


def figures(count: Count) -> dict[str, float]:
    """A count as numbers."""
    return {
        "texts": count.total,
        "precision": round(count.precision, 4),
        "recall": round(count.recall, 4),
        "false_positives": len(count.false_rights),
        "misses": len(count.false_wrongs),
    }


def measured() -> dict[str, dict[str, dict[str, float]]]:
    """Figures by case, and by set in it; `all` is their sum."""
    found = {}
    for name, case in CASES.items():
        by_set = counts(case)
        found[name] = {key: figures(count) for key, count in by_set.items()}
        found[name]["all"] = figures(together(by_set.values()))
    return found


def main() -> None:
    """Measure, print a table in Markdown, and write the results."""
    from benchmarks.harness import Results

    results = Results("corner_cases", "python -m benchmarks.corner_cases")
    cases = results.part("detectors", CODE, measured)
    results.write({})
    print("| case | set | texts | precision | recall |\n| --- | --- | --- | --- | --- |")
    for name, by_set in cases.items():
        for key, row in by_set.items():
            print(
                f"| `{name}` | {key} | {row['texts']} | {row['precision']:.3f} "
                f"| {row['recall']:.3f} |"
            )


if __name__ == "__main__":
    main()

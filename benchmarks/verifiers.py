"""How often `instructions` and `language` agree with a person, on the texts of tests/rewards/.

`python -m benchmarks.verifiers` prints precision and recall; `tests/rewards/` holds their
limits."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompts.languages import NAMES
from rewards.instructions.registry import CONSTRAINTS
from rewards.instructions.verifier import follows
from rewards.language import is_in

FOLDER = Path(__file__).parents[1] / "tests/rewards"
ANY, NONE = "*", "-"
"""The language of a text that is right in every language, and in no language."""


@dataclass
class Count:
    """Verdicts of a verifier beside those of a person."""

    rights: int = 0
    """Verdicts "right" that are true."""
    total: int = 0
    false_rights: list[str] = field(default_factory=list)
    false_wrongs: list[str] = field(default_factory=list)

    def add(self, given: bool, expected: bool, text: str) -> None:
        """Book one verdict."""
        self.total += 1
        self.rights += given and expected
        if given != expected:
            (self.false_rights if given else self.false_wrongs).append(text)

    @property
    def precision(self) -> float:
        """Share of the verdicts "right" that are true."""
        return self.rights / max(1, self.rights + len(self.false_rights))

    @property
    def recall(self) -> float:
        """Share of the right texts that get the verdict "right"."""
        return self.rights / max(1, self.rights + len(self.false_wrongs))

    def __str__(self) -> str:
        return (
            f"{self.total:6} verdicts, precision {self.precision:.4f}, recall {self.recall:.4f},"
            f" false rights {len(self.false_rights)}, false wrongs {len(self.false_wrongs)}"
        )


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file under tests/rewards/."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def languages(every: int = 1) -> dict[str, Count]:
    """Every text against its own language and every one of the others, or each `every`-th; counted
    by the language that is asked for."""
    counts = {language: Count() for language in NAMES}
    for number, row in enumerate(rows("language/texts.jsonl")):
        for place, (language, count) in enumerate(counts.items()):
            if row["language"] != language and (place + number) % every:
                continue
            expected = row["language"] in (ANY, language)
            count.add(is_in(row["text"], language), expected, f"{language}: {row['text']}")
    return counts


def instructions() -> dict[str, Count]:
    """Every pair of a constraint and an answer, counted by the constraint's id."""
    counts = {name: Count() for name in CONSTRAINTS}
    for row in rows("instructions/pairs.jsonl"):
        constraint = CONSTRAINTS[row["id"]].model_validate(row["arguments"])
        given = follows(constraint, [row["answer"]])
        counts[row["id"]].add(given, row["expected"], f"{row['id']}: {row['answer']}")
    return counts


def together(counts: Iterable[Count]) -> Count:
    """The sum of counts."""
    total = Count()
    for count in counts:
        total.rights += count.rights
        total.total += count.total
        total.false_rights += count.false_rights
        total.false_wrongs += count.false_wrongs
    return total


def main() -> None:
    """Print the counts by language and by constraint, and their sums."""
    for title, counts in (("language", languages()), ("instructions", instructions())):
        for name, count in counts.items():
            print(f"{title} {name:45} {count}")
        total = together(counts.values())
        print(f"{title} {'all':45} {total}")
        for text in total.false_rights + total.false_wrongs:
            print(f"  {text!r}")


if __name__ == "__main__":
    main()

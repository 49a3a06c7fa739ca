"""`uphill grade`: grades answers from the command line or from a file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInput
from pipeline.cli.output import print_table, print_text

if TYPE_CHECKING:
    from evals.pairs import Pair


@dataclass(frozen=True)
class Graded:
    """The result of `uphill grade`."""

    document: dict[str, Any]
    """The document of `grade --json`."""
    remarks: tuple[str, ...]
    """What is wrong with references, what to do about other faults, and whether judges agree with
    verifiers."""

    def show(self) -> None:
        """Print the table on stdout and counts on stderr. Of the answers with an expected verdict,
        the table shows only those that were graded differently."""
        from evals.grading import grade_table, is_right

        rows = self.document["rows"]
        expected = [row for row in rows if row["expected"] is not None]
        shown = [row for row in rows if row["expected"] in (None, not is_right(row))]
        if shown:
            print_table(grade_table({"rows": shown}))
        if expected:
            print(
                f"false right: {self.document['false_right']} of"
                f" {sum(not row['expected'] for row in expected)}"
            )
            print(
                f"false wrong: {self.document['false_wrong']} of"
                f" {sum(row['expected'] for row in expected)}"
            )
        for line in self.remarks:
            print_text(line, sys.stderr)
        seconds = self.document["seconds_per_1000"]
        print(
            f"{len(rows)} answers, {self.document['faults']} faults, {seconds:.2f} s per 1,000",
            file=sys.stderr,
        )


def grade_answers(
    file: Path | None,
    verifier: str | None,
    reference: str | None,
    prompt: str,
    answers: Sequence[str],
) -> Graded:
    """Grade the pairs of `file`, or `answers` against one reference. BadInput if neither, or both,
    are given."""
    from evals.pairs import Pair, check_pair, read_pairs
    from stages.grading import ALL

    given = verifier is not None or reference is not None or bool(answers)
    if (file is None) != given:
        problem = "both a file and answers are given" if given else "nothing to grade"
        raise BadInput(
            problem,
            "uphill grade --verifier number --reference 12 '12 apples', or --file PAIRS.jsonl",
        )
    if file is not None:
        return _graded(read_pairs(file, ALL))
    for name, value in (
        ("--verifier", verifier),
        ("--reference", reference),
        ("ANSWER", answers or None),
    ):
        if value is None:
            raise BadInput(
                f"{name} is missing", "uphill grade --verifier number --reference 12 '12 apples'"
            )
    pairs = [
        check_pair(
            "--verifier",
            Pair(verifier=str(verifier), reference=str(reference), answer=answer, prompt=prompt),
            ALL,
        )
        for answer in answers
    ]
    return _graded(pairs)


def _graded(pairs: "Sequence[Pair]") -> Graded:
    from evals.grading import fault_remarks, grade_pairs
    from stages.grading import ALL, agreement_of, open_grader

    with open_grader() as grader:
        document = grade_pairs(pairs, grader)
    found = agreement_of(pairs, document["rows"])
    remarks = [*fault_remarks(pairs, document["rows"], ALL), *(one.sentence for one in found)]
    if found:
        document["agreement"] = [one.to_json() for one in found]
    return Graded(document, tuple(remarks))

"""Summaries of the prompts that were gathered and dropped: sentences for the user and metrics for
the record."""

from collections import Counter
from collections.abc import Callable, Sequence

from prompts.decontaminate import Asked, Overlap
from prompts.repeats import Repeat
from prompts.room import TooLong
from prompts.split import Split


def note_dropped(
    result: Split,
    too_long: Sequence[TooLong],
    findings: Sequence[Overlap],
    contradicting: Sequence[Repeat],
    note: Callable[[str], None],
) -> None:
    """Note one sentence per reason why prompts were dropped, with the file that lists them."""
    duplicates, overlaps = (result.dropped(kind).total() for kind in ("duplicate", "held_out"))
    if too_long:
        note(
            f"{len(too_long)} prompts are longer than max_prompt_tokens and are dropped:"
            " too_long.jsonl"
        )
    if duplicates:
        note(
            f"{duplicates} prompts repeat another one (messages, answer, verifier) and are dropped:"
            " repeated.jsonl"
        )
    if overlaps:
        note(
            f"{overlaps} training prompts are held out by another source and are dropped:"
            " repeated.jsonl"
        )
    if contradicting:
        first = contradicting[0]
        note(
            f"{len(contradicting)} prompts ask the same as another one and have a reference answer"
            f" that contradicts it, such as {first.place} ({first.answer!r:.40}) and"
            f" {first.of_place} ({first.of_answer!r:.40}); they are kept, and no policy can be"
            " right on both: repeated.jsonl"
        )
    if findings:
        note(
            f"{len(findings)} training prompts overlap an evaluation suite and are dropped:"
            " contaminated.jsonl"
        )


def metrics_of(
    result: Split,
    too_long: Sequence[TooLong],
    findings: Sequence[Overlap],
    contradicting: Sequence[Repeat],
    evaluation: Sequence[Asked],
) -> dict[str, object]:
    """Metrics of the stage: counts of prompts, kept and dropped, by reason, source and
    capability."""
    by_source, by_capability = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for part, prompts in (("training", result.training), ("held_out", result.held_out)):
        for prompt in prompts:
            by_source[prompt.source, part] += 1
            by_capability[prompt.capability, part] += 1
    dropped = {
        "duplicates": result.dropped("duplicate"),
        "overlaps": result.dropped("held_out"),
        "contaminated": Counter(finding.source for finding in findings),
        "too_long": Counter(one.source for one in too_long),
    }
    for reason, counts in dropped.items():
        for source, count in counts.items():
            by_source[source, reason] = count
    by_suite = Counter(finding.suite for finding in findings)
    summary = [
        f"{counts.total()} {reason.replace('_', ' ')}"
        for reason, counts in dropped.items()
        if counts.total()
    ]
    return {
        "training": len(result.training),
        "held_out": len(result.held_out),
        "dropped": ", ".join(summary) or "none",
        "contradictions": len(contradicting),
        **{f"dropped_{reason}": counts.total() for reason, counts in dropped.items()},
        "contaminated_by_suite": {
            suite: by_suite[suite] for suite in sorted({one.suite for one in evaluation})
        },
        "by_source": _table(by_source, ("training", "held_out", *dropped)),
        "by_capability": _table(by_capability, ("training", "held_out")),
    }


def _table(counts: Counter[tuple[str, str]], columns: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {
        name: {column: counts[name, column] for column in columns}
        for name in sorted({key for key, _ in counts})
    }
